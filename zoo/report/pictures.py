"""Pictures: what a network makes of a folder's images - what it sees in them, or which it takes for alike."""

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from search.evaluate import Preprocessing, embed
from search.images.read import image_files, open_picture, read_images, upright
from zoo.errors import UnreadableImage
from zoo.heads.predictions import predict
from zoo.package.folder import Package, load_package
from zoo.types import HeadCard, Progress, no_progress, stage
from zoo.use.predict import draw
from zoo.use.score import running

_READ, _MIN, _SHOWN, _NEAREST = 256, 8, 6, 5  # images read, needed, shown, and neighbors of each
_PREDICTED = 12  # shown with what is seen in them
_SIDE_PX, _DRAWN_PX = 96, 320  # of a small and of a drawn picture: a page stays below 3 MB
# As `zoo predict` draws them.
_LEAST_SCORE = 0.3


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A picture as a ``data:`` address, and a word below it."""

    picture: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """What one network makes of a folder; of the two only one is filled.

    Args:
        predictions: images with what was seen drawn on them.
        alike: a row an image: itself, and its nearest others.
    """

    predictions: tuple[Shown, ...] = ()
    alike: tuple[tuple[Shown, ...], ...] = ()


def pictures_of(package: Path, images: Path, *, progress: Progress = no_progress) -> Pictures:
    """Predictions of a whole model that was trained on labels; of any other network, images that it takes for alike.

    Args:
        package: the folder.
        images: at least 8 are needed; at most 256, evenly spread over the folder, are looked at.
        progress: called with (stage, done, all).

    Raises:
        BadPackage: the package cannot be read.
        NotEnoughImages: fewer can be read.
    """
    loaded = load_package(package)
    head = loaded.card.head
    if head is not None and head.trained:
        return Pictures(predictions=_predictions(loaded, head, images, progress))
    return Pictures(alike=_alike(loaded, images, progress))


def _predictions(loaded: Package, head: HeadCard, images: Path, progress: Progress) -> tuple[Shown, ...]:
    shown: list[Shown] = []
    files, _ = image_files(images, limit=_READ)
    if not files:
        raise UnreadableImage(f"{images} holds no image; name a folder of images with --images")
    with running(loaded, "torch") as run:
        for file in files[:: max(1, len(files) // _PREDICTED)][:_PREDICTED]:
            try:
                (found,) = predict(run, head, loaded.card.preprocess, [file])
            except UnreadableImage:
                continue  # what cannot be read is not shown
            found = replace(found, boxes=tuple(box for box in found.boxes if box.score >= _LEAST_SCORE))
            image = (_opened(file) if found.classes else draw(found)).convert("RGB")
            image.thumbnail((_DRAWN_PX, _DRAWN_PX))
            words = [f"{name} {100 * share:.0f} %" for name, share in found.classes[:1]]
            if found.mask_HW is None and not words:
                words = [f"{len(found.boxes)} object{'' if len(found.boxes) == 1 else 's'}"]
            shown.append(Shown(picture=_address(image), caption=", ".join(words)))
            progress("predict", len(shown), min(len(files), _PREDICTED))
    return tuple(shown)


def _opened(file: Path) -> Image.Image:
    with open_picture(file) as image:
        return upright(image)


def _alike(loaded: Package, images: Path, progress: Progress) -> tuple[tuple[Shown, ...], ...]:
    how, side_px = loaded.card.preprocess, loaded.card.architecture.resolution_px
    told = stage(progress, "images")
    read = read_images(images, size_px=max(side_px, _SIDE_PX), min_images=_MIN, limit=_READ, progress=told)
    pixels_NCHW = small_NCHW = read.pixels
    if pixels_NCHW.shape[-1] != side_px:
        scaled = F.interpolate(pixels_NCHW.float(), size=side_px, mode="bilinear", antialias=True)
        small_NCHW = scaled.round().clamp(0, 255).byte()
    preprocess = Preprocessing(size_px=side_px, mean=how.mean, std=how.std)
    features_ND = F.normalize(embed(loaded.backbone, small_NCHW, preprocess), dim=1)
    cosine_NN = features_ND @ features_ND.T
    count = len(pixels_NCHW)
    rows = []
    for i in range(0, count, max(1, -(-count // _SHOWN))):
        nearest = [j for j in cosine_NN[i].argsort(descending=True).tolist() if j != i][:_NEAREST]
        captions: Sequence[str] = ["image", *(f"{float(cosine_NN[i, j]):.2f}" for j in nearest)]
        rows.append(tuple(_small(pixels_NCHW[j], text) for j, text in zip((i, *nearest), captions, strict=True)))
    return tuple(rows)


def _small(pixels_CHW: Tensor, caption: str) -> Shown:
    image = Image.fromarray(pixels_CHW.permute(1, 2, 0).numpy()).resize((_SIDE_PX, _SIDE_PX))
    return Shown(picture=_address(image), caption=caption)


def _address(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
