"""Truth: how well networks serve labelled images, frozen under a ridge classifier or fine-tuned; benchmarks share it.

A domain is a folder with train and test, each with a sub-folder a class, or with images/ and masks/ of the same file
names, a mask's values being classes and 255 nothing.
"""

import io
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnxruntime import InferenceSession, SessionOptions
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from export.types import Preprocess
from search.images.read import read_images
from search.images.views import center
from search.labels.read import Split
from search.nets import Backbone, Net
from search.supernet import SupernetCard
from search.types import Architecture, Task
from zoo.heads.network import KINDS, make_network
from zoo.heads.predictions import by_torch, judge
from zoo.make.finetune import Recipe, fit, loss_of
from zoo.types import HeadCard, no_progress, silent

SEEN, BATCH = 256, 16
FOLDS, BOOTSTRAPS = 5, 1000
PENALTIES = tuple(10.0**p for p in range(0, 6))
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Domain:
    """uint8 images [N, 3, S, S] of both halves, the first ``train`` of them unlabelled to the scores.

    Labels are [N], or [N, S, S] for dense ones; ``folds`` [N] say where a sample is held out.
    """

    name: str
    pixels: Tensor
    labels: Tensor
    folds: Tensor
    train: int

    @property
    def dense(self) -> bool:
        return self.labels.ndim == 3


def read_domain(folder: Path, size_px: int, limit: int | None) -> Domain:
    dense = (folder / "train" / "masks").is_dir()
    halves = [read_images(folder / h / ("images" if dense else ""), size_px=size_px, min_images=1) for h in HALVES]
    paths = [path for half in halves for path in half.paths]
    pixels, train = torch.cat([half.pixels for half in halves]), len(halves[0].paths)
    if limit is not None and len(pixels) > limit:
        kept = sorted(np.random.default_rng(0).permutation(len(pixels))[:limit].tolist())
        pixels, paths, train = pixels[kept], [paths[i] for i in kept], sum(i < train for i in kept)
    if dense:
        labels = torch.stack([_mask(p.parents[1] / "masks" / f"{p.stem}.png", size_px) for p in paths])
        names = ["" for _ in paths]
    else:
        names = [path.parent.name for path in paths]
        order = {name: i for i, name in enumerate(sorted(set(names)))}
        labels = torch.tensor([order[name] for name in names])
    return Domain(
        name=folder.name, pixels=pixels, labels=labels, folds=_folds(names, [p.stem for p in paths]), train=train
    )


HALVES = ("train", "test")


def _folds(classes: list[str], stems: list[str]) -> Tensor:
    """Neighbours in the order of their names share a fold, for they may be frames of one recording."""
    folds = torch.zeros(len(stems), dtype=torch.long)
    for name in set(classes):
        own = sorted((i for i, c in enumerate(classes) if c == name), key=lambda i: stems[i])
        folds[own] = torch.arange(len(own)) * FOLDS // len(own)
    return folds


def _mask(path: Path, size_px: int) -> Tensor:
    mask = torch.from_numpy(np.array(Image.open(path)))[None, None].float()
    height, width = mask.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = mask[..., top : top + side, left : left + side]
    return F.interpolate(square, size=(size_px, size_px), mode="nearest")[0, 0].long()


def named(net: Net, choices: str, px: int) -> Architecture:
    """The architecture that a run's ``choices`` name."""
    pairs = zip(net.space, choices.split(), strict=True)
    picked = tuple(next(option for option in choice.options if str(option) == word) for choice, word in pairs)
    return Architecture(net=net.name, choices=picked, resolution_px=px)


def judged(backbone: Backbone, card: SupernetCard, domain: Domain, px: int) -> float:
    """Accuracy of a ridge classifier on its features, of held-out images."""

    def seen(pixels: Tensor) -> Tensor:
        return center(pixels, px, card.mean, card.std).contiguous(memory_format=torch.channels_last)

    for norm in (part for part in backbone.modules() if isinstance(part, nn.BatchNorm2d)):
        norm.reset_running_stats()
        norm.momentum = None
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        backbone.train()(seen(domain.pixels[torch.randperm(domain.train, generator=generator)[:SEEN]]))
    run = fast(backbone.eval(), seen(domain.pixels[:BATCH]))
    x_ND = torch.cat([run(seen(part))[0] for part in domain.pixels.split(BATCH)])
    found = ridge(x_ND, domain.labels, domain.folds, PENALTIES, balanced=False)
    return max(accuracy for accuracy, *_ in found.values())


