"""Validate: how well the largest network's features tell labelled classes apart, every so many steps of a training.

It is looked at and written down; nothing is chosen by it, and training is the same without it.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from search.evaluate.classifiers import knn_accuracy
from search.evaluate.features import Preprocessing, embed, recalibrate_on
from search.evaluate.labelled import read_labelled
from search.images.feed import Pixels, take
from search.oneshot.engine.watch import MetricsFile
from search.oneshot.ssl import family
from search.recipes import Recipe
from search.supernet import load_slices

VALIDATION = "validation.csv"
_IMAGES = 2048  # at most, half of which vote; as many are recalibrated on
_NEIGHBORS = 20


class Validate(Callback):
    """k-NN of every other labelled image by the ones between them.

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
        self._file = MetricsFile(path, ("step", "knn"))

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """See Lightning."""
        self._file.on_train_start(trainer, module)

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *args: Any, **kwargs: Any) -> None:
        """See Lightning."""
        step = int(trainer.global_step)
        if step % self._steps and step != trainer.max_steps:
            return
        accuracy = self._accuracy(module.training_module.student)
        self._file.add({"step": step - 1, "knn": round(accuracy, 4)})
        for logger in trainer.loggers:
            logger.log_metrics({"knn": accuracy}, step=step - 1)
        self._say(f"step {step}: k-NN {100 * accuracy:.1f} % of {len(self._labelled.labels) // 2} labelled images")

    def _accuracy(self, student: dict[str, torch.Tensor]) -> float:
        recipe, net = self._recipe, family(self._recipe)
        with torch.random.fork_rng(devices=[]):
            network = net.build(net.largest(recipe.resolution_px))
        load_slices(network, {k.removeprefix("backbone."): v.detach().cpu() for k, v in student.items()})
        how = Preprocessing(size_px=recipe.resolution_px, mean=recipe.views.mean, std=recipe.views.std)
        recalibrate_on(network, self._seen, how)
        features, labels = embed(network, self._labelled.pixels, how), self._labelled.labels
        return knn_accuracy(features[::2], labels[::2], features[1::2], labels[1::2], k=_NEIGHBORS)


def read_validation(path: Path) -> list[list[float]]:
    """[step, accuracy] of each time."""
    with path.open(encoding="utf-8", newline="") as file:
        return [[int(row["step"]), float(row["knn"])] for row in csv.DictReader(file)]
