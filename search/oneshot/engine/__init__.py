"""What any training needs: a job on disk, checkpoints, a schedule, processes.

schedule · job · checkpoints · processes · trainer
"""
