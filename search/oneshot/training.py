"""Training: a supernet, self-supervised, through NNI's one-shot strategy on Lightning.

One step (DATA, CVPR 2022, section 3, with its released faults mended): two views; keys from the teacher, always the
largest network; the largest, the smallest and random networks each pull their query towards the key; one optimizer step,
one teacher update, one enqueue. Whatever is random in step t is drawn from (seed, t), so a resumed run equals the
uninterrupted one.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nni.nas.evaluator.pytorch import Lightning, LightningModule, Trainer
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.oneshot.pytorch.sampling import RandomSamplingLightningModule
from nni.nas.oneshot.pytorch.strategy import RandomOneShot
from nni.nas.space import RawFormatModelSpace
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor, nn

from search.nets import NETS, Net
from search.objectives import MoCo
from search.oneshot.compat import FixedConv2d
from search.oneshot.space import SupernetSpace, plain_key, sample_of
from search.recipes import Recipe
from search.supernet import Supernet, SupernetCard, load_slices, save_supernet
from search.types import Architecture
from search.views import views

_SEED_STRIDE = 1_000_003  # a prime above any number of steps between two seeds' streams
CHECKPOINT = "last.ckpt"


def pretrain(
    recipe: Recipe,
    pixels: Tensor,
    out: Path,
    *,
    name: str,
    data: Mapping[str, Any],
    resume: bool = False,
    checkpoint_steps: int = 200,
    progress_bar: bool = False,
) -> Supernet:
    """Train a supernet and write it to ``out`` (``card.json``, ``model.safetensors``, ``metrics.csv``, checkpoints).

    Args:
        recipe: how to train.
        pixels: uint8 [N, 3, S, S], S at least the largest crop.
        out: a folder.
        name: of the supernet, for its card.
        data: what the images are and on what terms, for its card.
        resume: go on from ``out/checkpoints/last.ckpt`` where there is one.
        checkpoint_steps: optimizer steps between checkpoints.
        progress_bar: show one.
    """
    started = time.time()
    ssl = SSL(recipe, pixels)
    checkpoints = out / "checkpoints"
    last = checkpoints / CHECKPOINT
    trainer = Trainer(
        max_steps=ssl.steps,
        max_epochs=-1,
        accelerator="auto",
        devices=1,
        precision=_precision(recipe),
        logger=CSVLogger(out, name="", version="log"),
        callbacks=[ModelCheckpoint(checkpoints, filename="step{step}", every_n_train_steps=checkpoint_steps, save_last=True)],
        log_every_n_steps=min(20, ssl.steps),
        enable_progress_bar=progress_bar,
        enable_model_summary=False,
        default_root_dir=out,
    )
    ticks = range(max(1, len(pixels) // recipe.batch))
    evaluator = Lightning(
        ssl, trainer, train_dataloaders=ticks, val_dataloaders=[], fit_kwargs={"ckpt_path": last} if resume and last.exists() else {}
    )
    space = SupernetSpace(ssl.net, hidden_dim=recipe.hidden_dim, projection_dim=recipe.projection_dim)
    Sandwich(mutation_hooks=[FixedConv2d.mutate])(RawFormatModelSpace(space, evaluator), SequentialExecutionEngine())
    supernet = Supernet(
        card=SupernetCard(
            name=name,
            net=recipe.net,
            objective=recipe.objective,
            resolution_px=recipe.resolution_px,
            projection=(recipe.hidden_dim, recipe.projection_dim),
            mean=recipe.views.mean,
            std=recipe.views.std,
            recipe=asdict(recipe),
            data={"images": len(pixels), **data},
            training={"steps": ssl.steps, "seconds": round(time.time() - started)},
            evaluation={},
            versions={"torch": torch.__version__},
        ),
        weights={key: tensor.detach() for key, tensor in ssl.student.items()},
    )
    save_supernet(supernet, out)
    return supernet


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
        self.objective: MoCo
        self.student: dict[str, Tensor]

    def set_model(self, model: nn.Module) -> None:
        """Initialize the supernet's weights and start the teacher as a copy of its largest network."""
        if getattr(self, "_model", None) is model:
            return
        super().set_model(model)
        r = self.recipe
        torch.manual_seed(r.seed)
        self.net.initialize(model)
        teacher = _Projected(self.net, r)
        self.student = {plain_key(name): parameter for name, parameter in model.named_parameters()}
        load_slices(teacher, {name: parameter.detach() for name, parameter in self.student.items()})
        self.objective = MoCo(
            teacher,
            dim=r.projection_dim,
            queue=r.queue,
            temperature=r.temperature,
            ema=r.ema,
            generator=torch.Generator().manual_seed(r.seed),
        )
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def two_views(self, step: int) -> tuple[Tensor, Tensor]:
        """The step's images, each seen twice: 2 x [B, 3, crop, crop]."""
        r = self.recipe
        per_epoch = len(self.pixels) // r.batch
        epoch, i = divmod(step, per_epoch)
        order = np.random.default_rng((r.seed, epoch)).permutation(len(self.pixels))[i * r.batch : (i + 1) * r.batch]
        batch = self.pixels[torch.from_numpy(order)].to(self.device)
        settings = replace(r.views, crop_px=r.crop_px(step / self.steps))
        generator = torch.Generator().manual_seed(r.seed * _SEED_STRIDE + step)
        return views(batch, settings, generator), views(batch, settings, generator)

    def sandwich(self, step: int) -> list[Architecture]:
        """The step's networks: the largest, the smallest, and random ones."""
        px, rng = self.recipe.resolution_px, np.random.default_rng((self.recipe.seed, step, 1))
        random = [self.net.random(px, rng) for _ in range(self.recipe.random_subnets)]
        return [self.net.largest(px), self.net.smallest(px), *random]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Of the supernet; the teacher has no gradient."""
        r, parameters = self.recipe, self.model.parameters()
        if r.optimizer == "adamw":
            return torch.optim.AdamW(parameters, r.lr, betas=(r.momentum, 0.999), weight_decay=r.weight_decay)
        return torch.optim.SGD(parameters, r.lr, momentum=r.momentum, weight_decay=r.weight_decay)


class _Projected(nn.Module):
    """The largest network with its projector, in plain torch: [B, 3, H, W] -> [B, projection_dim]."""

    def __init__(self, net: Net, recipe: Recipe) -> None:
        super().__init__()
        self.backbone = net.build(net.largest(recipe.resolution_px))
        dim = self.backbone.embedding_dim
        self.projector = nn.Sequential(
            nn.Linear(dim, recipe.hidden_dim), nn.ReLU(), nn.Linear(recipe.hidden_dim, recipe.projection_dim)
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:  # noqa: N803
        return self.projector(self.backbone(x_BCHW))  # type: ignore[no-any-return]


class SandwichModule(RandomSamplingLightningModule):
    """NNI's one-shot module with the sandwich rule in place of one random path."""

    training_module: SSL

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
        optimizer.param_groups[0]["lr"] = ssl.recipe.lr_at(step / ssl.steps)
        x1, x2 = ssl.two_views(step)
        keys = ssl.objective.targets(x2)
        networks = ssl.sandwich(step)
        losses = []
        optimizer.zero_grad()
        for architecture in networks:
            self.choose(architecture)
            loss = ssl.objective.loss(ssl.model(x1), keys)
            self.manual_backward(loss / len(networks))
            losses.append(loss.detach())
        optimizer.step()
        ssl.objective.update(ssl.student, keys)
        self.log_dict(dict(zip(("loss_largest", "loss_smallest", "loss_random"), losses, strict=False)), prog_bar=True)


class Sandwich(RandomOneShot):
    """NNI's strategy whose one-shot module applies the sandwich rule."""

    def configure_oneshot_module(self, training_module: SSL) -> SandwichModule:
        """See NNI."""
        return SandwichModule(training_module)


def _precision(recipe: Recipe) -> str:
    """Lightning's name for the recipe's precision; bf16 only where the hardware multiplies it."""
    if recipe.precision == "auto":
        fast = torch.cuda.is_available() or torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
        return "bf16-mixed" if fast else "32-true"
    return {"fp32": "32-true", "bf16": "bf16-mixed"}[recipe.precision]
