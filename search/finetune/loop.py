"""The loop that trains a whole network on labels, on Lightning.

AdamW with smaller rates for earlier layers, warm-up and cosine, a running average of the weights (which is what is
judged and kept), an early stop, and a checkpoint after every epoch.
"""

# ruff: noqa: N806 - a tensor's name ends in its shape.

from __future__ import annotations

import copy
import logging
import math
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer, seed_everything
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader

from search.errors import TrainingError
from search.evaluate.scores import Score
from search.labels.arrays import Targets, Views, collate

CHECKPOINT = "last.ckpt"
_WEIGHT_DECAY, _CLIP = 0.05, 5.0  # ConvNeXt's training (Liu et al., CVPR 2022, table 5); the clip only meets spikes
_WARM_UP = 0.05  # of all steps
_AVERAGED = 0.998  # a half-life of 350 steps; the first steps count less
_LEAST_RATE = 0.01  # of the peak, at the end of the cosine


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long and how fast to train.

    Args:
        epochs: at most.
        batch: images a step.
        rate: of the head.
        first_layers: the backbone's first layers learn at this share of the rate, its last ones at all of it.
        patience: epochs without a better score before it stops.
        max_minutes: the schedule ends then; None for no limit.
        seed: of everything random.
    """

    epochs: int = 60
    batch: int = 8
    rate: float = 1e-3
    patience: int = 20
    max_minutes: float | None = None
    seed: int = 0
    first_layers: float = 0.1


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """The best weights' score, and a row of figures for each epoch; the network given holds these weights."""

    score: float
    curve: tuple[Mapping[str, float], ...]
    epochs: int
    minutes: float


@dataclass(eq=False)
class _State:
    """What a resumed run goes on from."""

    best: float = -1.0
    best_epoch: int = -1
    seconds: float = 0.0
    curve: list[dict[str, float]] = field(default_factory=list)


def train(
    network: nn.Module,
    loss: Callable[[nn.Module, Tensor, Targets], Tensor],
    views: Views,
    judge: Callable[[nn.Module], Score],
    plan: Plan,
    *,
    folder: Path,
    resume: bool,
    progress: Callable[[int, int], None],
    say: Callable[[str], None],
) -> Trained:
    """Train ``network`` in place; it ends with the weights that scored best.

    Args:
        network: backbone and head; parameters are in the order of the layers.
        loss: of a network, a batch [N, 3, H, W] and its targets.
        views: the training images.
        judge: scores a network, in eval mode, on the validation images.
        plan: how long.
        folder: for the checkpoint.
        resume: go on from it.
        progress: called with (epochs done, epochs in all).
        say: receives a line an epoch.

    Raises:
        TrainingError: the loss is no number.
    """
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    seed_everything(plan.seed, verbose=False)
    network.to(memory_format=torch.channels_last)
    module = _Module(network, loss, judge, plan, folder, progress, say)
    loader = DataLoader(
        views, batch_size=plan.batch, shuffle=True, drop_last=len(views) > plan.batch, collate_fn=collate
    )
    trainer = Trainer(
        max_epochs=plan.epochs,
        accelerator="auto",
        devices=1,
        precision=_precision(),
        logger=False,
        callbacks=[ModelCheckpoint(folder, "last", enable_version_counter=False, save_on_train_epoch_end=True)],
        enable_progress_bar=False,
        enable_model_summary=False,
        gradient_clip_val=_CLIP,
        default_root_dir=folder,
        num_sanity_val_steps=0,
    )
    path = folder / CHECKPOINT
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Lightning: advice about loaders, loggers and its own folders
        trainer.fit(module, loader, ckpt_path=path if resume and path.is_file() else None, weights_only=True)
    if trainer.interrupted:
        raise KeyboardInterrupt
    network.load_state_dict(module.best.state_dict())
    network.to("cpu").eval()
    state = module.state
    return Trained(
        score=state.best, curve=tuple(state.curve), epochs=len(state.curve), minutes=round(state.seconds / 60, 2)
    )


