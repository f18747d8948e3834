"""What any training needs: a job on disk, checkpoints, a schedule, processes.

schedule · loader · checkpoints · ranks (of processes) · watch (callbacks) · trainer
"""
