"""DARTS search: cells from unlabelled images, through NNI's strategy, with a log, checkpoints and a watch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from nni.nas.evaluator.pytorch import Lightning, Trainer
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from pytorch_lightning import Callback
from torch import Tensor

from search import ranks
from search.cells.derive import CellCosts, derive, derive_within
from search.cells.log import Epoch, judge, write_log
from search.cells.recipe import DartsRecipe
from search.errors import TrainingError
from search.first import is_first
from search.machines import interruptible, machines_for, quiet, together
from search.nets.genotype import ROLES, Genotype
from search.oneshot.darts.loss import Contrast
from search.oneshot.darts.space import ALPHAS, WEIGHTS, DartsSpace
from search.oneshot.darts.strategy import STRATEGIES, TICK, DartsModule
from search.oneshot.engine.checkpoints import Meet
from search.oneshot.engine.trainer import Ticks, make_trainer
from search.running import ALONE, Running

CHECKPOINT = "search.ckpt"
Progress = Callable[[int, int], None]
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a search found.

    Args:
        genotype: the cells.
        price: what a millisecond cost in probability when they were derived; 0 is the paper's rule alone.
        epoch: after which they were derived.
        reason: why not after the last one, or why they are doubtful; None where all is well.
        log: every epoch.
        seconds: spent, interruptions left out.
    """

    genotype: Genotype
    price: float
    epoch: int
    reason: str | None
    log: tuple[Epoch, ...]
    seconds: float


