"""SSL: the parts of self-supervised training - images, networks, objective, schedule - that a step puts together.

Whatever is random in step t is drawn from (seed, t), so a resumed run equals the uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from nni.nas.evaluator.pytorch import LightningModule
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from search import ranks
from search.images.feed import Pixels
from search.images.views import views
from search.nets import BLOCKS, TRAINED, Net
from search.nets.layers import projector_of
from search.nets.net import Fixed
from search.objectives import BYOL, DenseCL, Matched, MoCo, Network, Objective, ReSSL, SimCLR, Tensors
from search.objectives.ressl import distillation
from search.oneshot.engine.checkpoints import Run
from search.oneshot.engine.loader import Loader
from search.oneshot.engine.schedule import Plan, even
from search.oneshot.space import SupernetSpace, plain_key
from search.recipes import Recipe
from search.running import ALONE, Running
from search.supernet import Supernet, load_slices
from search.teachers import Outside
from search.types import Architecture

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.


_PLAN = "subnet_zoo_plan"
_QUEUED_BATCHES = 4  # of an outside teacher's features, where the recipe has no queue
_SEED_STRIDE = 1_000_003  # a prime above any number of steps between two seeds' streams


@dataclass(frozen=True, kw_only=True)
class Student:
    """A network of a step.

    Args:
        role: ``largest``, ``smallest`` or ``random``.
        architecture: which it is.
        shrink: by what its view's sides are multiplied.
        divisor: of its loss; the reciprocals of a step's divisors add up to 1.
    """

    role: str
    architecture: Architecture
    shrink: float = 1.0
    divisor: float = 1.0


class SSL(LightningModule):
    """The parts; the networks come through ``set_model``.

    Args:
        recipe: how to train.
        pixels: uint8 [N, 3, S, S], in memory or not.
        start: a supernet of the same networks whose weights are the first ones; None draws them.
        start_name: its name.
        running: on what.
        outside: the recipe's outside teacher, where it has one.
    """

    def __init__(
        self,
        recipe: Recipe,
        pixels: Pixels,
        *,
        start: Supernet | None = None,
        start_name: str | None = None,
        running: Running = ALONE,
        outside: Outside | None = None,
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.net = family(recipe)
        self.pixels = pixels
        self._loader: Loader | None = None
        if not isinstance(pixels, Tensor):
            self._loader = Loader(pixels, self.rows, parts=recipe.accumulate, workers=running.workers or 0)
        self.plan = even(recipe.steps(len(pixels)))
        self.run = Run(recipe, pixels, start=start_name)
        self._order: tuple[int, NDArray[Any]] | None = None  # of an epoch's images
        self.objective: Objective
        self.student: dict[str, Tensor]
        self._start = start
        self._running, self._outside = running, outside

    def set_model(self, model: nn.Module) -> None:
        """Take a supernet as NNI made it, or one network; give it its first weights, and the objective a teacher."""
        if getattr(self, "_model", None) is model:  # NNI gives it again when it lists what it found
            return
        super().set_model(model)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.recipe.seed)
            if isinstance(model, SupernetSpace):
                self._initialize(model)
            self.student = {self._plain(name): parameter for name, parameter in model.named_parameters()}
            if self._start is not None:
                load_all(self.student, self._start.weights)
            self.objective = make_objective(self.recipe, self._teacher)
            if self._outside is not None:
                self.objective = matched(self.objective, self.recipe, self._outside.dim)
        self.to(memory_format=torch.channels_last)
        if self._running.checkpoint_activations:
            recompute_blocks(model)
        if self._running.compiled:
            self._compile(model)

    def two_views(self, step: int, part: int = 0) -> tuple[Tensor, Tensor]:
        """A part of the step's images, this process's share of it, each seen twice: 2 x [B, 3, crop, crop]."""
        r, (start, _) = self.recipe, self._share(part)
        if isinstance(self.pixels, Tensor):
            pixels = self.pixels[torch.from_numpy(self.rows(step, part))]
        else:
            assert self._loader is not None
            pixels = self._loader.take(step, part)
        pixels = pixels.to(self.device)
        crop_px = r.crop_px(self.plan.progress(step))
        first, second = (replace(v, crop_px=crop_px) for v in (r.views, r.teacher_views or r.views))
        generator = torch.Generator().manual_seed(r.seed * _SEED_STRIDE + step)
        x1 = views(pixels, first, generator, start=start, of=r.batch)
        # An outside teacher alone asks for no second view.
        return x1, x1 if r.taught_alone else views(pixels, second, generator, start=start, of=r.batch)

    def rows(self, step: int, part: int) -> NDArray[Any]:
        """Numbers of the images of a part of the step that are this process's."""
        r, (start, count) = self.recipe, self._share(part)
        epoch, i = divmod(step, len(self.pixels) // r.batch)
        if self._order is None or self._order[0] != epoch:  # a million numbers take longer to draw than a small step
            self._order = epoch, np.random.default_rng((r.seed, epoch)).permutation(len(self.pixels))
        return self._order[1][i * r.batch + start : i * r.batch + start + count]

    def _share(self, part: int) -> tuple[int, int]:
        """Place in the batch of this process's first image of a part, and how many there are."""
        count = self.recipe.batch // self.recipe.accumulate // ranks.count()
        return (part * ranks.count() + ranks.rank()) * count, count

    def students(self, step: int) -> list[Student]:
        """The largest, the smallest and random networks; the largest alone where it is all there is, or early."""
        r, px, rng = self.recipe, self.recipe.resolution_px, np.random.default_rng((self.recipe.seed, step, 1))
        largest = Student(role="largest", architecture=self.net.largest(px))
        if self.net.size == 1 or self.plan.progress(step) < r.slow_start:
            return [largest]
        random = [
            Student(
                role="random",
                architecture=self.net.random(px, rng),
                shrink=r.elastic[int(rng.integers(len(r.elastic)))],
            )
            for _ in range(r.random_subnets)
        ]
        students = [largest, Student(role="smallest", architecture=self.net.smallest(px)), *random]
        weights = [*r.loss_weights[:2], *[r.loss_weights[2]] * r.random_subnets]
        return [replace(s, divisor=sum(weights) / w) for s, w in zip(students, weights, strict=True) if w > 0]

    def targets(self, x1_BCHW: Tensor, x2_BCHW: Tensor) -> Tensors:
        """Of all processes' images."""
        groups = self.recipe.norm_groups
        if groups == 1:
            return self.objective.targets(x1_BCHW, x2_BCHW)
        x1_BCHW, x2_BCHW = ranks.gather(x1_BCHW), ranks.gather(x2_BCHW)
        # Every groups-th image, where encode takes neighbors: a key's statistics are not its query's.
        mixed = torch.arange(len(x1_BCHW)).view(-1, groups).T
        own = mixed.chunk(ranks.count())[ranks.rank()]
        parts = [self.objective.targets(_rows(x1_BCHW, rows), _rows(x2_BCHW, rows)) for rows in own]
        back = mixed.flatten().argsort().to(x1_BCHW.device)
        return tuple(ranks.gather(torch.cat(part))[back] for part in zip(*parts, strict=True))

    def outside(self, x1_BCHW: Tensor, step: int, part: int) -> Tensors:
        """What comes after ``targets``: how an outside teacher relates all processes' images, where there is one."""
        if self._outside is None:
            return ()
        assert isinstance(self.objective, Matched)
        views = self.recipe.views
        features_BE = self._outside.features(self.rows(step, part), x1_BCHW, views.mean, views.std)
        return self.objective.relations(ranks.gather(features_BE))

    def encode(self, x1_BCHW: Tensor, x2_BCHW: Tensor, *, shrink: float = 1.0) -> Tensors:
        """All processes' images by the chosen network; the gradient reaches this process's alone."""
        x1_BCHW, x2_BCHW = (_shrunk(x_BCHW, shrink) for x_BCHW in (x1_BCHW, x2_BCHW))
        model: Network = self.model
        count = max(1, self.recipe.norm_groups // ranks.count())
        if count == 1:
            encoded = self.objective.encode(model, x1_BCHW, x2_BCHW)
        else:
            groups = zip(x1_BCHW.chunk(count), x2_BCHW.chunk(count), strict=True)
            parts = [self.objective.encode(model, *group) for group in groups]
            encoded = tuple(torch.cat(part) for part in zip(*parts, strict=True))
        return tuple(ranks.gather(part) for part in encoded)

    def loss(self, encoded: Tensors, targets: Tensors, largest_BD: Tensor | None) -> Tensor:
        """The objective's, and the distillation from the projections of the largest network where those are given."""
        r, loss = self.recipe, self.objective.loss(encoded, targets)
        if largest_BD is None or r.distill == 0:
            return loss
        return loss + r.distill * distillation(encoded[0], largest_BD, self.objective.others(targets), r.temperature)

    def trained(self) -> list[nn.Parameter]:
        """Parameters of the networks and of the objective's heads."""
        return [*self.model.parameters(), *(p for p in self.objective.parameters() if p.requires_grad)]

    def mark(self, checkpoint: dict[str, Any]) -> None:
        """Write into a checkpoint whose it is, and the plan."""
        self.run.mark(checkpoint)
        checkpoint[_PLAN] = [list(knot) for knot in self.plan.knots]

    def check(self, checkpoint: dict[str, Any], own: Mapping[str, Tensor]) -> None:
        """Take a checkpoint's plan; refuse another run's.

        Args:
            checkpoint: Lightning's.
            own: this run's state dict.

        Raises:
            TrainingError: it is of another run.
        """
        self.run.check(checkpoint, own)
        if (knots := checkpoint.get(_PLAN)) is not None:
            self.plan = Plan(knots=tuple((int(step), float(progress)) for step, progress in knots))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Of all that is trained; the teacher has no gradient."""
        r = self.recipe
        if r.optimizer == "adamw":
            return torch.optim.AdamW(self.trained(), r.lr, betas=(r.momentum, 0.999), weight_decay=r.weight_decay)
        return torch.optim.SGD(self.trained(), r.lr, momentum=r.momentum, weight_decay=r.weight_decay)

    def _compile(self, model: nn.Module) -> None:
        """What is the same network in each step; those that a step chooses would be compiled again each time."""
        teachers = [part for name, part in self.objective.named_modules() if name.rpartition(".")[2] == "teacher"]
        for network in (*teachers, *([] if isinstance(model, SupernetSpace) else [model])):
            network.compile(dynamic=False)

    def _initialize(self, space: SupernetSpace) -> None:
        """NNI replaced the modules, so what was drawn for them is drawn again."""
        self.net.initialize(space)
        for part in space.projector.modules():
            if isinstance(part, nn.Linear):
                part.reset_parameters()

    def _plain(self, name: str) -> str:
        return plain_key(name) if isinstance(self.model, SupernetSpace) else name

    def _teacher(self) -> Projected:
        """A copy of the largest network."""
        teacher = projected(self.recipe, self.net)
        load_slices(teacher, {name: parameter.detach() for name, parameter in self.student.items()})
        return teacher


def family(recipe: Recipe) -> Net:
    """The networks that ``recipe`` trains: all of a net, or one."""
    net = TRAINED[recipe.net]
    if recipe.architecture is None:
        return net
    px = recipe.resolution_px
    return Fixed(net, Architecture(net=recipe.net, choices=recipe.architecture, resolution_px=px))


def projected(recipe: Recipe, net: Net) -> Projected:
    """The largest network, with fresh weights."""
    return Projected(
        net,
        net.largest(recipe.resolution_px),
        hidden_dim=recipe.hidden_dim,
        projection_dim=recipe.projection_dim,
        projector_norm=recipe.projector_norm,
    )


@torch.no_grad()
def load_all(parameters: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    """Copy every tensor to the parameter of its name."""
    for name, parameter in parameters.items():
        parameter.copy_(weights[name])


def _rows(x_BCHW: Tensor, rows: Tensor) -> Tensor:
    return x_BCHW[rows.to(x_BCHW.device)].contiguous(memory_format=torch.channels_last)


def _shrunk(x_BCHW: Tensor, factor: float) -> Tensor:
    if factor == 1.0:
        return x_BCHW
    side = max(8, round(factor * x_BCHW.shape[-1]))
    return F.interpolate(x_BCHW, (side, side), mode="bilinear", antialias=True)


class Projected(nn.Module):
    """[B, 3, H, W] -> [B, projection_dim], with fresh weights.

    Args:
        net: the family.
        architecture: of that family.
        hidden_dim: width of the projector's hidden layer.
        projection_dim: width of its output.
        projector_norm: normalize the hidden layer.
    """

    def __init__(
        self,
        net: Net,
        architecture: Architecture,
        *,
        hidden_dim: int,
        projection_dim: int,
        projector_norm: bool = True,
    ) -> None:
        super().__init__()
        self.backbone = net.build(architecture)
        width = int(self.backbone.embedding_dim)
        self.projector = projector_of(width, hidden_dim, projection_dim, norm=projector_norm)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """See the class."""
        return self.projector(self.backbone(x_BCHW))  # type: ignore[no-any-return]


def make_objective(recipe: Recipe, make_teacher: Callable[[], nn.Module]) -> Objective:
    """The objective of ``recipe``; heads are drawn from torch's generator, queues from the recipe's seed.

    Args:
        recipe: how to train.
        make_teacher: builds a copy of the largest network with its projector.
    """
    r, generator = recipe, torch.Generator().manual_seed(recipe.seed)
    dim, queue, temperature = r.projection_dim, r.queue, r.temperature
    match r.objective:
        case "mocov2":
            return MoCo(make_teacher(), dim=dim, queue=queue, temperature=temperature, generator=generator)
        case "ressl":
            return ReSSL(
                make_teacher(),
                dim=dim,
                queue=queue,
                temperature=temperature,
                teacher_temperature=r.teacher_temperature,
                generator=generator,
            )
        case "densecl":
            return DenseCL(
                make_teacher(),
                crop_px=min(stage.crop_px for stage in r.stages),
                hidden_dim=r.hidden_dim,
                dim=dim,
                queue=queue,
                temperature=temperature,
                weight=r.dense_weight,
                generator=generator,
            )
        case "byol":
            return BYOL(make_teacher(), dim=dim, hidden_dim=r.hidden_dim)
        case "simclr":
            return SimCLR(temperature=temperature)
    raise AssertionError(f"no objective is called {r.objective}")


def matched(objective: Objective, recipe: Recipe, dim: int) -> Objective:
    """``objective`` beside the features, of ``dim`` numbers, of an outside teacher."""
    r = recipe
    return Matched(
        objective,
        dim=dim,
        projection_dim=r.projection_dim,
        queue=r.queue or _QUEUED_BATCHES * r.batch,
        weight=r.teacher_weight,
        temperature=r.temperature,
        teacher_temperature=r.teacher_temperature,
        generator=torch.Generator().manual_seed(r.seed + 1),
    )


def recompute_blocks(model: nn.Module) -> None:
    """Let the blocks of a backbone keep their inputs alone, and compute the rest again in the backward pass."""
    for block in model.modules():
        if isinstance(block, BLOCKS):
            block.forward = partial(  # type: ignore[method-assign]
                checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False
            )
