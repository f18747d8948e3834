"""DARTS space: the network whose edges mix all operations, as NNI's model space, with a projector on top."""

from __future__ import annotations

from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from torch import Tensor, nn

from search.cells.recipe import DartsRecipe
from search.nets.cell_body import Cell, CellBackbone, Place, stem_stride
from search.nets.cell_ops import make_op
from search.nets.genotype import EDGES, INPUTS, NODES, PRIMITIVES
from search.nets.projector import projector_of

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