def search_cells(
    recipe: DartsRecipe,
    pixels: Tensor,
    out: Path,
    *,
    costs: CellCosts | None = None,
    budget_ms: float | None = None,
    running: Running = ALONE,
    resume: bool = False,
    checkpoint_steps: int = 100,
    progress: Progress | None = None,
    say: Say | None = None,
    make_loss: Callable[[DartsRecipe, Tensor], Contrast] = Contrast,
) -> Found:
    """Search a normal and a reduction cell.

    Args:
        recipe: how.
        pixels: uint8 [N, 3, S, S], S at least the crops' side.
        out: a folder for ``search.csv``, ``alphas.csv`` and the checkpoint.
        costs: of the device, for the size of network that the cells are for.
        budget_ms: what that network may take; given with ``costs`` or not at all.
        running: on which devices; as for ``search.oneshot.pretrain.pretrain``.
        resume: go on from the checkpoint in ``out`` where there is one.
        checkpoint_steps: steps between checkpoints; there is one after each epoch, too.
        progress: called with (steps done, steps in all) after each step.
        say: receives one line after each epoch.
        make_loss: what both phases of a step lower; a benchmark puts labels in its place.

    Raises:
        InfeasibleBudget: no cells meet the budget.
        TrainingError: the images are too few or too small, the checkpoint is another search's, or there although
            ``resume`` is not asked for, or the loss is not finite.
        WriteFailed: the disk is full, for instance.
    """
    if costs is not None and budget_ms is not None:
        costs.require(budget_ms)
    last = out / CHECKPOINT
    machines = machines_for(running.devices, running.nodes)
    if recipe.norm_groups % machines.count:
        raise TrainingError(
            f"norm_groups is {recipe.norm_groups}, and whole groups go to each of {machines.count} processes; make it"
            f" {machines.count} or a multiple"
        )
    if last.exists() and not resume and is_first():
        raise TrainingError(f"{last} is of an earlier search; resume that, or search into another folder")
    ssl = make_loss(recipe, pixels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        space = DartsSpace(recipe)
    out.mkdir(parents=True, exist_ok=True)
    watch = _Watch(out, costs, steps=checkpoint_steps, progress=progress, say=say or (lambda line: None))
    with interruptible(), quiet():
        trainer = make_trainer(
            out, [Meet(ssl.run), watch], precision=recipe.precision, max_epochs=recipe.epochs, machines=machines
        )
        evaluator = Lightning(
            ssl,
            trainer,
            train_dataloaders=Ticks(ssl.steps_per_epoch, TICK),
            val_dataloaders=[],
            fit_kwargs={"ckpt_path": last} if last.exists() else {},
        )
        strategy = STRATEGIES[recipe.strategy](recipe, costs, budget_ms)
        with together(trainer):
            strategy(RawFormatModelSpace(space, evaluator), SequentialExecutionEngine())
    return _found(strategy.oneshot_module.log_of_epochs, recipe, costs, budget_ms, seconds=ssl.run.seconds)


class _Watch(Callback):
    """After each epoch: judge the cells, log, save, and stop a search that has collapsed."""

    def __init__(self, out: Path, costs: CellCosts | None, *, steps: int, progress: Progress | None, say: Say) -> None:
        self._out, self._costs, self._steps, self._progress, self._say = out, costs, steps, progress, say

    def on_train_start(self, trainer: Trainer, module: DartsModule) -> None:
        """A search that had stopped before it was resumed does not go on."""
        self._stop_where_collapsed(trainer, module)

    def on_train_batch_end(self, trainer: Trainer, module: DartsModule, *args: Any, **kwargs: Any) -> None:
        """Save in the middle of long epochs; after the last step the epoch's end does."""
        ssl = module.training_module
        done, per_epoch = int(ssl.step), ssl.steps_per_epoch
        if done % self._steps == 0 and done % per_epoch:
            trainer.save_checkpoint(self._out / CHECKPOINT)
        if self._progress is not None:
            self._progress(done, ssl.recipe.epochs * per_epoch)

    def on_train_epoch_end(self, trainer: Trainer, module: DartsModule) -> None:
        """See the class."""
        epoch = _measured(module, trainer, self._costs)
        module.log_of_epochs = (*module.log_of_epochs, epoch)
        if is_first():
            write_log(module.log_of_epochs, self._out)
        trainer.save_checkpoint(self._out / CHECKPOINT)
        self._say(_line(epoch))
        self._stop_where_collapsed(trainer, module)

    def _stop_where_collapsed(self, trainer: Trainer, module: DartsModule) -> None:
        log = module.log_of_epochs
        verdict = judge(log, module.training_module.recipe) if log else None
        if ranks.agree(float(verdict is not None and verdict.stop)):
            self._say(f"stopped: {verdict.reason if verdict else 'the first process did'}")
            trainer.should_stop = True


def _measured(module: DartsModule, trainer: Trainer, costs: CellCosts | None) -> Epoch:
    ssl, alphas = module.training_module, module.alphas()
    means = ssl.mean_losses()
    return Epoch(
        epoch=trainer.current_epoch,
        lr=trainer.optimizers[0].param_groups[0]["lr"],
        loss_weights=means[WEIGHTS] or 0.0,
        loss_alphas=means[ALPHAS],
        loss_held_out=ssl.held_out(),
        expected_ms=module.expected_ms(),
        derived_ms=None if costs is None else costs.network_ms(derive(alphas)),
        alphas=tuple(tuple(tuple(row) for row in alphas[role].tolist()) for role in ROLES),
    )


def _line(epoch: Epoch) -> str:
    line = f"epoch {epoch.epoch}: loss {epoch.loss_weights:.3f}, held out {epoch.loss_held_out:.3f}"
    if epoch.expected_ms is not None and epoch.derived_ms is not None:
        line += f", expected {epoch.expected_ms:.3f} ms, derived {epoch.derived_ms:.3f} ms"
    return line


def _found(
    log: tuple[Epoch, ...], recipe: DartsRecipe, costs: CellCosts | None, budget_ms: float | None, *, seconds: float
) -> Found:
    verdict = judge(log, recipe)
    genotype, price = log[verdict.epoch].genotype, 0.0
    if costs is not None and budget_ms is not None:
        within = derive_within(log[verdict.epoch].by_role, costs, budget_ms)
        genotype, price = within.genotype, within.price
    return Found(genotype=genotype, price=price, epoch=verdict.epoch, reason=verdict.reason, log=log, seconds=seconds)