def tuned(backbone: Backbone, card: SupernetCard, split: Split, images: int, px: int, seed: int) -> float:
    """Accuracy on ``test`` after `zoo finetune`'s recipe has seen ``images`` images of ``train``."""
    head = HeadCard(kind=KINDS[Task.CLS], task=Task.CLS, classes=split.train.classes)
    network = make_network(backbone, head, px, seed=seed)
    how = Preprocess(size_px=(px, px), mean=card.mean, std=card.std)
    epochs = max(1, round(images / len(split.train.samples)))
    recipe = Recipe(epochs=epochs, patience=epochs, seed=seed)
    with tempfile.TemporaryDirectory() as work:
        fit(network, split, how, recipe, work=Path(work), loss=loss_of, progress=no_progress, say=silent)
        return float(judge(by_torch(network), split.test or split.val, how).values["top-1"])


def fast(module: nn.Module, example_BCHW: Tensor) -> Callable[[Tensor], list[Tensor]]:
    """``module`` in ONNX Runtime, which takes a third of torch's time for 3,000 images."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        axes = {"x": {0: "batch"}}
        torch.onnx.export(module.eval(), (example_BCHW,), file, input_names=["x"], dynamic_axes=axes, dynamo=False)
    options = SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = InferenceSession(file.getvalue(), options)
    return lambda x_BCHW: [torch.from_numpy(y) for y in session.run(None, {"x": x_BCHW.contiguous().numpy()})]


def ridge(x_ND: Tensor, y_N: Tensor, fold_N: Tensor, penalties: Any, *, balanced: bool) -> dict[float, list[float]]:
    """By penalty: the accuracy of held-out samples, of every other one and of the rest; balanced: mean over classes."""
    classes = int(y_N.max()) + 1
    x_ND = (x_ND - x_ND.mean(0)) / (x_ND.std(0) + 1e-5)
    one_NC = F.one_hot(y_N, classes).float()
    weight_N = (1 / one_NC.sum(0).clamp(min=1))[y_N] * len(y_N) / classes if balanced else torch.ones(len(y_N))
    x_ND = torch.cat([x_ND, torch.ones(len(x_ND), 1)], 1)
    grams, targets = [], []
    for fold in range(FOLDS):
        own = fold_N == fold
        weighted = x_ND[own] * weight_N[own, None]
        grams.append((weighted.T @ x_ND[own]).double())
        targets.append((weighted.T @ one_NC[own]).double())
    gram, target = torch.stack(grams).sum(0), torch.stack(targets).sum(0)
    found = {}
    for penalty in penalties:
        hit_N = torch.zeros(len(y_N), dtype=torch.float64)
        for fold in range(FOLDS):
            own = fold_N == fold
            left = gram - grams[fold]
            left.diagonal().add_(penalty)
            solution = torch.cholesky_solve(target - targets[fold], torch.linalg.cholesky(left))
            hit_N[own] = ((x_ND[own] @ solution.float()).argmax(1) == y_N[own]).double()
        samples = (slice(None), slice(0, None, 2), slice(1, None, 2))
        found[penalty] = [_mean(hit_N[rows], y_N[rows], balanced) for rows in samples]
    return found


def _mean(hit_N: Tensor, y_N: Tensor, balanced: bool) -> float:
    if not balanced:
        return float(hit_N.mean())
    return float(torch.stack([hit_N[y_N == c].mean() for c in y_N.unique()]).mean())


def taus(x_DN: Floats, y_DN: Floats, rows: NDArray[np.int64]) -> Floats:
    """tau-b of each domain over the networks ``rows`` [B, N]: [B, D]."""
    found = []
    for x, y in zip(x_DN, y_DN, strict=True):
        a, b = (np.sign(z[:, None] - z[None, :]).astype(np.int8) for z in (x, y))
        drawn = [(a[r[:, None], r], b[r[:, None], r]) for r in rows]
        ties = [max(1, np.count_nonzero(p)) * max(1, np.count_nonzero(q)) for p, q in drawn]
        found.append([int((p * q).sum(dtype=np.int64)) / t**0.5 for (p, q), t in zip(drawn, ties, strict=True)])
    return np.array(found).T
