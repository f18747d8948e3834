"""Validate: how well the features of the largest and the smallest network tell labelled classes apart, as they learn.

It is looked at and written down; nothing is chosen by it, and training is the same without it. A supernet is worth
searching once its largest network is the better one.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from search.evaluate.classifiers import knn_accuracy, linear_accuracy
from search.evaluate.features import Preprocessing, embed, recalibrate_on
from search.evaluate.labelled import read_labelled
from search.images.feed import Pixels, take
from search.oneshot.engine.watch import MetricsFile
from search.oneshot.ssl import family
from search.recipes import Recipe
from search.supernet import SupernetCard, load_slices
from search.types import Architecture

VALIDATION = "validation.csv"
_IMAGES = 2048  # at most, half of which vote; as many are recalibrated on
_NEIGHBORS = 20
_COLUMNS = ("step", "images", *(f"{metric}_{role}" for role in ("largest", "smallest") for metric in ("knn", "linear")))


class Validate(Callback):
    """k-NN and a linear classifier of every other labelled image by the ones between them.

    Args:
        recipe: how the network is trained.
        pixels: the training's, for the statistics of normalization.
        folder: of labelled images, a sub-folder a class.
        path: of the CSV file, a line for each time.
        steps: optimizer steps between two times; the last step is one, too.
        say: receives a line for each.

    Raises:
        NotEnoughImages, BadLabels: the folder has no classes that can be told apart.
    """

    def __init__(
        self, recipe: Recipe, pixels: Pixels, folder: Path, path: Path, steps: int, say: Callable[[str], None]
    ) -> None:
        self._recipe, self._steps, self._say = recipe, steps, say
        self._labelled = read_labelled(folder, size_px=recipe.resolution_px, limit=_IMAGES)
        rows = np.linspace(0, len(pixels) - 1, min(_IMAGES, len(pixels))).astype(int).tolist()
        self._seen = take(pixels, rows)
        self._file = MetricsFile(path, _COLUMNS)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """See Lightning."""
        self._file.on_train_start(trainer, module)

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *args: Any, **kwargs: Any) -> None:
        """See Lightning."""
        step = int(trainer.global_step)
        if step % self._steps and step != trainer.max_steps:
            return
        recipe, net = self._recipe, family(self._recipe)
        px = recipe.resolution_px
        roles = {"largest": net.largest(px)} | ({} if net.size == 1 else {"smallest": net.smallest(px)})
        row: dict[str, Any] = {}
        told = []
        for role, architecture in roles.items():
            knn, linear = self._accuracies(module.training_module.student, architecture)
            row |= {f"knn_{role}": round(knn, 4), f"linear_{role}": round(linear, 4)}
            told.append(f"{role} k-NN {100 * knn:.1f} %, linear {100 * linear:.1f} %")
        for logger in trainer.loggers:
            logger.log_metrics(row, step=step - 1)
        self._file.add({"step": step - 1, "images": step * recipe.batch, **row})
        self._say(f"step {step}: {'; '.join(told)} of {len(self._labelled.labels) // 2} labelled images")

    def _accuracies(self, student: dict[str, torch.Tensor], architecture: Architecture) -> tuple[float, float]:
        recipe = self._recipe
        with torch.random.fork_rng(devices=[]):
            network = family(recipe).build(architecture)
        load_slices(network, {k.removeprefix("backbone."): v.detach().cpu() for k, v in student.items()})
        how = Preprocessing(size_px=recipe.resolution_px, mean=recipe.views.mean, std=recipe.views.std)
        recalibrate_on(network, self._seen, how)
        features, labels = embed(network, self._labelled.pixels, how), self._labelled.labels
        data = features[::2], labels[::2], features[1::2], labels[1::2]
        return knn_accuracy(*data, k=_NEIGHBORS), linear_accuracy(*data)


def read_validation(path: Path, start: SupernetCard | None = None) -> dict[str, Any]:
    """``columns`` and ``rows``, one a look; None where there is no smallest network.

    Of a training that began from the weights of ``start``: its looks come first, and their images count.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = [[float(value) if value else None for value in row] for row in csv.reader(file) if row[0] != "step"]
    if start is not None:
        rows = [[step, (images or 0) + start.images_seen, *found] for step, images, *found in rows]
        match start.training.get("validation"):
            case {"columns": columns, "rows": [*earlier]} if columns == list(_COLUMNS):
                rows = [*earlier, *rows]
    return {"columns": list(_COLUMNS), "rows": rows}
