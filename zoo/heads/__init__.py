"""Heads: what turns a found backbone into a classifier, a detector or a segmenter, to be trained on labels.

trunk (the backbone inside a head) · classifier · detector (torchvision's RetinaNet) · segmenter (torchvision's LR-ASPP)

``with_head`` makes one; ``deployable`` gives the module to export, whose outputs have names.
"""

from zoo.heads.attach import deployable, with_head
from zoo.heads.classifier import Classifier
from zoo.heads.detector import Detector
from zoo.heads.segmenter import Segmenter

__all__ = ["Classifier", "Detector", "Segmenter", "deployable", "with_head"]
