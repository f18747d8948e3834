"""Second-order statistics of a set of images: numbers that travel where the images may not.

Colors are described along three axes on which they do not correlate; along each, power falls with frequency much as it
does in all natural images (Field, JOSA A 1987), and the deviation from that is what this keeps. No image can be told
from it: it is averages over all of them.
"""

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from hardware_profiles.replace_file import replace_file
from search.errors import BadSupernet, WriteFailed

SCHEMA = 1
STATISTICS = "statistics.json"
_CHUNK = 1024  # images at once: 12 MB at 64 px in float32

Row = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class ImageStatistics:
    """What is kept of a set of images; colors on the scale 0..1.

    Args:
        images: how many were measured.
        size_px: side that they were measured at, in pixels.
        mean: color of all pixels.
        mean_covariance: of the images' mean colors, 3 rows.
        axes: unit vectors in color space, one a row, on which colors within an image do not correlate.
        power: along each axis, the mean power of an image at 1, 2, ... ``size_px // 2`` cycles an image.
        contrast: mean and standard deviation over images of the logarithm of an image's contrast, which is the root
            mean square distance of its pixels from its mean color.
    """

    images: int
    size_px: int
    mean: Row
    mean_covariance: tuple[Row, Row, Row]
    axes: tuple[Row, Row, Row]
    power: tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]
    contrast: tuple[float, float]

    def __post_init__(self) -> None:
        """Refuse numbers that no image has."""
        if any(len(row) != self.size_px // 2 for row in self.power) or self.size_px < 4:
            raise ValueError(f"power has {len(self.power[0])} frequencies; {self.size_px} px have {self.size_px // 2}")
        flat = [*self.mean, *self.contrast, *(v for rows in (self.mean_covariance, self.axes) for r in rows for v in r)]
        if not all(math.isfinite(v) for v in flat) or not all(0 <= v < math.inf for row in self.power for v in row):
            raise ValueError("every number must be finite, and every power at least 0")


def measure_statistics(pixels: Tensor) -> ImageStatistics:
    """The statistics of uint8 RGB images [N, 3, S, S].

    Raises:
        ValueError: fewer than two images, or images smaller than 4 px.
    """
    count, _, size_px, _ = pixels.shape
    if count < 2 or size_px < 4:
        raise ValueError(f"{count} images of {size_px} px have no statistics; give at least 2 of 4 px")
    chunks = [_as_float(chunk) for chunk in torch.split(pixels, _CHUNK)]
    means_N3 = torch.cat([x_NCHW.mean((2, 3)) for x_NCHW in chunks])
    within = torch.stack([_covariance_sum(x_NCHW) for x_NCHW in chunks]).sum(0) / (count * size_px**2)
    axes_33 = torch.linalg.eigh(within).eigenvectors.T.flip(0)  # the strongest first
    axes_33 = axes_33 * torch.where(axes_33.sum(1, keepdim=True) < 0, -1.0, 1.0)
    power = torch.stack([power_sum(x_NCHW, axes_33) for x_NCHW in chunks]).sum(0) / count
    contrast_N = torch.cat([log_contrast(x_NCHW) for x_NCHW in chunks])
    return ImageStatistics(
        images=count,
        size_px=size_px,
        mean=_row(means_N3.mean(0)),
        mean_covariance=_rows(torch.cov(means_N3.T)),
        axes=_rows(axes_33),
        power=tuple(tuple(_short(v) for v in row) for row in radial(power.numpy())),  # type: ignore[arg-type]
        contrast=(_short(contrast_N.mean()), _short(contrast_N.std())),
    )


def power_sum(x_NCHW: Tensor, axes_33: Tensor) -> Tensor:
    """Summed power spectra along color axes, [3, S, S], frequency 0 in the corner."""
    y_NCHW = torch.einsum("nchw,ac->nahw", x_NCHW, axes_33)
    power: Tensor = torch.fft.fft2(y_NCHW, norm="forward").abs().square().sum(0)
    return power


def radial(power_3SS: NDArray[np.float64]) -> NDArray[np.float64]:
    """[3, S, S] -> [3, S // 2]: the mean over all directions at 1, 2, ... cycles an image."""
    cycles = frequencies(power_3SS.shape[-1]).round().astype(int)
    rings = [power_3SS[:, cycles == f].mean(1) for f in range(1, power_3SS.shape[-1] // 2 + 1)]
    return np.stack(rings, axis=1)


def frequencies(size_px: int) -> NDArray[np.float64]:
    """Cycles an image at each place of a spectrum, [S, S]."""
    f = np.fft.fftfreq(size_px) * size_px
    return np.asarray(np.hypot(f[:, None], f[None, :]), dtype=np.float64)


def log_contrast(x_NCHW: Tensor) -> Tensor:
    """Logarithm of each image's contrast, [N]."""
    centered = x_NCHW - x_NCHW.mean((2, 3), keepdim=True)
    return (centered.square().mean((1, 2, 3)) + 1e-6).sqrt().log()


def load_statistics(folder: Path) -> ImageStatistics | None:
    """Those that lie beside a supernet; None where there are none.

    Raises:
        BadSupernet: the file is damaged, or of another schema.
    """
    path = folder / STATISTICS
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise BadSupernet(f"{path} cannot be read ({error}); install the supernet again") from None
    try:
        fields = dict(_File.model_validate_json(text))
        del fields["schema_number"]
        return ImageStatistics(**fields)
    except (ValidationError, ValueError) as error:
        reason = error.errors(include_url=False)[0]["msg"] if isinstance(error, ValidationError) else error
        raise BadSupernet(f"{path} holds no image statistics ({reason}); install the supernet again") from None


def save_statistics(statistics: ImageStatistics, folder: Path) -> Path:
    """Write ``statistics.json`` into a supernet's folder.

    Raises:
        WriteFailed: it cannot be written.
    """
    path = folder / STATISTICS
    text = json.dumps({"schema": SCHEMA, **asdict(statistics)}, indent=1) + "\n"
    try:
        return replace_file(path, text)
    except OSError as error:
        raise WriteFailed(f"{path} cannot be written ({error.strerror}); free some space") from error


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    schema_number: int = Field(alias="schema", ge=SCHEMA, le=SCHEMA)
    images: int
    size_px: int
    mean: Row
    mean_covariance: tuple[Row, Row, Row]
    axes: tuple[Row, Row, Row]
    power: tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]
    contrast: tuple[float, float]


def _as_float(pixels: Tensor) -> Tensor:
    return pixels.double() / 255


def _covariance_sum(x_NCHW: Tensor) -> Tensor:
    """Summed over pixels, each image around its own mean color, [3, 3]."""
    y_C = (x_NCHW - x_NCHW.mean((2, 3), keepdim=True)).transpose(0, 1).flatten(1)
    return y_C @ y_C.T


def _rows(matrix_33: Tensor) -> tuple[Row, Row, Row]:
    a, b, c = (_row(row) for row in matrix_33)
    return a, b, c


def _row(vector_3: Tensor) -> Row:
    a, b, c = (_short(v) for v in vector_3)
    return a, b, c


def _short(value: Tensor | float) -> float:
    """Six digits say all that averages know."""
    return float(f"{float(value):.6g}")
