"""The curated catalogue: networks that were searched for once, kept as data; ``python -m zoo.catalogue`` makes it anew.

An entry names a network of a bundled supernet; the first ``zoo.get`` takes it out, recalibrates and packages it.
"""

from zoo.catalogue.entries import Entry, find_entry, load_entries

__all__ = ["Entry", "find_entry", "load_entries"]
