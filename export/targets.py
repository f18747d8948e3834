"""The targets as data: which artefact each kind of device gets, and how close to torch it must be.

All are fp32 ONNX. Opset 17 is what every runtime since 2022 reads, and no newer than 18, where ONNX Runtime's
CUDA kernels end; a fixed batch of 1 lets small devices plan their memory once.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from export.errors import UnsupportedTarget
from export.types import ExportTarget, Tolerance

MAX_OPSET = 18
MAX_IR_VERSION = 10

_SAME_AS_TORCH = Tolerance(min_cosine=0.99999, max_relative_l2=1e-4)
_STATIC = ExportTarget(
    name="edge",
    format="onnx",
    precision="fp32",
    opset=17,
    input_nchw=(1, 3, 32, 32),
    dynamic_batch=False,
    tolerance=_SAME_AS_TORCH,
)

TARGETS: Mapping[str, ExportTarget] = MappingProxyType(
    {
        "point": replace(_STATIC, name="point"),
        "edge": _STATIC,
        "cloud": replace(_STATIC, name="cloud", dynamic_batch=True),
    }
)


def target_at(name: str, resolution_px: int) -> ExportTarget:
    """Return the target ``name`` for square inputs of ``resolution_px`` pixels.

    Args:
        name: a key of ``TARGETS``: ``point``, ``edge`` or ``cloud``.
        resolution_px: side of the network's input, in pixels.

    Raises:
        UnsupportedTarget: no such target, or no such resolution.

    Example:
        >>> target_at("cloud", 96).input_nchw
        (1, 3, 96, 96)
    """
    if name not in TARGETS:
        nearest = ", ".join(difflib.get_close_matches(name, TARGETS, n=3, cutoff=0.0))
        raise UnsupportedTarget(f"no target is called {name!r}; use one of {nearest}")
    if resolution_px < 1:
        raise UnsupportedTarget(f"a resolution of {resolution_px} px has no pixels; use at least 1, e.g. 32")
    return replace(TARGETS[name], input_nchw=(1, 3, resolution_px, resolution_px))


def check_target(target: ExportTarget) -> None:
    """Refuse a target that this version cannot make.

    Raises:
        UnsupportedTarget: a format, precision, opset or input shape outside the limits.
    """
    if target.format != "onnx" or target.precision != "fp32":
        raise UnsupportedTarget(f"{target.precision} {target.format} cannot be made; use precision fp32, format onnx")
    if not 13 <= target.opset <= MAX_OPSET:
        raise UnsupportedTarget(f"opset {target.opset} is outside 13..{MAX_OPSET}, which runtimes agree on; use 17")
    if min(target.input_nchw) < 1:
        raise UnsupportedTarget(f"input shape {target.input_nchw} has an empty side; every side is at least 1")