class _Module(LightningModule):
    """One step is: loss of the network, a step of AdamW, a step of the average."""

    def __init__(
        self,
        network: nn.Module,
        loss: Callable[[nn.Module, Tensor, Targets], Tensor],
        judge: Callable[[nn.Module], Score],
        plan: Plan,
        folder: Path,
        progress: Callable[[int, int], None],
        say: Callable[[str], None],
    ) -> None:
        super().__init__()
        self.network = network.train()
        self.average = copy.deepcopy(network).eval().requires_grad_(False)
        self.best = copy.deepcopy(self.average)
        self._loss, self._judge, self._plan = loss, judge, plan
        self._folder, self._progress, self._say = folder, progress, say
        self.state = _State()
        self._started = 0.0
        self._losses: list[Tensor] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        groups = list(_groups(self.network, self._plan.rate, self._plan.first_layers))
        return torch.optim.AdamW(groups, lr=self._plan.rate, weight_decay=_WEIGHT_DECAY)

    def transfer_batch_to_device(
        self, batch: tuple[Tensor, Targets], device: torch.device, dataloader_idx: int
    ) -> tuple[Tensor, Targets]:
        return batch[0].to(device), batch[1].to(device)

    def on_train_start(self) -> None:
        self._started = time.monotonic() - self.state.seconds

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        optimizer = self.optimizers()
        for group in optimizer.param_groups:
            group["lr"] = group["full_rate"] * _rate(self._done())

    def training_step(self, batch: tuple[Tensor, Targets], batch_idx: int) -> Tensor:
        x_NCHW, targets = batch
        loss = self._loss(self.network, x_NCHW.contiguous(memory_format=torch.channels_last), targets)
        if not bool(loss.isfinite()):
            raise TrainingError(f"the loss is {loss.item()} at step {self.global_step}; take a lower --rate")
        self._losses.append(loss.detach())
        return loss

    @torch.no_grad()
    def on_train_batch_end(self, *_: Any) -> None:
        keep = min(_AVERAGED, (1 + self.global_step) / (10 + self.global_step))
        ours, theirs = self.average.state_dict(), self.network.state_dict()
        for name, tensor in ours.items():
            if tensor.dtype.is_floating_point:
                tensor.lerp_(theirs[name], 1 - keep)
            else:
                tensor.copy_(theirs[name])

    def on_train_epoch_end(self) -> None:
        epoch, state, plan = self.current_epoch, self.state, self._plan
        score = self._judge(self.average.eval())
        state.seconds = time.monotonic() - self._started
        loss = float(torch.stack(self._losses).mean())
        self._losses.clear()
        if better := score.main > state.best:
            state.best, state.best_epoch = score.main, epoch
            self.best.load_state_dict(self.average.state_dict())
        row = {"epoch": epoch + 1, "loss": round(loss, 5), "minutes": round(state.seconds / 60, 3)}
        state.curve.append({**row, **{name: round(value, 5) for name, value in score.values.items()}})
        self._say(f"epoch {epoch + 1}: loss {loss:.3f}, {score}{' (best)' if better else ''}, {row['minutes']:.1f} min")
        self._progress(epoch + 1, plan.epochs)
        over = plan.max_minutes is not None and state.seconds >= 60 * plan.max_minutes
        late = epoch - state.best_epoch >= plan.patience
        self.trainer.should_stop = over or late
        self.network.train()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["finetune"] = vars(self.state)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.state = _State(**checkpoint["finetune"])

    def _done(self) -> float:
        """Share of the run that is over, by steps or by the clock, whichever is further."""
        by_steps = self.global_step / max(1, self.trainer.num_training_batches * self._plan.epochs)
        if self._plan.max_minutes is None:
            return float(by_steps)
        return float(max(by_steps, (time.monotonic() - self._started) / (60 * self._plan.max_minutes)))


def _rate(done: float) -> float:
    """Share of the full rate: up from 0 in the first steps, then down by a cosine."""
    if done < _WARM_UP:
        return max(done / _WARM_UP, _LEAST_RATE)
    return _LEAST_RATE + (1 - _LEAST_RATE) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def _groups(network: nn.Module, rate: float, first_layers: float) -> list[dict[str, Any]]:
    """A group of parameters for each layer, with its rate; normalization and biases do not decay."""
    backbone = [name for name, _ in network.named_parameters() if name.startswith("backbone.")]
    layers = list(dict.fromkeys(_layer(name) for name in backbone))
    depth = {layer: (i + 1) / len(layers) for i, layer in enumerate(layers)}
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            share = first_layers ** (1 - depth.get(_layer(name), 1.0))
            groups.setdefault((share, parameter.ndim > 1), []).append(parameter)
    return [
        {"params": params, "full_rate": share * rate, "weight_decay": _WEIGHT_DECAY if decays else 0.0}
        for (share, decays), params in groups.items()
    ]


def _layer(name: str) -> str:
    """``backbone.layers.3.expand.0.weight`` -> ``backbone.layers.3``."""
    parts = name.split(".")
    return ".".join(parts[: 3 if len(parts) > 2 and parts[2].isdigit() else 2])


def _precision() -> Any:
    return "bf16-mixed" if torch.cuda.is_available() else "32-true"
