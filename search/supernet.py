"""Supernet: every network of a net in one set of weights, the largest network's, and the card that tells its story.

A subnet's tensors are slices of the largest network's: the first channels, the center of a kernel. Running statistics
of batch normalization are not part of it: they belong to a subnet and a domain (``search.calibrate``).
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from search.errors import BadSupernet
from search.nets import NETS, Backbone, Net
from search.types import Architecture

SCHEMA = 1
WEIGHTS = "model.safetensors"
CARD = "card.json"


@dataclass(frozen=True, kw_only=True)
class SupernetCard:
    """What a supernet is, what it was trained on and how well its networks do."""

    name: str
    net: str
    objective: str
    resolution_px: int
    projection: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    recipe: Mapping[str, Any]
    data: Mapping[str, Any]
    training: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    versions: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, eq=False)
class Supernet:
    """Weights that hold every network of ``net``.

    Args:
        card: its story.
        weights: tensors of the largest network by plain names, ``backbone.*`` and ``projector.*``.
    """

    card: SupernetCard
    weights: Mapping[str, Tensor]

    @property
    def net(self) -> Net:
        """The family that the weights belong to."""
        return NETS[self.card.net]

    def subnet(self, architecture: Architecture) -> Backbone:
        """The plain network of ``architecture`` in eval mode; its tensors are copies, its running statistics fresh.

        Recalibrate those (``search.calibrate.recalibrate``) before looking at its output.
        """
        backbone = self.net.build(architecture)
        load_slices(backbone, {k.removeprefix("backbone."): v for k, v in self.weights.items()})
        return backbone.eval()

    def projector(self, c_in: int) -> nn.Sequential:
        """The projection head for embeddings of ``c_in`` features: [B, c_in] -> [B, projection[1]]."""
        hidden_dim, dim = self.card.projection
        projector = nn.Sequential(nn.Linear(c_in, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, dim))
        load_slices(projector, {k.removeprefix("projector."): v for k, v in self.weights.items()})
        return projector.eval()


@torch.no_grad()
def load_slices(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy into every parameter of ``module`` its slice of the tensor of the same name."""
    for name, parameter in module.named_parameters():
        parameter.copy_(slice_to(weights[name], parameter.shape))


def slice_to(tensor: Tensor, shape: torch.Size) -> Tensor:
    """The first channels (dimensions 0 and 1) and the center of the kernel (dimensions 2 and 3) of ``tensor``."""
    for dim, length in enumerate(shape):
        start = (tensor.shape[dim] - length) // 2 if dim > 1 else 0
        tensor = tensor.narrow(dim, start, length)
    return tensor


def load_supernet(folder: Path) -> Supernet:
    """Read a supernet's folder.

    Raises:
        BadSupernet: a file is missing or damaged (sha256), or is of another schema or net.
    """
    try:
        fields = json.loads((folder / CARD).read_text("utf-8"))
        schema, sha256 = fields.pop("schema"), fields.pop("sha256")
        if schema != SCHEMA:
            raise BadSupernet(f"{folder / CARD} has schema {schema}; this version reads {SCHEMA}")
        for name in ("projection", "mean", "std"):
            fields[name] = tuple(fields[name])
        card = SupernetCard(**fields)
        data = (folder / WEIGHTS).read_bytes()
    except OSError as error:
        raise BadSupernet(f"{error.filename} cannot be read ({error.strerror}); a supernet needs {CARD} and {WEIGHTS}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadSupernet(f"{folder / CARD} is no supernet's card ({error}); train or install the supernet again") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise BadSupernet(f"{folder / WEIGHTS} is damaged: its sha256 is not the card's; install the supernet again")
    if card.net not in NETS:
        raise BadSupernet(f"{folder / CARD} is of net {card.net!r}; known are {', '.join(NETS)}")
    try:
        weights = {name: tensor.float() for name, tensor in load(data).items()}
    except SafetensorError as error:
        raise BadSupernet(f"{folder / WEIGHTS} is no safetensors file ({error})") from error
    return Supernet(card=card, weights=weights)


def save_supernet(supernet: Supernet, folder: Path) -> None:
    """Write ``card.json`` and ``model.safetensors`` (fp16), each whole or not at all; the card, which names the other, last."""
    data = save({name: tensor.half().contiguous() for name, tensor in supernet.weights.items()})
    fields = {"schema": SCHEMA, "sha256": hashlib.sha256(data).hexdigest(), **vars(supernet.card)}
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / WEIGHTS, data)
    _replace(folder / CARD, (json.dumps(fields, indent=1) + "\n").encode())


def _replace(path: Path, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
