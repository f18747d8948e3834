"""The loop that trains a whole network on labels, on Lightning.

AdamW with smaller rates for earlier layers, warm-up and cosine, a running average of the weights (which is what is
judged and kept), an early stop, and a checkpoint whenever they were judged. What an epoch sees depends on the seed and
the epoch alone, so that a run that goes on ends as one that was never interrupted.

Several processes take a share of each batch each, and their mean gradient is the whole batch's. Layers that normalize
by the batch see the share alone, on GPUs the whole batch (SyncBatchNorm). The first process judges and writes.
"""

# ruff: noqa: N806 - a tensor's name ends in its shape.

from __future__ import annotations

import copy
import csv
import math
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning import LightningModule, Trainer, seed_everything
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from search import ranks
from search.errors import TrainingError
from search.evaluate.scores import Score
from search.first import is_first
from search.labels.arrays import Targets
from search.labels.views import Views
from search.machines import ONE, EndWhenAsked, Machines, Together, interruptible, quiet, together

CHECKPOINT, LOG, CURVE = "last", "training", "curve.csv"
Key = tuple[int, int]  # an epoch and a picture
_WEIGHT_DECAY, _CLIP = 0.05, 5.0  # ConvNeXt's training (Liu et al., CVPR 2022, table 5); the clip only meets spikes
_WARM_UP = 0.05  # of all steps
_AVERAGED = 0.998  # a half-life of 350 steps; the first steps count less
_LEAST_RATE = 0.01  # of the peak, at the end of the cosine
_LOGGED_STEPS = 10


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
        judge_every: epochs.
    """

    epochs: int
    batch: int
    rate: float
    first_layers: float
    patience: int
    max_minutes: float | None = None
    seed: int = 0
    judge_every: int = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """What came of a training; the network given holds the best weights.

    Args:
        score: of these weights.
        rows: figures of every time that the weights were judged.
        epochs: in all.
        minutes: in all.
        log: a folder with the rows as CSV and, where TensorBoard is installed, its events.
    """

    score: float
    rows: tuple[Mapping[str, float], ...]
    epochs: int
    minutes: float
    log: Path


@dataclass(eq=False)
class _State:
    """What a resumed run goes on from."""

    best: float = -1.0
    best_epoch: int = -1
    seconds: float = 0.0
    ended: bool = False
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
    machines: Machines = ONE,
    settings: str = "",
    progress: Callable[[int, int], None],
    say: Callable[[str], None],
) -> Trained | None:
    """Train ``network`` in place; it ends with the weights that scored best.

    Args:
        network: backbone and head; parameters are in the order of the layers.
        loss: of a network, a batch [N, 3, H, W] and its targets.
        views: the training images.
        judge: scores a network, in eval mode, on the validation images.
        plan: how long.
        folder: for the checkpoint, the curve as CSV, and events for TensorBoard where that is installed.
        resume: go on from it.
        machines: the processes that share it; they divide the batch.
        settings: and images, as text, which all processes must have in common.
        progress: called with (epochs done, epochs in all).
        say: receives a line an epoch.

    Returns:
        What came of it; None in all processes but the first, whose ``network`` is of no use.

    Raises:
        TrainingError: the loss is no number, or the processes have other settings.
        ProcessLost: another process ended before its time.
        Preempted: SIGTERM came.
        KeyboardInterrupt: Ctrl-C; ``resume`` goes on after the last time that the weights were judged.
    """
    seed_everything(plan.seed, verbose=False)
    network.to(memory_format=torch.channels_last)
    # A copy, whose layers Lightning may replace.
    module = _Module(copy.deepcopy(network), loss, judge, plan, folder, settings, progress, say)
    whole = min(plan.batch, len(views))
    part = whole // machines.count
    loader = DataLoader(
        _Keys(),
        batch_size=plan.batch,
        sampler=_Order(len(views), plan.seed),
        drop_last=len(views) > plan.batch,
        collate_fn=lambda keys: views.batch(
            keys[0][0], [row for _, row in keys], slice(ranks.rank() * part, (ranks.rank() + 1) * part)
        ),
    )
    path = folder / f"{CHECKPOINT}.ckpt"
    checkpoint = ModelCheckpoint(
        folder,
        CHECKPOINT,
        enable_version_counter=False,
        save_on_train_epoch_end=True,
        every_n_epochs=plan.judge_every,
    )
    board = TensorBoardLogger(folder, name=LOG, version="") if find_spec("tensorboard") and is_first() else False
    with interruptible(), quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Lightning: advice about loaders, loggers and its own folders
        trainer = Trainer(
            max_epochs=plan.epochs,
            accelerator="auto",
            devices=machines.devices,
            num_nodes=machines.nodes,
            strategy=Together() if machines.count > 1 else "auto",
            sync_batchnorm=machines.count > 1 and torch.cuda.is_available(),
            use_distributed_sampler=False,
            precision=_precision(),
            logger=board,
            callbacks=[_End(path), checkpoint],
            enable_progress_bar=False,
            enable_model_summary=False,
            gradient_clip_val=_CLIP,
            default_root_dir=folder,
            num_sanity_val_steps=0,
        )
        with together(trainer):
            trainer.fit(module, loader, ckpt_path=path if resume and path.is_file() else None, weights_only=True)
    if not is_first():
        return None
    network.load_state_dict(module.best.state_dict())
    network.to("cpu").eval()
    state = module.state
    return Trained(
        score=state.best,
        rows=tuple(state.curve),
        epochs=int(state.curve[-1]["epoch"]),
        minutes=round(state.seconds / 60, 2),
        log=folder / LOG,
    )


class _End(EndWhenAsked):
    """Whoever asks, a resumed run goes on from the last epoch that is in the checkpoint."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if self.asked():
            kept = "--resume goes on from the last one judged" if self._path.is_file() else "none was judged before"
            self.end(f"asked to end in epoch {trainer.current_epoch + 1}; {kept}")


