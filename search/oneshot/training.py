"""Training: a supernet, self-supervised, through NNI's one-shot strategy on Lightning (``search.oneshot.sandwich``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from nni.nas.evaluator.pytorch import Lightning, Trainer
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from pytorch_lightning import Callback
from torch import Tensor

from search.errors import TrainingError
from search.oneshot.checkpoints import CheckpointFile, KeepCheckpoint
from search.oneshot.compat import interruptible, quiet
from search.oneshot.metrics import MetricsFile
from search.oneshot.sandwich import SSL as SSL
from search.oneshot.sandwich import Sandwich as Sandwich
from search.oneshot.sandwich import SandwichModule as SandwichModule
from search.oneshot.space import SupernetSpace
from search.recipes import Recipe
from search.supernet import Supernet, SupernetCard, save_supernet

CHECKPOINT = "last.ckpt"
METRICS = "metrics.csv"


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
    progress: Callable[[int, int], None] | None = None,
) -> Supernet:
    """Train a supernet and write it to ``out`` (``card.json``, ``model.safetensors``, ``metrics.csv``, checkpoints).

    Args:
        recipe: how to train.
        pixels: uint8 [N, 3, S, S], S at least the largest crop, N at least a batch.
        out: a folder.
        name: of the supernet, for its card.
        data: what the images are and on what terms, for its card.
        resume: go on from ``out/checkpoints/last.ckpt`` where there is one.
        checkpoint_steps: optimizer steps between checkpoints.
        progress_bar: show Lightning's.
        progress: called with (steps done, steps in all) after each step.

    Raises:
        TrainingError: the images are too small or too few; the checkpoint is damaged, another run's, or there
            although ``resume`` is not asked for; the loss is no longer finite.
        WriteFailed: the disk is full, for instance; the previous checkpoint is as it was.
    """
    last = out / "checkpoints" / CHECKPOINT
    _check(recipe, pixels, last, resume=resume)
    ssl = SSL(recipe, pixels)
    callbacks = [MetricsFile(out / METRICS), KeepCheckpoint(last, steps=checkpoint_steps)]
    space = SupernetSpace(ssl.net, hidden_dim=recipe.hidden_dim, projection_dim=recipe.projection_dim)
    out.mkdir(parents=True, exist_ok=True)
    with interruptible(), quiet():
        trainer = Trainer(
            max_steps=ssl.steps,
            max_epochs=-1,
            accelerator="auto",
            devices=1,
            precision=_precision(recipe),
            logger=False,
            enable_checkpointing=False,
            plugins=[CheckpointFile()],
            callbacks=callbacks if progress is None else [*callbacks, _Progress(progress)],
            limit_val_batches=0,
            enable_progress_bar=progress_bar,
            enable_model_summary=False,
            default_root_dir=out,
        )
        evaluator = Lightning(
            ssl,
            trainer,
            train_dataloaders=_Ticks(len(pixels) // recipe.batch),
            val_dataloaders=[],
            fit_kwargs={"ckpt_path": last} if last.exists() else {},
        )
        Sandwich()(RawFormatModelSpace(space, evaluator), SequentialExecutionEngine())
    supernet = Supernet(card=_card(ssl, name, data), weights={k: t.detach() for k, t in ssl.student.items()})
    save_supernet(supernet, out)
    return supernet


class _Ticks:
    """The steps of an epoch, in place of batches: a step's number decides its images.

    So there is no state to restore in the middle of an epoch, which is how Lightning asks for it.
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps

    def __len__(self) -> int:
        return self._steps

    def __iter__(self) -> Iterator[int]:
        return iter(range(self._steps))

    def state_dict(self) -> dict[str, int]:
        return {}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        pass


class _Progress(Callback):
    def __init__(self, progress: Callable[[int, int], None]) -> None:
        self._progress = progress

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        self._progress(trainer.global_step, trainer.max_steps)


def _check(recipe: Recipe, pixels: Tensor, last: Path, *, resume: bool) -> None:
    count, side_px = len(pixels), min(pixels.shape[-2:])
    crop_px = max(stage.crop_px for stage in recipe.stages)
    if side_px < crop_px:
        raise TrainingError(f"the images are {side_px} px and the largest crop {crop_px} px; read them larger")
    if count < recipe.batch:
        raise TrainingError(f"{count} images are fewer than a batch of {recipe.batch}; add images, or lower the batch")
    if last.exists() and not resume:
        raise TrainingError(f"{last} is of an earlier run; resume that, or train into another folder")


def _card(ssl: SSL, name: str, data: Mapping[str, Any]) -> SupernetCard:
    recipe = ssl.recipe
    return SupernetCard(
        name=name,
        net=recipe.net,
        objective=recipe.objective,
        resolution_px=recipe.resolution_px,
        projection=(recipe.hidden_dim, recipe.projection_dim),
        mean=recipe.views.mean,
        std=recipe.views.std,
        recipe=asdict(recipe),
        data={"images": len(ssl.pixels), **data},
        training={"steps": ssl.steps, "seconds": round(ssl.run.seconds)},
        evaluation={},
        versions={"torch": torch.__version__},
    )


def _precision(recipe: Recipe) -> str:
    """Lightning's name for the recipe's precision; bf16 only where the hardware multiplies it."""
    if recipe.precision == "auto":
        if torch.cuda.is_available():
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
        return "bf16-mixed" if fast else "32-true"
    return {"fp32": "32-true", "bf16": "bf16-mixed"}[recipe.precision]
