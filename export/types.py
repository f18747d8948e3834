"""The values of this package: what to export, how an artefact compares with torch, and how fast it ran."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hardware_profiles import Latency
from hardware_profiles.types import Precision

Format = Literal["onnx", "ort", "engine"]
Calibrator = Literal["percentile", "minmax", "entropy"]


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """How a picture becomes the artefact's input: ``(uint8 * scale - mean) / std`` per channel, float32.

    Before that: RGB, the center square cut out or the whole put on grey (``fit``), resized to ``size_px`` (bilinear,
    antialiased).

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
    fit: Literal["crop", "letterbox"] = "crop"

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
    """What an artefact's outputs must reach against torch fp32 on real images.

    Args:
        min_cosine: of each image's output with torch's.
        max_relative_l2: of all outputs of one name together.
        min_agreement: share of images on which the task must see what it sees in torch's outputs (0 to 1).
    """

    min_cosine: float
    max_relative_l2: float
    min_agreement: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ExportTarget:
    """One artefact to make: its format, precision, input shape and the tolerance it must meet.

    Args:
        name: the kind of device.
        format: of the file; an ``ort`` file or a TensorRT ``engine`` is made from the ONNX file of the same precision.
        precision: of weights and activations; inputs and outputs stay float32.
        opset: version of the ONNX operators.
        input_nchw: batch, channels, height and width in pixels, before the input becomes pixels.
        dynamic_batch: any batch size, or just that of ``input_nchw``.
        tolerance: what the artefact must reach.
        uint8_input: the graph takes pixels, uint8 ``[N, H, W, 3]``, and normalizes them itself.
        nms: the graph selects its boxes itself and has an output ``detections``.
    """

    name: Literal["point", "edge", "cloud"]
    format: Format
    precision: Precision
    opset: int
    input_nchw: tuple[int, int, int, int]
    dynamic_batch: bool
    tolerance: Tolerance
    uint8_input: bool = False
    nms: bool = False


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
    """All outputs of an artefact against torch fp32 on ``images`` real images, and what the task sees in them.

    Every agreement is a share, 0 to 1, and ``None`` where the network has no such output.

    Args:
        outputs: each output against torch's.
        images: that were compared.
        neighbour_agreement: images whose nearest other image, by ``embedding``, is the same.
        passed: whether the tolerance was met.
        top1_agreement: images of the same class, by ``logits``.
        box_agreement: detections, by ``boxes`` and ``scores``, that have a partner of their class on the other side.
        mask_agreement: pixels of the same class, by ``masks``.
    """

    outputs: tuple[OutputComparison, ...]
    images: int
    neighbour_agreement: float | None
    passed: bool
    top1_agreement: float | None = None
    box_agreement: float | None = None
    mask_agreement: float | None = None

    def __post_init__(self) -> None:
        """Refuse a comparison of nothing."""
        if not self.outputs:
            raise ValueError("outputs are none; at least one is compared")

    @property
    def agreement(self) -> float | None:
        """The lowest of the agreements that there are."""
        shares = (self.neighbour_agreement, self.top1_agreement, self.box_agreement, self.mask_agreement)
        return min((share for share in shares if share is not None), default=None)


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """How much of an int8 artefact is int8, and how its ranges were found.

    Args:
        calibrator: that gave the smallest error.
        images: that ranges and layers were chosen on.
        int8_layers: convolutions and matrix products in int8.
        layers: of them in all.
        int8_weights: share of their weights (0 to 1).
    """

    calibrator: Calibrator
    images: int
    int8_layers: int
    layers: int
    int8_weights: float


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """An artefact with its evidence: the file, its comparison with torch, its measured and its predicted time.

    Args:
        peak_memory_bytes: weights and the activations alive at once, for one call at the target's batch size.
        quantization: of an int8 artefact.
        notes: sentences about what its user should know.
    """

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
    peak_memory_bytes: int | None = None
    quantization: Quantization | None = None
    notes: tuple[str, ...] = ()
