"""Make objective: what a recipe names, around a teacher where there is one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from search.objectives import BYOL, DenseCL, MoCo, Objective, ReSSL, SimCLR
from search.recipes import Recipe


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