class _Module(LightningModule):
    """One step is: loss of the network, a step of AdamW, a step of the average."""

    def __init__(
        self,
        network: nn.Module,
        loss: Callable[[nn.Module, Tensor, Targets], Tensor],
        judge: Callable[[nn.Module], Score],
        plan: Plan,
        folder: Path,
        settings: str,
        progress: Callable[[int, int], None],
        say: Callable[[str], None],
    ) -> None:
        super().__init__()
        self.network = network.train()
        self.average = copy.deepcopy(network).eval().requires_grad_(False)
        self.best = copy.deepcopy(self.average)
        self._loss, self._judge, self._plan = loss, judge, plan
        self._folder, self._settings, self._progress, self._say = folder, settings, progress, say
        self.state = _State()
        self._started = 0.0
        self._share = 0.0  # of the full rate
        self._losses: list[Tensor] = []
        pairs = [(mine, network.state_dict()[name]) for name, mine in self.average.state_dict().items()]
        floats = [pair for pair in pairs if pair[0].is_floating_point()]
        self._averaged = [mine for mine, _ in floats], [theirs for _, theirs in floats]
        self._counted = [pair for pair in pairs if not pair[0].is_floating_point()]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        groups = list(_groups(self.network, self._plan.rate, self._plan.first_layers))
        return torch.optim.AdamW(groups, lr=self._plan.rate, weight_decay=_WEIGHT_DECAY, fused=True)

    def transfer_batch_to_device(
        self, batch: tuple[Tensor, Targets], device: torch.device, dataloader_idx: int
    ) -> tuple[Tensor, Targets]:
        return batch[0].to(device), batch[1].to(device)

    def on_train_start(self) -> None:
        for what, text in (("settings or images", self._settings), ("checkpoint", str(self.global_step))):
            ranks.require_same(zlib.crc32(text.encode()), what)
        ranks.take_over([*self.parameters(), *self.buffers()])
        self._started = time.monotonic() - self.state.seconds
        self.trainer.should_stop = self.state.ended

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self._share = _rate(self._done())
        for group in self.optimizers().param_groups:
            group["lr"] = group["full_rate"] * self._share

    def training_step(self, batch: tuple[Tensor, Targets], batch_idx: int) -> Tensor:
        x_NCHW, targets = batch
        loss = self._loss(self.network, x_NCHW.contiguous(memory_format=torch.channels_last), targets)
        of_all = ranks.mean(loss)
        if not bool(of_all.isfinite()):
            raise TrainingError(f"the loss is {of_all.item()} at step {self.global_step}; take a lower --rate")
        self._losses.append(of_all)
        return loss / ranks.count()

    def on_after_backward(self) -> None:
        ranks.add_gradients(self.network.parameters())

    @torch.no_grad()
    def on_train_batch_end(self, *_: Any) -> None:
        keep = min(_AVERAGED, (1 + self.global_step) / (10 + self.global_step))
        torch._foreach_lerp_(*self._averaged, 1 - keep)
        for mine, theirs in self._counted:
            mine.copy_(theirs)
        if self.logger is not None and self.global_step % _LOGGED_STEPS == 0:
            row = {"step loss": float(self._losses[-1]), "rate": self._plan.rate * self._share}
            self.logger.log_metrics(row, self.global_step)

    def on_train_epoch_end(self) -> None:
        epoch, state, plan = self.current_epoch, self.state, self._plan
        state.seconds = self._seconds()
        over = plan.max_minutes is not None and state.seconds >= 60 * plan.max_minutes
        if over or epoch + 1 == plan.epochs or (epoch + 1) % plan.judge_every == 0:
            if is_first():
                self._judge_average(epoch)
            state.ended = bool(ranks.agree(float(over or epoch - state.best_epoch >= plan.patience)))
            self._losses.clear()
        self._progress(epoch + 1, plan.epochs)
        self.trainer.should_stop = state.ended

    def _judge_average(self, epoch: int) -> None:
        state = self.state
        score = self._judge(self.average.eval())
        loss = float(torch.stack(self._losses).mean())
        if better := score.main > state.best:
            state.best, state.best_epoch = score.main, epoch
            self.best.load_state_dict(self.average.state_dict())
        minutes = round(state.seconds / 60, 3)
        values = {name: round(value, 5) for name, value in score.values.items()}
        state.curve.append({"epoch": epoch + 1, "loss": round(loss, 5), "minutes": minutes, **values})
        _write_curve(state.curve, self._folder / LOG)
        if self.logger is not None:
            self.logger.log_metrics({"loss": loss, **values}, self.global_step)
        self._say(f"epoch {epoch + 1}: loss {loss:.3f}, {score}{' (best)' if better else ''}, {minutes:.1f} min")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["finetune"] = vars(self.state)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.state = _State(**checkpoint["finetune"])

    def _done(self) -> float:
        """Share of the run that is over, by steps or by the clock, whichever is further."""
        by_steps = self.global_step / max(1, self.trainer.num_training_batches * self._plan.epochs)
        if self._plan.max_minutes is None:
            return float(by_steps)
        return float(max(by_steps, self._seconds() / (60 * self._plan.max_minutes)))

    def _seconds(self) -> float:
        """By the first process's clock."""
        return ranks.agree(time.monotonic() - self._started)


def _write_curve(rows: Sequence[Mapping[str, float]], folder: Path) -> None:
    """A line for each time that the weights were judged, as CSV."""
    folder.mkdir(exist_ok=True)
    with (folder / CURVE).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


class _Order(Sampler[Key]):
    """The pictures of an epoch; Lightning tells which one it is, of a resumed run, too."""

    def __init__(self, count: int, seed: int) -> None:
        self._count, self._seed, self._epoch = count, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Key]:
        order = np.random.default_rng((self._seed, self._epoch)).permutation(self._count)
        return iter([(self._epoch, int(row)) for row in order])


class _Keys(Dataset[Key]):
    """Hands keys on: views are made of a whole batch of them at once."""

    def __getitem__(self, key: Key) -> Key:
        return key


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
    """bf16 on a GPU; on a CPU with AMX four networks gained at most an eighth by it, and one lost."""
    return "bf16-mixed" if torch.cuda.is_available() else "32-true"
