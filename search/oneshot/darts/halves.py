"""Halves: which images train the weights, which the architecture, and which judge both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from search.cells.recipe import DartsRecipe
from search.errors import TrainingError

WEIGHTS, ALPHAS = "weights", "alphas"


@dataclass(frozen=True, kw_only=True, eq=False)
class Halves:
    """Disjoint sets of images, each uint8 [N, 3, S, S]; ``weights`` and ``alphas`` are equally many.

    ``held_out`` is the same for every seed, so that networks of different seeds can be compared on it.
    """

    weights: Tensor
    alphas: Tensor
    held_out: Tensor

    def of(self, half: str) -> Tensor:
        """The half that trains ``weights`` or ``alphas``."""
        return self.weights if half == WEIGHTS else self.alphas

    @property
    def both(self) -> Tensor:
        """All that may train a finished cell."""
        return torch.cat([self.weights, self.alphas])


def halves(pixels_NCHW: Tensor, recipe: DartsRecipe) -> Halves:  # noqa: N803
    """Split images.

    Raises:
        TrainingError: they are too few for a batch of each, or smaller than the crops.
    """
    count, batch, side_px = len(pixels_NCHW), recipe.batch, min(pixels_NCHW.shape[-2:])
    if side_px < recipe.crop_px:
        raise TrainingError(f"the images are {side_px} px and the crops {recipe.crop_px} px; read them larger")
    judges = max(batch, round(count * recipe.held_out))
    each = (count - judges) // 2
    if each < batch:
        raise TrainingError(
            f"{count} images leave {max(each, 0)} for the weights, as many for the cells and {judges} held out;"
            f" a batch is {batch}: add images, or lower the batch"
        )
    order = np.random.default_rng(0).permutation(count)
    order[judges:] = np.random.default_rng((recipe.seed, 0)).permutation(order[judges:])
    parts = (order[:judges], order[judges : judges + each], order[judges + each : judges + 2 * each])
    held_out, weights, alphas = (pixels_NCHW[torch.from_numpy(part)] for part in parts)
    return Halves(weights=weights, alphas=alphas, held_out=held_out)
