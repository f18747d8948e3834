"""What is done with a model: export, evaluate, predict, benchmark, finetune.

resolve (what is meant by a name or a folder) · export · evaluate · score (of a whole model) · predict · benchmark ·
finetune
"""
