"""Recipes: everything a training run is made of, as typed Python; a variant is ``replace(recipe, ...)``."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from search.images.views import Views
from search.nets import TRAINED
from search.objectives import OBJECTIVES
from search.types import Architecture, Compute

Optimizer = Literal["sgd", "adamw"]
# The objectives that compare with a queue.
QUEUED = ("mocov2", "densecl", "ressl")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stretch of training at one crop size, ending at ``until`` (a fraction of all steps)."""

    until: float
    crop_px: int


_MOST_EPOCHS = 1_000_000  # a slip of the keyboard is found before the training, not after years


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a supernet is trained.

    Args:
        net: a key of ``search.nets.TRAINED``.
        objective: a key of ``search.objectives.OBJECTIVES``.
        epochs: passes over the images.
        batch: images a step.
        accumulate: parts that a batch is taken in, one after the other, which need less memory. Images of different
            parts are not compared with each other.
        norm_groups: groups of images that are normalized apart, as if each were on a device of its own, but compared
            with each other (split batch normalization). Keys are grouped otherwise than queries, for statistics that
            both share tell which key is whose (He et al., CVPR 2020, section 3.3).
        optimizer: ``sgd`` or ``adamw``.
        lr: its peak learning rate; linear warm-up over ``warmup`` of the steps, then cosine to 0.
        momentum: of SGD (AdamW's first beta).
        weight_decay: on every parameter.
        warmup: fraction of all steps.
        random_subnets: networks a step besides the largest and the smallest.
        loss_weights: of the largest, the smallest and each random network, relative to each other. Parameters that all
            networks share get all their gradients, the last channels those of the largest alone (SlimCLR,
            arXiv:2209.15525, section 3.2).
        slow_start: fraction of the steps in which the largest network is trained alone (SlimCLR, section 3.3).
        distill: weight of the other networks' distillation from the largest, beside the objective's loss; 0 is none.
        elastic: a random network sees its view shrunk by one of these factors, so that networks of any resolution learn
            (BigNAS, ECCV 2020).
        temperature: of the contrastive loss; of the student where the teacher has its own.
        teacher_temperature: of the teacher's relations in ReSSL, and of an outside teacher's.
        teacher: an outside network whose features are learned, too: ``timm:NAME``, ``hf:org/name`` or an ONNX file (see
            ``search.teachers``); None is none.
        teacher_weight: of its part of the loss, 0..1; the objective has the rest. At 1 it is SEED's distillation alone,
            which trains faster and, where that was compared, better.
        teacher_sees: ``image``, once and for all, or the ``crop`` that the networks see, anew in each step.
        queue: negatives kept, where the objective has a queue; a multiple of ``batch``.
        ema: momentum of the teacher, updated once a step: the first and the last value, with a cosine between them
            (BYOL, Grill et al., NeurIPS 2020, section 3.3). A teacher that is slow from the start copies the untrained
            network for most of a short run.
        hidden_dim: width of the projector's hidden layer.
        projection_dim: width of its output.
        projector_norm: normalize the hidden layer.
        stages: crop sizes over time; the last one is the net's resolution.
        views: augmentation (its ``crop_px`` is replaced by the stage's).
        teacher_views: of the second view, where that is another.
        dense_weight: of DenseCL's dense loss, 0..1.
        seed: of everything random.
        precision: ``auto`` is bf16 where the hardware multiplies it fast, else fp32; fp16 needs a GPU.
        architecture: the choices of the one network to train; None trains all networks of the net.
    """

    net: str = "mobile"
    objective: str = "mocov2"
    epochs: float = 3.2
    batch: int = 64
    accumulate: int = 1
    norm_groups: int = 1
    optimizer: Optimizer = "sgd"
    lr: float = 0.06
    momentum: float = 0.9
    weight_decay: float = 1e-4
    warmup: float = 0.05
    random_subnets: int = 1
    loss_weights: tuple[float, float, float] = (1.0, 1.0, 1.0)
    slow_start: float = 0.0
    distill: float = 0.0
    elastic: tuple[float, ...] = (1.0,)
    temperature: float = 0.1
    teacher_temperature: float = 0.04
    teacher: str | None = None
    teacher_weight: float = 1.0
    teacher_sees: Literal["image", "crop"] = "image"
    queue: int = 256
    ema: tuple[float, float] = (0.9, 0.99)
    hidden_dim: int = 512
    projection_dim: int = 128
    projector_norm: bool = True
    stages: tuple[Stage, ...] = (
        Stage(until=0.875, crop_px=16),
        Stage(until=0.975, crop_px=24),
        Stage(until=1.0, crop_px=32),
    )
    views: Views = Views(crop_px=32)  # noqa: RUF009 - frozen
    teacher_views: Views | None = None
    dense_weight: float = 0.5
    seed: int = 0
    precision: Compute = "auto"
    architecture: tuple[str | int, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot train."""
        for kind, value, known in (("net", self.net, TRAINED), ("objective", self.objective, OBJECTIVES)):
            if value not in known:
                raise ValueError(f"{kind} is {value!r}; this version trains {', '.join(known)}")
        _check_architecture(self)
        _check_batch(self)
        _check_sandwich(self)
        if self.queue % self.batch or (self.queue < self.batch and self.objective in QUEUED):
            raise ValueError(f"queue is {self.queue}, no multiple of batch {self.batch}; make it one")
        for name in ("lr", "temperature", "teacher_temperature", "epochs"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be a finite number above 0")
        if self.epochs > _MOST_EPOCHS:
            raise ValueError(f"epochs is {self.epochs:g}; more than {_MOST_EPOCHS:,} never end")
        ends = [stage.until for stage in self.stages]
        if not ends or ends[0] <= 0 or ends[-1] != 1.0 or any(a >= b for a, b in itertools.pairwise(ends)):
            raise ValueError(f"the stages end at {ends}; they must rise from above 0 to 1.0")
        for name in ("warmup", "momentum", "slow_start"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 0 and below 1")
        for name in ("weight_decay", "distill"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be a finite number of at least 0")
        if not all(0 <= ema < 1 for ema in self.ema):
            raise ValueError(f"ema is {self.ema}; both values must be at least 0 and below 1")
        for name in ("dense_weight", "teacher_weight"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 0..1")
        if self.teacher_sees not in ("image", "crop"):
            raise ValueError(f"teacher_sees is {self.teacher_sees!r}; it is image or crop")

    @property
    def taught_alone(self) -> bool:
        """Whether the objective has no part in it."""
        return self.teacher is not None and self.teacher_weight == 1

    @property
    def resolution_px(self) -> int:
        """The input size that the finished supernet is for."""
        return self.stages[-1].crop_px

    def steps(self, images: int) -> int:
        """Optimizer steps on ``images`` images; a last, incomplete batch is dropped."""
        return max(1, int(self.epochs * (images // self.batch)))

    def crop_px(self, progress: float) -> int:
        """Crop size after a fraction ``progress`` of the steps."""
        return next(stage.crop_px for stage in self.stages if progress < stage.until or stage is self.stages[-1])

    def ema_at(self, progress: float) -> float:
        """The teacher's momentum after a fraction ``progress`` of the steps."""
        first, last = self.ema
        return last - (last - first) * 0.5 * (1 + math.cos(math.pi * progress))

    def lr_at(self, progress: float) -> float:
        """Learning rate after a fraction ``progress`` of the steps."""
        if progress < self.warmup:
            return self.lr * progress / self.warmup
        return self.lr * 0.5 * (1 + math.cos(math.pi * (progress - self.warmup) / (1 - self.warmup)))


def _check_batch(recipe: Recipe) -> None:
    r = recipe
    if r.batch < 2:
        raise ValueError(f"batch is {r.batch}; batch normalization needs at least 2 images")
    for name in ("accumulate", "norm_groups"):
        if getattr(r, name) < 1:
            raise ValueError(f"{name} is {getattr(r, name)}; it must be at least 1")
    groups = r.accumulate * r.norm_groups
    if r.batch % groups or r.batch < 2 * groups:
        raise ValueError(
            f"batch is {r.batch}; {r.accumulate} parts of {r.norm_groups} group(s) need a multiple of {groups}, of at"
            f" least {2 * groups}"
        )


def _check_sandwich(recipe: Recipe) -> None:
    r = recipe
    if r.random_subnets < 0:
        raise ValueError(f"random_subnets is {r.random_subnets}; it must be at least 0")
    if len(r.loss_weights) != 3 or not all(0 <= w < math.inf for w in r.loss_weights) or r.loss_weights[0] == 0:
        raise ValueError(f"loss_weights is {r.loss_weights}; it must be 3 finite numbers from 0, the first one above 0")
    if not r.elastic or not all(0.5 <= factor <= 1 for factor in r.elastic):
        raise ValueError(f"elastic is {r.elastic}; it must be factors of 0.5..1")
    if r.objective == "densecl" and r.elastic != (1.0,):
        raise ValueError(
            "elastic does not go with densecl, whose positions must be as many for all networks; leave it out"
        )


def _check_architecture(recipe: Recipe) -> None:
    if recipe.architecture is None and not TRAINED[recipe.net].shares_weights:
        raise ValueError(f"the networks of {recipe.net} share no weights; name the one to train with --architecture")
    if recipe.architecture is not None:
        px = recipe.stages[-1].crop_px if recipe.stages else 1
        TRAINED[recipe.net].check(Architecture(net=recipe.net, choices=recipe.architecture, resolution_px=px))


def recipe_for(net: str, objective: str, *, architecture: tuple[str | int, ...] | None = None) -> Recipe:
    """The default recipe with what the objective needs otherwise.

    - SimCLR: temperature 0.5 (Chen et al., arXiv:2002.05709, appendix B.9: best on 32 px images); no queue.
    - ReSSL: a teacher that sees crops and flips only, and a longer queue, for one of a few batches is a poor sample of
      images to be like (Zheng et al., arXiv:2107.09282, section 4).
    - BYOL: no queue, and a slower teacher, for nothing but it holds the projections apart (Grill et al.,
      arXiv:2006.07733, section 3.3: from 0.996 over a run a hundred times as long).
    - Photos: crops of 48, then 64 px, below which the last map is one position. The largest network comes first: alone
      for 0.4 of the steps, then with twice the weight of the others, which learn from it too.
    """
    base = Recipe(net=net, objective=objective, architecture=architecture)
    if net in ("mobile-photo", "resnet-photo"):
        base = replace(
            base,
            queue=1024,
            ema=(0.99, 0.996),
            warmup=0.03,
            slow_start=0.4,
            loss_weights=(2.0, 1.0, 1.0),
            distill=0.5,
            stages=(Stage(until=0.5, crop_px=48), Stage(until=1.0, crop_px=64)),
            views=replace(base.views, crop_px=64),
        )
    if net == "resnet-ar50to101":  # at the size that it is for
        stages = tuple(replace(stage, crop_px=7 * stage.crop_px) for stage in base.stages)
        base = replace(base, stages=stages, views=replace(base.views, crop_px=224))
    match objective:
        case "simclr":
            return replace(base, temperature=0.5, queue=0)
        case "ressl":
            weak = replace(base.views, jitter_p=0.0, gray_p=0.0)
            return replace(base, queue=16 * base.batch, teacher_views=weak)
        case "byol":
            return replace(base, queue=0, ema=(0.95, 0.999))
    return base


def quick(recipe: Recipe) -> Recipe:
    """Any recipe, small enough for a test or a first look: a minute on two cores, features of little use."""
    return replace(recipe, epochs=1, batch=16, queue=64, stages=(Stage(until=1.0, crop_px=16),))


def read_recipe(fields: Mapping[str, Any]) -> Recipe:
    """The recipe that ``dataclasses.asdict`` and JSON made these fields of.

    Raises:
        ValueError: it could not train.
        TypeError: a field is not known.
    """
    read: dict[str, Any] = _with_tuples(fields)
    read["stages"] = tuple(Stage(**stage) for stage in fields["stages"])
    for name in ("views", "teacher_views"):
        read[name] = None if fields[name] is None else Views(**_with_tuples(fields[name]))
    return Recipe(**read)


def _with_tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
