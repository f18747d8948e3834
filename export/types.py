"""The values of this package: what to export, how an artefact compares with torch, and how fast it ran."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hardware_profiles import Latency

Precision = Literal["fp32", "fp16", "int8"]


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """How a picture becomes the artefact's input: ``(uint8 * scale - mean) / std`` per channel, float32.

    Before that: RGB, the center square cut out, resized to ``size_px`` (bilinear, antialiased).

    Args:
        size_px: height and width of the input, in pixels.
        mean: of red, green and blue, after scaling.
        std: of red, green and blue, after scaling; above 0.
        scale: what a uint8 value is multiplied by.
    """

    size_px: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    scale: float = 1 / 255
    color: Literal["RGB"] = "RGB"
    layout: Literal["NCHW"] = "NCHW"
    crop: Literal["center_square"] = "center_square"
    interpolation: Literal["bilinear"] = "bilinear"

    def __post_init__(self) -> None:
        """Refuse numbers that no picture survives."""
        if min(self.size_px) < 1:
            raise ValueError(f"size_px is {self.size_px}; both sides are at least 1")
        if not all(math.isfinite(value) for value in (*self.mean, *self.std, self.scale)):
            raise ValueError(f"mean {self.mean}, std {self.std} and scale {self.scale} must be finite numbers")
        if min(self.std) <= 0 or self.scale <= 0:
            raise ValueError(f"std {self.std} and scale {self.scale} must be above 0; they divide and multiply")


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """What an artefact's outputs must reach against torch fp32 on real images."""

    min_cosine: float
    max_relative_l2: float


@dataclass(frozen=True, kw_only=True)
class ExportTarget:
    """One artefact to make: its format, precision, input shape and the tolerance it must meet."""

    name: Literal["point", "edge", "cloud"]
    format: Literal["onnx"]
    precision: Precision
    opset: int
    input_nchw: tuple[int, int, int, int]
    dynamic_batch: bool
    tolerance: Tolerance


@dataclass(frozen=True, kw_only=True)
class OutputComparison:
    """One output against torch: worst cosine over images; relative L2, PSNR and the atol it would need over all."""

    output: str
    min_cosine: float
    relative_l2: float
    psnr_db: float
    needed_atol: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All outputs of an artefact against torch fp32 on ``images`` real images."""

    outputs: tuple[OutputComparison, ...]
    images: int
    neighbour_agreement: float | None
    passed: bool


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """An artefact with its evidence: the file, its comparison with torch, its measured and its predicted time."""

    target: ExportTarget
    path: Path
    sha256: str
    bytes: int
    comparison: Comparison
    measured: Latency | None
    predicted_ms: float | None
    device: str
    threads: int
    versions: Mapping[str, str] = field(hash=False)
