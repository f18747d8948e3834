"""Look-alikes: some images of a folder, each with those of the same folder that the network finds most similar."""

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from search.evaluate import Preprocessing, embed
from search.images.read import read_images
from zoo.package.folder import load_package

_READ, _MIN, _SHOWN, _NEAREST = 256, 8, 6, 5  # images read, needed, shown, and neighbors of each
_SIDE_PX = 96  # of a picture in the page: 36 of them are 100 kB


@dataclass(frozen=True, kw_only=True)
class LookAlike:
    """A picture as a ``data:`` address, and the cosine of its embedding with the first one's."""

    picture: str
    cosine: float


def look_alikes(package: Path, images: Path) -> list[list[LookAlike]]:
    """A row an image: itself, and its nearest others.

    Args:
        package: the folder.
        images: at least 8 are needed; at most 256, evenly spread over the folder, are looked at.

    Raises:
        BadPackage: the package cannot be read.
        NotEnoughImages: fewer can be read.
    """
    loaded = load_package(package)
    how = loaded.card.preprocess
    side_px = loaded.card.architecture.resolution_px
    pixels_NCHW = read_images(images, size_px=max(side_px, _SIDE_PX), min_images=_MIN, limit=_READ).pixels
    preprocess = Preprocessing(size_px=side_px, mean=how.mean, std=how.std)
    small_NCHW = pixels_NCHW
    if pixels_NCHW.shape[-1] != side_px:
        scaled = F.interpolate(pixels_NCHW.float(), size=side_px, mode="bilinear", antialias=True)
        small_NCHW = scaled.round().clamp(0, 255).byte()
    features_ND = F.normalize(embed(loaded.backbone, small_NCHW, preprocess), dim=1)
    cosine_NN = features_ND @ features_ND.T
    count = len(pixels_NCHW)
    rows = []
    for i in range(0, count, max(1, -(-count // _SHOWN))):
        nearest = [j for j in cosine_NN[i].argsort(descending=True).tolist() if j != i][:_NEAREST]
        rows.append([_shown(pixels_NCHW[j], float(cosine_NN[i, j])) for j in (i, *nearest)])
    return rows


def _shown(pixels_CHW: Tensor, cosine: float) -> LookAlike:
    file = io.BytesIO()
    Image.fromarray(pixels_CHW.permute(1, 2, 0).numpy()).resize((_SIDE_PX, _SIDE_PX)).save(file, "JPEG", quality=85)
    return LookAlike(picture=f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}", cosine=cosine)
