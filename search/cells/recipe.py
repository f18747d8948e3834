"""DARTS recipe: everything a search of cells is made of; a variant is ``replace(recipe, ...)``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import get_args

from search.images.views import Views
from search.nets.cell import CELL
from search.nets.genotype import Genotype
from search.recipes import Recipe, Stage
from search.types import Compute, Strategy


def simclr_views(crop_px: int) -> Views:
    """SimCLR's for CIFAR: crops from 8 % on, color distortion of strength 0.5, no blur (arXiv:2002.05709, B.9)."""
    return Views(crop_px=crop_px, min_scale=0.08, jitter=(0.4, 0.4, 0.4, 0.1))


@dataclass(frozen=True, kw_only=True)
class DartsRecipe:
    """How cells are searched.

    Args:
        strategy: ``darts`` mixes all operations of an edge; ``gumbel`` draws their weights, ever closer to one-hot.
        epochs: passes over the weights' half of the images.
        batch: images a step, from each half; each is seen twice.
        crop_px: side of the views.
        cells: depth of the network that is searched.
        channels: of its first cell.
        lr: of the weights, by SGD; cosine from here to ``lr_min``.
        lr_min: see there.
        momentum: of SGD.
        weight_decay: of the weights.
        clip: largest norm of the weights' gradient.
        alpha_lr: of the architecture, by Adam with betas 0.5 and 0.999 and weight decay 0.001.
        warmup_epochs: only weights are trained at first.
        temperature: of the contrastive loss.
        projection_dim: width of the projector's output; its hidden layer is as wide as the features.
        gumbel_tau: of ``gumbel``, at the start and at the end.
        penalty: weight of the expected milliseconds over the budget, as a share of the budget, in the alpha step.
        held_out: share of the images that neither half sees; they judge.
        max_skips: more identities than this in a normal cell are a collapse.
        max_parameter_free: more poolings and identities than this in a normal cell are one, too.
        patience: epochs in a row that must be collapsed before the search stops and goes back.
        selection_epochs: self-supervised training of each derived network, before its held-out loss is compared.
        norm_groups: groups of a batch that are normalized apart, as on several devices.
        images: at most this many of the folder's are looked at; None takes all.
        seed: of everything random.
        precision: ``auto`` is bf16 where the hardware multiplies it fast, else fp32.
    """

    strategy: Strategy = "darts"
    epochs: int = 50
    batch: int = 64
    crop_px: int = 32
    cells: int = 8
    channels: int = 16
    lr: float = 0.025
    lr_min: float = 0.001
    momentum: float = 0.9
    weight_decay: float = 3e-4
    clip: float = 5.0
    alpha_lr: float = 3e-4
    warmup_epochs: int = 0
    temperature: float = 0.5
    projection_dim: int = 128
    gumbel_tau: tuple[float, float] = (1.0, 0.33)
    penalty: float = 1.0
    held_out: float = 0.1
    max_skips: int = 2
    max_parameter_free: int = 6
    patience: int = 3
    selection_epochs: float = 10.0
    norm_groups: int = 1
    images: int | None = None
    seed: int = 0
    precision: Compute = "auto"

    def __post_init__(self) -> None:
        """Refuse what cannot search."""
        counts = {"epochs": 1, "batch": 2, "crop_px": 8, "cells": 3, "channels": 2, "patience": 1, "warmup_epochs": 0}
        for name, least in counts.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        if self.strategy not in get_args(Strategy):
            raise ValueError(f"strategy is {self.strategy!r}; known are {', '.join(get_args(Strategy))}")
        rates = ("lr", "alpha_lr", "clip", "temperature", "penalty", "selection_epochs")
        for name in rates:
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be a finite number above 0")
        for name in ("lr_min", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be a finite number of at least 0")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum is {self.momentum}; it must be at least 0 and below 1")
        if not 0 < self.held_out < 0.5:
            raise ValueError(f"held_out is {self.held_out}; it must be above 0 and below 0.5")
        if self.norm_groups < 1 or self.batch % self.norm_groups:
            raise ValueError(f"batch is {self.batch}; {self.norm_groups} group(s) or devices need a multiple of that")
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs is {self.warmup_epochs} of {self.epochs} epochs; the cells need some, too")

    @property
    def views(self) -> Views:
        """Of search, selection and judgement alike."""
        return simclr_views(self.crop_px)

    def lr_at(self, progress: float) -> float:
        """The weights' learning rate after a fraction ``progress`` of the steps."""
        return self.lr_min + (self.lr - self.lr_min) * 0.5 * (1 + math.cos(math.pi * progress))

    def tau_at(self, progress: float) -> float:
        """Temperature of Gumbel's softmax after a fraction ``progress`` of the steps."""
        start, end = self.gumbel_tau
        return start + (end - start) * progress


def paper() -> DartsRecipe:
    """SSNAS (arXiv:2007.01500, section 4) with the settings of DARTS: 8 cells, 16 channels, batch 64, 50 epochs.

    For a GPU: a step of this size keeps about 20 GB of activations.
    """
    return DartsRecipe()


def quick() -> DartsRecipe:
    """The same search, small enough for 2 CPU cores: 5 cells of 8 channels on 16 px crops of 768 images.

    With so few steps the architecture's learning rate must be higher for anything to be decided, and the weights are
    trained first, for an untrained convolution loses to any pooling.
    """
    return DartsRecipe(
        epochs=8,
        batch=32,
        crop_px=16,
        cells=5,
        channels=8,
        alpha_lr=0.01,
        warmup_epochs=2,
        selection_epochs=3.0,
        images=768,
    )


PRESETS = {"quick": quick, "paper": paper}


def single(
    genotype: Genotype, *, cells: int, channels: int, resolution_px: int, epochs: float, seed: int = 0
) -> Recipe:
    """SimCLR's training of one network of these cells, with the optimizer of DARTS.

    Args:
        genotype: the cells.
        cells: how many are stacked.
        channels: of the first one.
        resolution_px: side of the views, in pixels.
        epochs: passes over the images.
        seed: of everything random.
    """
    architecture = CELL.architecture(genotype, cells=cells, channels=channels, resolution_px=resolution_px)
    return Recipe(
        net=CELL.name,
        architecture=architecture.choices,
        objective="simclr",
        epochs=epochs,
        lr=0.025,
        weight_decay=3e-4,
        warmup=0.0,
        temperature=0.5,
        hidden_dim=16 * channels,
        stages=(Stage(until=1.0, crop_px=resolution_px),),
        views=simclr_views(resolution_px),
        seed=seed,
    )
