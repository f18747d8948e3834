"""How long networks take on devices: latency tables, made by measuring, kept as YAML, used to estimate.

types, errors, ops (a block as text) · tables/ (files, by device, resized; devices/ holds those that come along) ·
estimate (use one) · measure/ (make one here: timing/ and runners/ do the work) · kit/ (make one elsewhere) ·
fit/ (make one from times of whole networks) · memory (peak memory and work of any graph, which need no device)
"""

import lazy_loader

# What the room offers stands in __init__.pyi, once; each name is imported when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
