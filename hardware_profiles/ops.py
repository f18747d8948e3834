"""Blocks as text: ``mbconv 16>24 k5 s2 e6 g1 @32x32`` is what ``str(OpKey)`` writes and ``parse_op`` reads."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from hardware_profiles.errors import BadOp
from hardware_profiles.types import OpKey

_NUMBER = r"[1-9]\d{0,6}"
_OP = re.compile(
    rf"(?P<kind>[a-z][a-z0-9_]{{0,39}}) (?P<c_in>{_NUMBER})>(?P<c_out>{_NUMBER}) k(?P<kernel>{_NUMBER})"
    rf" s(?P<stride>{_NUMBER}) e(?P<expand>{_NUMBER}) g(?P<groups>{_NUMBER})"
    rf" @(?P<height_px>{_NUMBER})x(?P<width_px>{_NUMBER})",
    re.ASCII,
)
_SIZES = ("c_in", "c_out", "kernel", "stride", "expand", "groups", "height_px", "width_px")


def parse_op(text: str) -> OpKey:
    """The block that ``text`` names; ``parse_op(str(key)) == key``.

    Raises:
        BadOp: ``text`` is not exactly what ``str(OpKey)`` writes.
    """
    match = _OP.fullmatch(text)
    if match is None:
        raise BadOp(f"{text[:80]!r} names no block; write it like 'mbconv 16>24 k5 s2 e6 g1 @32x32'")
    return OpKey(kind=match["kind"], **{name: int(match[name]) for name in _SIZES})


def nearest_op(key: OpKey, known: Iterable[OpKey]) -> OpKey | None:
    """The block most like ``key``: of its kind if there is one, then least apart in the logarithms of all sizes."""

    def distance(other: OpKey) -> tuple[bool, float]:
        apart = (abs(math.log(getattr(key, size) / getattr(other, size))) for size in _SIZES)
        return other.kind != key.kind, sum(apart)

    return min(known, key=distance, default=None)
