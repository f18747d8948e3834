"""Trainings of a few steps, and what interrupts them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from search.oneshot.pretrain import pretrain
from search.oneshot.ssl import SSL
from search.recipes import Recipe, Stage
from search.running import Running
from search.supernet import Supernet

LAST = Path("checkpoints") / "last.ckpt"


def tiny(**changes: Any) -> Recipe:
    """4 steps an epoch, 6 steps in all; the crops grow after the fourth."""
    recipe = Recipe(
        epochs=1.5,
        batch=16,
        queue=32,
        hidden_dim=16,
        projection_dim=8,
        lr=0.05,
        random_subnets=2,
        stages=(Stage(until=0.6, crop_px=12), Stage(until=1.0, crop_px=16)),
        precision="fp32",
    )
    return replace(recipe, **{"net": "tiny"} | changes)


def train(recipe: Recipe, pixels: Tensor, out: Path, *, running: dict[str, Any] = {}, **options: Any) -> Supernet:  # noqa: B006
    how = Running(**{"checkpoint_steps": 2} | running)
    return pretrain(recipe, pixels, out, name="tiny", data={"terms": "none"}, running=how, **options)


def checkpoint(out: Path) -> dict[str, Any]:
    return torch.load(out / LAST, weights_only=True)


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def interrupt_at(step: int, patch: pytest.MonkeyPatch, how: Callable[[], object]) -> None:
    """Let ``how`` happen in the middle of a step."""
    two_views = SSL.two_views

    def interrupted(self: SSL, now: int, part: int = 0) -> tuple[Tensor, Tensor]:
        if now == step:
            how()
        return two_views(self, now, part)

    patch.setattr(SSL, "two_views", interrupted)


def ctrl_c() -> None:
    raise KeyboardInterrupt


class Stepping:
    """What a step needs of Lightning."""

    global_step = 0

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer

    def optimizers(self) -> torch.optim.Optimizer:
        return self._optimizer

    def manual_backward(self, loss: Tensor) -> None:
        loss.backward()
