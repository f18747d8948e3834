"""Single: one network, self-supervised, with SimCLR; it is written as a supernet that holds nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from search.errors import TrainingError
from search.nets import NETS
from search.objectives import nt_xent
from search.oneshot.checkpoints import KeepCheckpoint, Run
from search.oneshot.compat import interruptible, quiet
from search.oneshot.contrast import two_views
from search.oneshot.metrics import MetricsFile
from search.oneshot.trainer import TellProgress, Ticks, make_trainer
from search.oneshot.training import CHECKPOINT, METRICS, card_of, check_run
from search.recipes import Recipe
from search.supernet import Supernet, projector_of, save_supernet
from search.types import Architecture

COLUMNS = ("step", "crop_px", "lr", "loss")
CLIP = 5.0  # largest norm of the gradient, as DARTS trains its final networks
_SEED_STRIDE = 1_000_003


class SimCLR(LightningModule):
    """The network, its projector, and one step of its training.

    Args:
        recipe: how to train; its ``architecture`` says which network.
        pixels: uint8 [N, 3, S, S].
    """

    metrics: dict[str, float]

    def __init__(self, recipe: Recipe, pixels: Tensor) -> None:
        super().__init__()
        self.recipe, self.pixels = recipe, pixels
        self.steps = recipe.steps(len(pixels))
        self.run = Run(recipe, pixels)
        choices = recipe.architecture or ()
        architecture = Architecture(net=recipe.net, choices=choices, resolution_px=recipe.resolution_px)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.backbone = NETS[recipe.net].build(architecture)
            self.projector = projector_of(self.backbone.embedding_dim, recipe.hidden_dim, recipe.projection_dim)
        self.to(memory_format=torch.channels_last)

    def forward(self, x_BCHW: Tensor) -> Tensor:  # noqa: N803
        """[B, 3, H, W] -> projections [B, D]."""
        return self.projector(self.backbone(x_BCHW))  # type: ignore[no-any-return]

    def batch(self, step: int) -> Tensor:
        """The step's images, each seen twice: [2B, 3, crop, crop]."""
        r = self.recipe
        epoch, i = divmod(step, len(self.pixels) // r.batch)
        order = np.random.default_rng((r.seed, epoch)).permutation(len(self.pixels))[i * r.batch : (i + 1) * r.batch]
        settings = replace(r.views, crop_px=r.crop_px(step / self.steps))
        generator = torch.Generator().manual_seed(r.seed * _SEED_STRIDE + step)
        return two_views(self.pixels[torch.from_numpy(order)].to(self.device), settings, generator)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Views, projections, loss; ``batch`` is only a tick."""
        step = self.global_step
        lr = self.trainer.optimizers[0].param_groups[0]["lr"] = self.recipe.lr_at(step / self.steps)
        x_BCHW = self.batch(step)  # noqa: N806
        loss = nt_xent(self(x_BCHW), self.recipe.temperature)
        if not loss.isfinite():
            raise TrainingError(
                f"the loss is {float(loss.detach())} at step {step}; train anew with a lower learning rate than"
                f" {self.recipe.lr:g}"
            )
        self.metrics = {"step": step, "crop_px": x_BCHW.shape[-1], "lr": lr, "loss": float(loss.detach())}
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip the gradient."""
        nn.utils.clip_grad_norm_(self.parameters(), CLIP)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See Lightning."""
        r = self.recipe
        if r.optimizer == "adamw":
            return torch.optim.AdamW(self.parameters(), r.lr, betas=(r.momentum, 0.999), weight_decay=r.weight_decay)
        return torch.optim.SGD(self.parameters(), r.lr, momentum=r.momentum, weight_decay=r.weight_decay)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Mark it as this run's."""
        self.run.mark(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Raise TrainingError for another run's."""
        self.run.check(checkpoint, self.state_dict())


def pretrain_single(
    recipe: Recipe,
    pixels: Tensor,
    out: Path,
    *,
    name: str,
    data: Mapping[str, Any],
    resume: bool = False,
    checkpoint_steps: int = 200,
    progress_bar: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Supernet:
    """Train one network and write it to ``out``; arguments, files and errors are those of ``training.pretrain``."""
    last = out / "checkpoints" / CHECKPOINT
    check_run(recipe, pixels, last, resume=resume)
    ssl = SimCLR(recipe, pixels)
    callbacks = [MetricsFile(out / METRICS, COLUMNS), KeepCheckpoint(last, steps=checkpoint_steps)]
    out.mkdir(parents=True, exist_ok=True)
    with interruptible(), quiet():
        told = [] if progress is None else [TellProgress(progress)]
        trainer = make_trainer(
            out, [*callbacks, *told], precision=recipe.precision, max_steps=ssl.steps, progress_bar=progress_bar
        )
        trainer.fit(ssl, Ticks(len(pixels) // recipe.batch, 0), ckpt_path=last if last.exists() else None)
    training = {"steps": ssl.steps, "seconds": round(ssl.run.seconds)}
    card = card_of(recipe, name=name, data={"images": len(pixels), **data}, training=training)
    supernet = Supernet(card=card, weights={k: p.detach().cpu() for k, p in ssl.named_parameters()})
    save_supernet(supernet, out)
    return supernet
