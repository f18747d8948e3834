"""Supernets that learn from unlabelled images, and the networks found in them.

types, errors (the values) · images/ (what is looked at) · nets/ (the families) · objectives/, recipes, oneshot/ (train
a supernet; all that imports NNI) · finetune/ (train on labels) · machines, ranks (the processes that share a training)
· supernet, recalibrate (take a network out of it) · scores/, subnets/ (choose one; evolution is the loop) ·
cells/ (what DARTS found) · evaluate/ (with labels) · data_checkpoints (DATA's)
"""

import lazy_loader

# What the room offers stands in __init__.pyi, once; each name is imported when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
