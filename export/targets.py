"""The targets as data: which artefacts each kind of device gets, and how close to torch each of them must be.

Opset 17 is what every runtime since 2022 reads, and no newer than 18, where ONNX Runtime's CUDA kernels end; a fixed
batch of 1 lets small devices plan their memory once.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from export.errors import UnsupportedTarget
from export.types import ExportTarget, Tolerance
from hardware_profiles.types import Precision

# 13 brought int8 by channel; newer than 18 is read by fewer runtimes.
MIN_OPSET, MAX_OPSET = 13, 18
MAX_IR_VERSION = 10  # what ONNX Runtime 1.18 reads
# What runtimes have int8 kernels for.
INT8_LAYERS = ("Conv", "Gemm", "MatMul")

TOLERANCES: Mapping[Precision, Tolerance] = MappingProxyType(
    {
        "fp32": Tolerance(min_cosine=0.99999, max_relative_l2=1e-4),
        "fp16": Tolerance(min_cosine=0.9999, max_relative_l2=2e-2),
        "int8": Tolerance(min_cosine=0.98, max_relative_l2=0.2, min_agreement=0.95),
    }
)
_STATIC = ExportTarget(
    name="edge",
    format="onnx",
    precision="fp32",
    opset=17,
    input_nchw=(1, 3, 32, 32),
    dynamic_batch=False,
    tolerance=TOLERANCES["fp32"],
)

TARGETS: Mapping[str, ExportTarget] = MappingProxyType(
    {
        "point": replace(_STATIC, name="point"),
        "edge": _STATIC,
        "cloud": replace(_STATIC, name="cloud", dynamic_batch=True),
    }
)


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """Everything that a kind of device gets.

    Args:
        precisions: of the ONNX artefacts; fp32 first.
        ort: an ``.ort`` file beside each of them.
        engine: a TensorRT engine, where one can be built.
        triton: a model repository for Triton Inference Server.
        memory_limit_bytes: that weights and activations should fit in; ``None`` for no limit.
    """

    precisions: tuple[Precision, ...]
    ort: bool = False
    engine: bool = False
    triton: bool = False
    memory_limit_bytes: int | None = None


DELIVERIES: Mapping[str, Delivery] = MappingProxyType(
    {
        # A large microcontroller's or a smallest single-board computer's share for one model.
        "point": Delivery(precisions=("fp32", "int8"), ort=True, memory_limit_bytes=32 * 2**20),
        "edge": Delivery(precisions=("fp32", "int8", "fp16")),
        "cloud": Delivery(precisions=("fp32", "fp16"), engine=True, triton=True),
    }
)


def target_at(name: str, resolution_px: int) -> ExportTarget:
    """Return the fp32 target ``name`` for square inputs of ``resolution_px`` pixels.

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


def with_precision(target: ExportTarget, precision: Precision) -> ExportTarget:
    """Return ``target`` in another precision, with the tolerance that goes with it."""
    return replace(target, precision=precision, tolerance=TOLERANCES[precision])


def check_target(target: ExportTarget) -> None:
    """Refuse a target that this version cannot make.

    Raises:
        UnsupportedTarget: a precision, opset, input shape or combination of options outside the limits.
    """
    if target.precision not in TOLERANCES:
        raise UnsupportedTarget(f"precision {target.precision!r} cannot be made; use fp32, fp16 or int8")
    if not MIN_OPSET <= target.opset <= MAX_OPSET:
        raise UnsupportedTarget(
            f"opset {target.opset} is outside {MIN_OPSET}..{MAX_OPSET}, which runtimes agree on; use 17"
        )
    if min(target.input_nchw) < 1:
        raise UnsupportedTarget(f"input shape {target.input_nchw} has an empty side; every side is at least 1")
    if target.nms and (target.dynamic_batch or target.input_nchw[0] != 1):
        batch = "dynamic" if target.dynamic_batch else str(target.input_nchw[0])
        raise UnsupportedTarget(f"the batch is {batch}, and boxes are selected for one image only; use --batch 1")
