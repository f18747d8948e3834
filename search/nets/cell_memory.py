"""Cell memory: how many elements of maps a stack of cells holds at once, whatever its edges are."""

from __future__ import annotations

from search.genotype import INPUTS, NODES
from search.nets.cell_body import Place, places, stem_stride


def peak_elements(resolution_px: int, cells: int, channels: int) -> int:
    """An upper bound, one image: every edge is taken for a separable convolution, and no input is freed early."""
    stack = places(cells, channels, stem_stride(resolution_px))
    return max(max(_preparing(place, resolution_px), _adding(place, resolution_px)) for place in stack)


def _preparing(place: Place, resolution_px: int) -> int:
    """Both inputs, and a copy of the one that is activated on its way to becoming smaller."""
    side = _side(resolution_px, place.halvings)
    larger = _side(resolution_px, place.halvings - 1) if place.after_reduction else side
    before_last = place.c_before_last * larger**2
    last, prepared = place.c_last * side**2, place.channels * side**2
    return last + before_last + max(before_last + prepared, prepared + last + prepared)


def _adding(place: Place, resolution_px: int) -> int:
    """The last cell's output, which the next cell reads, the prepared inputs, all nodes, and one edge at work."""
    side = _side(resolution_px, place.halvings)
    after = -(-side // place.stride)
    states = place.channels * (INPUTS * side**2 + NODES * after**2)
    at_work = place.channels * (side**2 + after**2)
    joined = NODES * place.channels * after**2
    return place.c_last * side**2 + max(states + at_work, states - INPUTS * place.channels * side**2 + joined)


def _side(resolution_px: int, halvings: int) -> int:
    return -(-resolution_px // (1 << halvings))
