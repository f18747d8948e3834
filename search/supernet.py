"""Supernet: every network of a net in one set of weights, the largest network's, and the card that tells its story.

A subnet's tensors are slices of the largest network's: the first channels, the center of a kernel. Running statistics
of batch normalization are not part of it: they belong to a subnet and a domain (``search.recalibrate``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from hardware_profiles.plain_text import read_plain_json
from hardware_profiles.replace_file import replace_file, replaced
from search.errors import BadSupernet, WriteFailed
from search.nets import TRAINED, Backbone, Net, PlainLayers
from search.nets.layers import projector_of
from search.nets.net import Fixed
from search.scores.accuracy import AccuracyTable, load_accuracy, save_accuracy
from search.types import Architecture

SCHEMA = 2
WEIGHTS = "model.safetensors"
CARD = "card.json"
_MOST = 1_000_000  # of sides, features, and what pixels are divided by


@dataclass(frozen=True, kw_only=True)
class SupernetCard:
    """What a supernet is, what it was trained on and how well its networks do.

    Where ``architecture`` is given, it holds that one network of its net and no other; ``projector_norm`` says whether
    the projector's hidden layer is normalized.
    """

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
    architecture: tuple[str | int, ...] | None = None
    projector_norm: bool = True

    def __post_init__(self) -> None:
        """Refuse what no network could be built or fed with."""
        if self.net not in TRAINED:
            raise ValueError(f"net is {self.net!r}; known are {', '.join(TRAINED)}")
        for field, values, count, kind in (
            ("resolution_px", (self.resolution_px,), 1, int),
            ("projection", self.projection, 2, int),
            ("mean", self.mean, 3, float | int),
            ("std", self.std, 3, float | int),
        ):
            numbers = [value for value in values if isinstance(value, kind) and not isinstance(value, bool)]
            if not len(numbers) == len(values) == count or not all(abs(number) <= _MOST for number in numbers):
                raise ValueError(f"{field} is {values}; it must be {count} number(s) of at most {_MOST}")
        if min(self.resolution_px, *self.projection, *self.std) <= 0:
            raise ValueError("resolution_px, projection and std must be above 0")
        for field in ("recipe", "data", "training", "evaluation", "versions"):
            if not isinstance(getattr(self, field), Mapping):
                raise ValueError(f"{field} is {getattr(self, field)!r}; it must be an object")
        if not isinstance(self.projector_norm, bool):
            raise ValueError(f"projector_norm is {self.projector_norm!r}; it must be true or false")
        _ = self.family  # which refuses an architecture that the net does not have

    @property
    def family(self) -> Net:
        """The net, or the single network."""
        net = TRAINED[self.net]
        if self.architecture is None:
            return net
        return Fixed(net, Architecture(net=self.net, choices=self.architecture, resolution_px=self.resolution_px))

    @property
    def images_seen(self) -> int:
        """Images that its weights learned from, each as often as it was seen, in trainings that it began from, too."""
        seen = self.training.get("images_seen")
        if isinstance(seen, int):
            return seen
        steps, batch = self.training.get("steps"), self.recipe.get("batch")
        return steps * batch if isinstance(steps, int) and isinstance(batch, int) else 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Supernet:
    """Weights that hold every network of ``net``.

    Args:
        card: its story.
        weights: tensors of the largest network by plain names, ``backbone.*`` and ``projector.*``.
        accuracy: what each choice adds to its networks' accuracy; None where nobody has measured it.
    """

    card: SupernetCard
    weights: Mapping[str, Tensor]
    accuracy: AccuracyTable | None = None

    @property
    def net(self) -> Net:
        """The family that the weights belong to."""
        return self.card.family

    def subnet(self, architecture: Architecture) -> Backbone:
        """The plain network of ``architecture`` in eval mode; its tensors are copies, its running statistics fresh.

        Recalibrate those (``search.recalibrate.recalibrate``) before looking at its output.

        Raises:
            BadArchitecture: the net has no such network.
        """
        self.net.check(architecture)
        with torch.random.fork_rng(devices=[]):  # weights are drawn only to be overwritten
            backbone = self.net.make(PlainLayers(self.net.values(architecture)))
        load_slices(backbone, {k.removeprefix("backbone."): v for k, v in self.weights.items()})
        return backbone.eval()

    def projector(self, c_in: int) -> nn.Sequential:
        """The projection head for embeddings of ``c_in`` features: [B, c_in] -> [B, projection[1]]."""
        with torch.random.fork_rng(devices=[]):
            projector = projector_of(c_in, *self.card.projection, norm=self.card.projector_norm)
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
        text, data = (folder / CARD).read_bytes(), (folder / WEIGHTS).read_bytes()
    except OSError as error:
        raise BadSupernet(
            f"{error.filename} cannot be read ({error.strerror}); a supernet needs {CARD} and {WEIGHTS}"
        ) from error
    card, sha256 = _parse_card(folder / CARD, text)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise BadSupernet(f"{folder / WEIGHTS} is damaged: its sha256 is not the card's; install the supernet again")
    try:
        weights = {name: tensor.float() for name, tensor in load(data).items()}
    except SafetensorError as error:
        raise BadSupernet(f"{folder / WEIGHTS} is no safetensors file ({error}); install the supernet again") from error
    shapes = {name: tensor.shape for name, tensor in weights.items()}
    expected = _shapes(card.net, card.architecture, card.resolution_px, card.projection, card.projector_norm)
    if wrong := sorted(name for name in shapes.keys() | expected.keys() if shapes.get(name) != expected.get(name)):
        raise BadSupernet(
            f"{folder / WEIGHTS} is no supernet of {card.net}: {len(wrong)} tensors differ, first {wrong[0]};"
            " train or install the supernet again"
        )
    return Supernet(card=card, weights=weights, accuracy=load_accuracy(folder, card.family, sha256))


def load_card(folder: Path) -> SupernetCard:
    """The card alone, without a look at the weights.

    Raises:
        BadSupernet: it is missing, damaged, or of another schema or net.
    """
    try:
        text = (folder / CARD).read_bytes()
    except OSError as error:
        raise BadSupernet(f"{error.filename} cannot be read ({error.strerror}); a supernet needs {CARD}") from error
    return _parse_card(folder / CARD, text)[0]


def save_supernet(supernet: Supernet, folder: Path) -> None:
    """Write ``model.safetensors`` (fp16) and ``card.json``; what is there stays whole until both are on the disk.

    An accuracy table goes with them where it is of these very weights; one of earlier weights is removed.

    Raises:
        WriteFailed: they cannot be written.
    """
    data = save({name: tensor.half().contiguous() for name, tensor in supernet.weights.items()})
    sha256 = hashlib.sha256(data).hexdigest()
    accuracy = supernet.accuracy if supernet.accuracy and supernet.accuracy.supernet_sha256 == sha256 else None
    fields = {"schema": SCHEMA, "sha256": sha256, **vars(supernet.card)}
    text = json.dumps(fields, indent=1) + "\n"
    try:
        with replaced(folder / CARD) as card:  # the card last: it names the weights' sha256
            card.write_text(text, "utf-8")
            replace_file(folder / WEIGHTS, data)
            save_accuracy(accuracy, folder)
    except OSError as error:
        raise WriteFailed(f"the supernet cannot be written to {folder} ({error.strerror}); free some space") from error


def _parse_card(path: Path, text: bytes) -> tuple[SupernetCard, str]:
    """The card and the sha256 of the weights that it names."""
    again = "train or install the supernet again"
    try:
        fields = read_plain_json(text)
        if (schema := fields.pop("schema")) != SCHEMA:
            raise BadSupernet(f"{path} has schema {repr(schema)[:40]}; this version reads {SCHEMA}: {again}")
        sha256 = fields.pop("sha256")
        for name in ("projection", "mean", "std"):
            fields[name] = tuple(fields[name])
        if (choices := fields.get("architecture")) is not None:
            fields["architecture"] = tuple(choices)
        return SupernetCard(**fields), sha256
    except KeyError as error:
        raise BadSupernet(f"{path} is no supernet's card (it has no {error}); {again}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise BadSupernet(f"{path} is no supernet's card ({str(error)[:300]}); {again}") from error


@cache
def _shapes(
    net: str, choices: tuple[str | int, ...] | None, resolution_px: int, projection: tuple[int, int], norm: bool
) -> dict[str, torch.Size]:
    """Name -> shape of every tensor of a supernet; of one network where its ``choices`` are given."""
    largest = TRAINED[net].largest(resolution_px)
    with torch.device("meta"):
        backbone = TRAINED[net].build(largest if choices is None else replace(largest, choices=choices))
        parts = {"backbone": backbone, "projector": projector_of(backbone.embedding_dim, *projection, norm=norm)}
    return {f"{part}.{name}": p.shape for part, module in parts.items() for name, p in module.named_parameters()}
