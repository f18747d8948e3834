"""Predictions: what a whole network sees in pictures, in the pixels of each picture.

The same for torch and for every artefact: both give outputs by name, and everything after them is here.
"""

# ruff: noqa: N803, N806, N815 - a tensor's name ends in its shape.

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from export.types import ExportTarget, Preprocess
from export.verify.detections import select
from export.verify.outputs import artefact_outputs
from hardware_profiles.runners import Runner
from search.evaluate.scores import MaskCounts, Score, score_boxes, score_classes
from search.images.read import open_picture, upright
from search.labels.arrays import Arrays
from search.labels.checks import read_mask
from search.labels.inputs import Input, Placed
from search.labels.samples import IGNORED, Sample, Samples
from search.types import Task
from zoo.errors import BadRequest, UnreadableImage
from zoo.types import HeadCard

Array = NDArray[Any]
Run = Callable[[Tensor], Mapping[str, Array]]
Picture = str | Path | bytes | BinaryIO | Image.Image | NDArray[Any]
ACCEPTED = "give a path, a PIL image, bytes, an open file, a uint8 array [H, W, 3] or tensor [3, H, W], or a list"
BATCH = 16  # pictures at once: more gives no speed on a processor
_SHOWN = 5  # classes of a picture, as top-5 counts them


@dataclass(frozen=True, kw_only=True)
class Box:
    """An object: its class, how sure the network is (0 to 1), and its corners in pixels of the picture."""

    name: str
    score: float
    x0_px: float
    y0_px: float
    x1_px: float
    y1_px: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """What was seen in one picture; only the field of the network's task is filled.

    Args:
        source: the picture's path, or a number where it had none.
        size_px: its width and height, upright.
        classes: the likeliest, best first, with their probabilities.
        boxes: best first.
        mask_HW: the class of each pixel, uint8.
        names: of the classes.
    """

    source: str
    size_px: tuple[int, int]
    names: tuple[str, ...]
    classes: tuple[tuple[str, float], ...] = ()
    boxes: tuple[Box, ...] = ()
    mask_HW: NDArray[np.uint8] | None = None


def input_of(how: Preprocess) -> Input:
    """The preprocessing of a package, ready to use."""
    return Input(size_px=how.size_px, mean=how.mean, std=how.std, fit=how.fit)


def by_torch(network: nn.Module) -> Run:
    """Outputs of a network in eval mode."""
    parameter = next(network.parameters())

    @torch.inference_mode()
    def run(x_NCHW: Tensor) -> Mapping[str, Array]:
        found = network(x_NCHW.to(parameter.device).contiguous(memory_format=torch.channels_last))
        return {name: tensor.float().cpu().numpy() for name, tensor in found.items()}

    return run


def by_onnx(runner: Runner, target: ExportTarget) -> Run:
    """Outputs of an artefact that a runner has loaded."""

    def run(x_NCHW: Tensor) -> Mapping[str, Array]:
        return artefact_outputs(runner, x_NCHW.numpy(), target)

    return run


def predict(run: Run, head: HeadCard, how: Preprocess, pictures: Iterable[Picture]) -> Iterator[Prediction]:
    """What is seen in each picture, in order.

    Args:
        run: the network or an artefact.
        head: of it.
        how: it takes pictures.
        pictures: paths, PIL images, or uint8 arrays [H, W, 3].

    Raises:
        UnreadableImage: a file that cannot be decoded.
    """
    reader = input_of(how)
    for start, rows in _batches(pictures):
        ready = [reader.read(opened(picture)) for picture in rows]
        outputs = run(torch.stack([x for x, _, _ in ready]))
        for i, (_, placed, size_px) in enumerate(ready):
            source = str(rows[i]) if isinstance(rows[i], (str, Path)) else str(start + i)
            one = {name: output[i] for name, output in outputs.items()}
            yield _prediction(one, head, placed, size_px, how.size_px, source)


def judge(run: Run, samples: Samples, how: Preprocess, arrays: Arrays | None = None) -> Score:
    """How good a network or an artefact is on labelled pictures, each judged in its own pixels.

    Args:
        run: the network or an artefact.
        samples: labelled pictures.
        how: it takes pictures.
        arrays: the same pictures decoded; None reads their files.
    """
    reader = input_of(how)
    logits, found = [], []
    counts = MaskCounts(len(samples.classes), IGNORED)
    for start in range(0, len(samples.samples), BATCH):
        rows = range(start, min(start + BATCH, len(samples.samples)))
        several = [samples.samples[i] for i in rows]
        outputs = run(
            reader.normalized(_pixels(several, reader) if arrays is None else arrays.pixels_NHWC[start : rows.stop])
        )
        for i, one in zip(rows, several, strict=True):
            mine = {name: output[i - start] for name, output in outputs.items()}
            placed = reader.place(one.size_px)
            match samples.task:
                case Task.CLS:
                    logits.append(mine["logits"])
                case Task.DET:
                    found.append(_boxes(mine, placed, one.size_px))
                case Task.SEG:
                    assert one.mask is not None
                    known_HW = read_mask(one.mask) if arrays is None else arrays.masks[i]
                    counts.add(_mask(mine["masks"], placed, one.size_px, how.size_px), known_HW)
    match samples.task:
        case Task.CLS:
            return score_classes(np.stack(logits), np.array([one.label for one in samples.samples]))
        case Task.DET:
            pairs = [(one.boxes_M4, one.labels_M) for one in samples.samples]
            known = [(boxes, labels) for boxes, labels in pairs if boxes is not None and labels is not None]
            return score_boxes(found, known, len(samples.classes))
        case Task.SEG:
            return counts.score()


