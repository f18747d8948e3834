"""Heads: what turns a found backbone into a classifier, a detector or a segmenter.

network (a whole model of blocks, as packages hold it) · predictions (in pixels of the picture) · features
attach (torchvision's heads, to be trained by hand): classifier · detector (RetinaNet) · segmenter (LR-ASPP)
"""
