"""Recipes, parameters and tables for tests of cells."""

from dataclasses import replace
from typing import Any

import numpy as np

from search.cells.derive import Alphas
from search.cells.recipe import DartsRecipe
from search.nets.genotype import EDGES, INPUTS, PRIMITIVES, ROLES, Genotype
from search.supernet import Supernet
from search.types import Architecture
from tests.search.small_supernets import supernet_of

NAMES = list(PRIMITIVES)
# The cells that DARTS found in its second-order search on CIFAR-10 (Liu et al., ICLR 2019, figures 4 and 5).
_V2_SKIP = (("skip_connect", 2), ("max_pool_3x3", 1))
DARTS_V2 = Genotype(
    normal=(
        *(("sep_conv_3x3", 0), ("sep_conv_3x3", 1)),
        *(("sep_conv_3x3", 0), ("sep_conv_3x3", 1)),
        *(("skip_connect", 0), ("sep_conv_3x3", 1)),
        *(("skip_connect", 0), ("dil_conv_3x3", 2)),
    ),
    reduce=(
        *(("max_pool_3x3", 0), ("max_pool_3x3", 1)),
        *(("max_pool_3x3", 1), ("skip_connect", 2)),
        *(("max_pool_3x3", 0), ("skip_connect", 2)),
        *(("max_pool_3x3", 1), ("skip_connect", 2)),
    ),
)


def tiny(**changes: Any) -> DartsRecipe:
    """Three cells of two channels; 2 steps an epoch on 10 images, 2 epochs."""
    recipe = DartsRecipe(
        epochs=2,
        batch=2,
        crop_px=8,
        cells=3,
        channels=2,
        alpha_lr=0.1,
        projection_dim=4,
        held_out=0.2,
        precision="fp32",
    )
    return replace(recipe, **changes)


def random_alphas(seed: int, scale: float = 1.0) -> Alphas:
    rng = np.random.default_rng(seed)
    return {role: scale * rng.standard_normal((len(EDGES), len(PRIMITIVES))) for role in ROLES}


def decided(genotype: Genotype, strength: float = 60.0) -> Alphas:
    """Parameters that leave no doubt: one operation on each kept edge, none on the others."""
    alphas = {role: np.zeros((len(EDGES), len(PRIMITIVES))) for role in ROLES}
    for role in ROLES:
        alphas[role][:, 0] = strength
        for i, (op, source) in enumerate(genotype.slots(role)):
            row = alphas[role][EDGES.index((i // INPUTS, source))]
            row[0], row[NAMES.index(op)] = 0.0, strength
    return alphas


def single_network(architecture: Architecture, name: str) -> Supernet:
    """A network of cells alone, never trained."""
    about: dict[str, Any] = {"recipe": {"architecture": list(architecture.choices)}, "data": {"cells": "drawn by hand"}}
    return supernet_of("cell", architecture.resolution_px, architecture, name=name, objective="simclr", **about)
