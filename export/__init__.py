"""Export a network: make an artefact for a device, compare it with torch, time it.

types, errors, targets (what to make) · graph/ (one ONNX graph: from torch, int8, fp16, with preprocessing or boxes
inside) · formats/ (what it is wrapped in) · verify/ (run torch and the artefact, judge, drift, memory) ·
tensorrt/ (engines) · staging (whole or not at all) · artefact (one: make, compare, time) · delivery (all that a kind of
device gets) · documents (reports as JSON) · page (for people)
"""

import lazy_loader

# What the room offers stands in __init__.pyi, once; each name is imported when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
