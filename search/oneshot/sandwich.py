"""Sandwich: one training step of a supernet, as NNI's one-shot module takes it.

One step (DATA, CVPR 2022, section 3, with its released faults mended): two views; targets from the teacher, always the
largest network; the largest, the smallest and random networks are each held against them; one optimizer step, one
update of the teacher and of what else the objective keeps. Whatever is random in step t is drawn from (seed, t), so a
resumed run equals the uninterrupted one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from nni.nas.evaluator.pytorch import LightningModule
from nni.nas.oneshot.pytorch.sampling import RandomSamplingLightningModule
from nni.nas.oneshot.pytorch.strategy import RandomOneShot
from torch import Tensor, nn

from search.errors import TrainingError
from search.nets import NETS
from search.objectives import Objective
from search.oneshot.checkpoints import Run
from search.oneshot.compat import FixedConv2d, FixedLinear
from search.oneshot.make_objective import make_objective
from search.oneshot.projected import Projected
from search.oneshot.space import SupernetSpace, plain_key, sample_of
from search.recipes import Recipe
from search.supernet import load_slices
from search.types import Architecture
from search.views import views

_SEED_STRIDE = 1_000_003  # a prime above any number of steps between two seeds' streams


class SSL(LightningModule):
    """The algorithm's parts: the supernet (given by NNI through ``set_model``), the objective, the images.

    Args:
        recipe: how to train.
        pixels: uint8 [N, 3, S, S].
    """

    def __init__(self, recipe: Recipe, pixels: Tensor) -> None:
        super().__init__()
        self.recipe = recipe
        self.net = NETS[recipe.net]
        self.pixels = pixels
        self.steps = recipe.steps(len(pixels))
        self.run = Run(recipe, pixels)
        self.objective: Objective
        self.student: dict[str, Tensor]

    def set_model(self, model: nn.Module) -> None:
        """Initialize the supernet's weights and start the teacher as a copy of its largest network."""
        if getattr(self, "_model", None) is model:  # NNI gives it again when it lists what it found
            return
        assert isinstance(model, SupernetSpace)
        super().set_model(model)
        r = self.recipe
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(r.seed)
            self.net.initialize(model)
            for part in model.projector.modules():
                if isinstance(part, nn.Linear):
                    part.reset_parameters()
            self.student = {plain_key(name): parameter for name, parameter in model.named_parameters()}
            self.objective = make_objective(r, self._teacher)
        self.to(memory_format=torch.channels_last)

    def _teacher(self) -> Projected:
        """A copy of the supernet's largest network."""
        r = self.recipe
        largest = self.net.largest(r.resolution_px)
        teacher = Projected(self.net, largest, hidden_dim=r.hidden_dim, projection_dim=r.projection_dim)
        load_slices(teacher, {name: parameter.detach() for name, parameter in self.student.items()})
        return teacher

    def two_views(self, step: int) -> tuple[Tensor, Tensor]:
        """The step's images, each seen twice: 2 x [B, 3, crop, crop]."""
        r = self.recipe
        per_epoch = len(self.pixels) // r.batch
        epoch, i = divmod(step, per_epoch)
        order = np.random.default_rng((r.seed, epoch)).permutation(len(self.pixels))[i * r.batch : (i + 1) * r.batch]
        batch = self.pixels[torch.from_numpy(order)].to(self.device)
        crop_px = r.crop_px(step / self.steps)
        first, second = (replace(v, crop_px=crop_px) for v in (r.views, r.teacher_views or r.views))
        generator = torch.Generator().manual_seed(r.seed * _SEED_STRIDE + step)
        return views(batch, first, generator), views(batch, second, generator)

    def sandwich(self, step: int) -> list[Architecture]:
        """The step's networks: the largest, the smallest, and random ones."""
        px, rng = self.recipe.resolution_px, np.random.default_rng((self.recipe.seed, step, 1))
        random = [self.net.random(px, rng) for _ in range(self.recipe.random_subnets)]
        return [self.net.largest(px), self.net.smallest(px), *random]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Of the supernet and of the objective's heads; the teacher has no gradient."""
        r = self.recipe
        parameters = [*self.model.parameters(), *(p for p in self.objective.parameters() if p.requires_grad)]
        if r.optimizer == "adamw":
            return torch.optim.AdamW(parameters, r.lr, betas=(r.momentum, 0.999), weight_decay=r.weight_decay)
        return torch.optim.SGD(parameters, r.lr, momentum=r.momentum, weight_decay=r.weight_decay)


class SandwichModule(RandomSamplingLightningModule):
    """NNI's one-shot module with the sandwich rule in place of one random path."""

    training_module: SSL
    metrics: dict[str, float | None]  # of the last step, by the columns of ``search.oneshot.metrics``

    @property
    def automatic_optimization(self) -> bool:
        """False: several backward passes make one step."""
        return False

    def choose(self, architecture: Architecture) -> None:
        """Make the supernet this network until the next call."""
        sample = sample_of(self.training_module.net, architecture)
        for module in self.supernet_modules():
            module.resample(memo=dict(sample))

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """One step of the algorithm; ``batch`` is only a tick, for the step's number decides its images."""
        ssl, optimizer, step = self.training_module, self.optimizers(), self.global_step
        lr = optimizer.param_groups[0]["lr"] = ssl.recipe.lr_at(step / ssl.steps)
        x1, x2 = ssl.two_views(step)
        targets = ssl.objective.targets(x1, x2)
        networks = ssl.sandwich(step)
        losses = []
        optimizer.zero_grad()
        for architecture in networks:
            self.choose(architecture)
            loss = ssl.objective.loss(ssl.objective.encode(ssl.model, x1, x2), targets)
            self.manual_backward(loss / len(networks))
            losses.append(loss.detach())
        largest, smallest, *random = torch.stack(losses).tolist()
        if not np.isfinite([largest, smallest, *random]).all():
            raise TrainingError(
                f"the loss is {largest}, {smallest} and {random} (largest, smallest, random networks) at step {step};"
                f" train anew with a lower learning rate than {ssl.recipe.lr:g}"
            )
        optimizer.step()
        ssl.objective.update(ssl.student, targets, ema=ssl.recipe.ema_at(step / ssl.steps))
        mean = float(np.mean(random)) if random else None
        self.metrics = {"step": step, "crop_px": x1.shape[-1], "lr": lr}
        self.metrics |= {"loss_largest": largest, "loss_smallest": smallest, "loss_random": mean}
        self.log("loss", largest, prog_bar=True, batch_size=len(x1))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Mark it as this run's."""
        self.training_module.run.mark(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Raise TrainingError for another run's."""
        self.training_module.run.check(checkpoint, self.state_dict())


class Sandwich(RandomOneShot):
    """NNI's strategy whose one-shot module applies the sandwich rule."""

    def default_mutation_hooks(self) -> list[Any]:
        """NNI's, after ours for convolutions and linear layers."""
        return [FixedConv2d.mutate, FixedLinear.mutate, *super().default_mutation_hooks()]

    def configure_oneshot_module(self, training_module: SSL) -> SandwichModule:
        """See NNI."""
        return SandwichModule(training_module)