def _pixels(several: Sequence[Sample], reader: Input) -> NDArray[np.uint8]:
    """uint8 [N, H, W, 3]."""
    return np.stack([reader.pixels(opened(one.path)) for one in several])


def _prediction(
    outputs: Mapping[str, Array],
    head: HeadCard,
    placed: Placed,
    size_px: tuple[int, int],
    input_px: tuple[int, int],
    source: str,
) -> Prediction:
    names = head.classes
    match head.task:
        case Task.CLS:
            shares_K = np.exp(outputs["logits"] - outputs["logits"].max())
            shares_K = shares_K / shares_K.sum()
            best = np.argsort(-shares_K, kind="stable")[:_SHOWN]
            likeliest = tuple((names[k], float(shares_K[k])) for k in best)
            return Prediction(source=source, size_px=size_px, names=names, classes=likeliest)
        case Task.DET:
            boxes = tuple(
                Box(
                    name=names[int(k)],
                    score=float(s),
                    x0_px=float(x0),
                    y0_px=float(y0),
                    x1_px=float(x1),
                    y1_px=float(y1),
                )
                for x0, y0, x1, y1, s, k in _boxes(outputs, placed, size_px)
            )
            return Prediction(source=source, size_px=size_px, names=names, boxes=boxes)
        case Task.SEG:
            mask_HW = _mask(outputs["masks"], placed, size_px, input_px)
            return Prediction(source=source, size_px=size_px, names=names, mask_HW=mask_HW)


def _boxes(outputs: Mapping[str, Array], placed: Placed, size_px: tuple[int, int]) -> Array:
    """[D, 6]: corners in pixels of the picture, score, class."""
    found_D6 = outputs.get("detections")
    if found_D6 is None:
        found_D6 = select(outputs["boxes"][None], outputs["scores"][None])[0]
    found_D6 = found_D6[found_D6[:, 4] > 0].astype(np.float64)
    shift_4 = np.array([placed.dx, placed.dy] * 2)
    found_D6[:, :4] = ((found_D6[:, :4] - shift_4) / placed.scale).clip(0, np.array([*size_px, *size_px]))
    return found_D6


def _mask(logits_Khw: Array, placed: Placed, size_px: tuple[int, int], input_px: tuple[int, int]) -> NDArray[np.uint8]:
    """Class of each pixel [H, W] of the picture; pixels that the network did not see take the nearest that it saw."""
    width, height = size_px
    logits = F.interpolate(torch.from_numpy(logits_Khw)[None], size=input_px, mode="bilinear", align_corners=False)
    seen_hw = logits[0].argmax(0).to(torch.uint8).numpy()
    rows, columns = (
        np.clip(((np.arange(count) + 0.5) * placed.scale + shift).astype(int), 0, most - 1)
        for count, shift, most in ((height, placed.dy, input_px[0]), (width, placed.dx, input_px[1]))
    )
    return np.ascontiguousarray(seen_hw[rows][:, columns])


def _batches(pictures: Iterable[Picture]) -> Iterator[tuple[int, Sequence[Picture]]]:
    rows: list[Picture] = []
    start = 0
    for picture in pictures:
        rows.append(picture)
        if len(rows) == BATCH:
            yield start, rows
            start, rows = start + len(rows), []
    if rows:
        yield start, rows


def opened(picture: Picture) -> Image.Image:
    """Upright and in RGB; the picture stays as it is.

    Raises:
        UnreadableImage: a file that cannot be decoded, or pixels that no screen shows.
        BadRequest: something else than a picture, or an array that is not uint8 [H, W, 3] or [H, W].
    """
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or not (picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] == 3)):
            raise BadRequest(f"an array of {picture.dtype} {list(picture.shape)} is not uint8 [H, W, 3] or [H, W]")
        picture = Image.fromarray(picture)
    if not (isinstance(picture, (str, Path, bytes, Image.Image)) or hasattr(picture, "read")):
        raise BadRequest(f"a {type(picture).__name__} is no picture; {ACCEPTED}")
    name = str(picture) if isinstance(picture, (str, Path)) else f"the picture ({type(picture).__name__})"
    try:
        if isinstance(picture, Image.Image):
            return upright(picture)
        with open_picture(Path(picture).expanduser() if isinstance(picture, str) else picture) as image:
            return upright(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UnreadableImage(f"{name} cannot be read as an image: {error}") from None
