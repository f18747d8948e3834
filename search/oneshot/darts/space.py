"""Space: the network that DARTS searches, and which images train its weights, its architecture, and judge both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from torch import Tensor, nn

from search.cells.recipe import DartsRecipe
from search.errors import TrainingError
from search.nets.cell_body import Cell, CellBackbone, Place, make_op, stem_stride
from search.nets.genotype import EDGES, INPUTS, NODES, PRIMITIVES
from search.nets.layers import projector_of

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


# The name of an edge's choice, which all cells of a role share, by role in the order of EDGES.
LABELS = {role: [f"{role}.node{node}.from{source}" for node, source in EDGES] for role in ("normal", "reduce")}


class DartsSpace(ModelSpace):
    """[B, 3, H, W] -> [B, projection_dim]; every edge is a choice among ``PRIMITIVES``, which NNI mixes."""

    def __init__(self, recipe: DartsRecipe) -> None:
        super().__init__()
        self.backbone = CellBackbone(recipe.cells, recipe.channels, stem_stride(recipe.crop_px), _searched_cell)
        width = self.backbone.embedding_dim
        self.projector = projector_of(width, width, recipe.projection_dim)

    def forward(self, x_BCHW: Tensor) -> Tensor:  # noqa: N803
        """See the class."""
        return self.projector(self.backbone(x_BCHW))  # type: ignore[no-any-return]


def _searched_cell(place: Place) -> Cell:
    nodes: list[list[tuple[int, nn.Module]]] = [[] for _ in range(NODES)]
    for (node, source), label in zip(EDGES, LABELS[place.role], strict=True):
        stride = place.stride if source < INPUTS else 1
        candidates = {op: make_op(op, place.channels, stride, searching=True) for op in PRIMITIVES}
        nodes[node].append((source, LayerChoice(candidates, label=label)))
    return Cell(place, nodes, affine=False)
