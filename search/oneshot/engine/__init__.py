"""What a training without labels needs: checkpoints, a schedule, images read ahead, Lightning's trainer.

schedule · loader · checkpoints · watch (callbacks) · trainer
"""
