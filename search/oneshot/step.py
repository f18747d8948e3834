"""Step: one step of training, of a supernet as of a single network.

DATA (CVPR 2022, section 3) with its released faults mended: two views; targets from the teacher, always the largest
network; the largest, the smallest and random networks are each held against them; one optimizer step, one update of the
teacher and of what else the objective keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from search import ranks
from search.errors import TrainingError
from search.objectives import Tensors
from search.oneshot.ssl import SSL, Student
from search.types import Architecture

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.


CLIP = 5.0  # largest norm of a single network's gradient, as DARTS trains its final networks
# Every so many steps the largest network's projections are looked at; below either limit they have collapsed. Sound
# runs of all objectives stay above 0.25 and 6, a BYOL without its predictor falls below 0.1 within a hundred steps.
CHECK_STEPS = 50
LEAST_SPREAD, LEAST_RANK = 0.05, 2.0
Metrics = dict[str, float | None]


def take_step(module: LightningModule, ssl: SSL, choose: Callable[[Architecture], None]) -> Metrics:
    """Take step ``module.global_step``; what happened, by the columns of ``search.oneshot.engine.watch``.

    Args:
        module: what Lightning trains.
        ssl: its parts.
        choose: makes ``ssl.model`` one of its networks.

    Raises:
        TrainingError: the loss is not finite, or the embeddings have collapsed.
    """
    recipe, optimizer, step = ssl.recipe, module.optimizers(), int(module.global_step)
    progress = ssl.plan.progress(step)
    lr = optimizer.param_groups[0]["lr"] = recipe.lr_at(progress)
    students = ssl.students(step)
    losses, targets_of_parts = [], []
    optimizer.zero_grad()
    for part in range(recipe.accumulate):
        x1_BCHW, x2_BCHW = ssl.two_views(step, part)
        targets = (*ssl.targets(x1_BCHW, x2_BCHW), *ssl.outside(x1_BCHW, step, part))
        largest_BD: Tensor | None = None
        for student in students:
            choose(student.architecture)
            encoded = ssl.encode(x1_BCHW, x2_BCHW, shrink=student.shrink)
            loss = ssl.loss(encoded, targets, largest_BD)
            module.manual_backward(loss / (student.divisor * recipe.accumulate))
            losses.append(loss.detach())
            largest_BD = encoded[0].detach() if largest_BD is None else largest_BD
        targets_of_parts.append(targets)
    metrics = _metrics(step, x1_BCHW.shape[-1], lr, _by_role(students, torch.stack(losses)))
    _check_finite(metrics, recipe.lr)
    if (step + 1) % CHECK_STEPS == 0 and largest_BD is not None:
        metrics |= _check_rank(largest_BD, step, recipe.lr)
    ranks.add_gradients(ssl.trained())
    if ssl.net.size == 1:
        nn.utils.clip_grad_norm_(ssl.trained(), CLIP)
    optimizer.step()
    ssl.objective.update(ssl.student, _joined(targets_of_parts), ema=recipe.ema_at(progress))
    return metrics


def _joined(parts: list[Tensors]) -> Tensors:
    return tuple(torch.cat(part) for part in zip(*parts, strict=True)) if len(parts) > 1 else parts[0]


def _by_role(students: list[Student], losses: Tensor) -> Mapping[str, float]:
    """The mean over the networks of a role and the parts of the batch."""
    roles = [student.role for student in students] * (len(losses) // len(students))
    each: dict[str, list[float]] = {}
    for role, loss in zip(roles, losses.tolist(), strict=True):
        each.setdefault(role, []).append(loss)
    return {role: float(np.mean(values)) for role, values in each.items()}


def _metrics(step: int, crop_px: int, lr: float, losses: Mapping[str, float]) -> Metrics:
    named = {f"loss_{role}": losses.get(role) for role in ("largest", "smallest", "random")}
    return {"step": step, "crop_px": crop_px, "lr": lr, **named, "spread": None, "rank": None}


def _check_rank(z_BD: Tensor, step: int, lr: float) -> Metrics:
    rank, least = rank_of(z_BD), min(LEAST_RANK, 0.5 * (len(z_BD) - 1))
    if not (rank.spread >= LEAST_SPREAD and rank.effective >= least):
        raise TrainingError(
            f"the embeddings have collapsed at step {step}: spread {rank.spread:.3g} (limit {LEAST_SPREAD:g}), rank"
            f" {rank.effective:.3g} (limit {least:g}); train anew with a lower learning rate than {lr:g}, or with"
            " images that differ more"
        )
    return {"spread": rank.spread, "rank": rank.effective}


def _check_finite(metrics: Metrics, lr: float) -> None:
    losses = {name.removeprefix("loss_"): loss for name, loss in metrics.items() if name.startswith("loss_")}
    known = {role: loss for role, loss in losses.items() if loss is not None}
    if not np.isfinite(list(known.values())).all():
        text = ", ".join(f"{loss:g} ({role})" for role, loss in known.items())
        raise TrainingError(
            f"the loss is {text} at step {metrics['step']}; train anew with a lower learning rate than {lr:g}"
        )


# ruff: noqa: N803, N806 - a tensor's name ends in its shape.


@dataclass(frozen=True, kw_only=True)
class Rank:
    """Of a batch of embeddings, each normalized to length 1.

    Args:
        spread: their standard deviation, the root of the sum over all features: 0 where all are one, 1 where they point
            everywhere (Chen and He, SimSiam, CVPR 2021, section 4.1, times the root of D).
        effective: exp of the entropy of their singular values, mean taken off (Garrido et al., RankMe, ICML 2023,
            equation 1): 1 where they lie on a line, at most B - 1 or D.
    """

    spread: float
    effective: float


@torch.no_grad()
def rank_of(z_BD: Tensor) -> Rank:
    """Of at least two embeddings of any length.

    Example:
        >>> rank_of(torch.eye(3)).effective  # three corners of a triangle, in a plane
        2.0
    """
    centered_BD = F.normalize(z_BD.detach().double(), dim=1)
    centered_BD -= centered_BD.mean(dim=0)
    spread = float(centered_BD.square().sum(dim=1).mean().sqrt())
    p = torch.linalg.svdvals(centered_BD)
    p = p / p.sum().clamp(min=1e-12)
    effective = float(torch.exp(-(p * p.clamp(min=1e-12).log()).sum()))
    return Rank(spread=spread, effective=round(effective, 6))
