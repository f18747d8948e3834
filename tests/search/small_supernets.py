"""Supernets, tables and images small enough for tests, and a disk that is full."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hardware_profiles.types import LatencyTable
from search.nets import NETS, Net
from search.nets.layers import projector_of
from search.nets.resnet import ResNet, ResNetPreset
from search.scores import AccuracyTable, Learned
from search.supernet import Supernet, SupernetCard
from search.types import Architecture
from tests.small_tables import DEVICE, table

SHA256 = "a" * 64
TINY = ResNet(
    ResNetPreset(name="tiny", stem_kernel=3, stem_widths=(4, 8), widths=((2, 4), (4, 6)), depths=((1, 2), (1, 2, 3)))
)


def stripes(count: int, size_px: int) -> Tensor:
    """uint8 [count, 3, size_px, size_px]: sine waves whose color, direction and pitch tell the images apart."""
    generator = torch.Generator().manual_seed(0)
    angle, pitch = torch.rand(2, count, 1, 1, 1, generator=generator)
    color = torch.rand(count, 3, 1, 1, generator=generator)
    y, x = torch.meshgrid(*[torch.linspace(0, 1, size_px)] * 2, indexing="ij")
    wave = torch.sin((4 + 20 * pitch) * (x * torch.cos(6.3 * angle) + y * torch.sin(6.3 * angle)))
    return ((0.5 + 0.5 * wave) * color * 255).to(torch.uint8)


def randomize_norms(module: nn.Module, seed: int = 0) -> None:
    """Move every scale and shift away from 1 and 0, the zero scales of residual blocks above all."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(part.bias, 0, 0.2, generator=generator)


def supernet_of(net: str, px: int, alone: Architecture | None = None, **about: Any) -> Supernet:
    """Weights that were never trained: of a family, or of one of its networks ``alone``. ``about`` changes the card."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = NETS[net].build(alone or NETS[net].largest(px))
        parts = {"backbone": backbone, "projector": projector_of(backbone.embedding_dim, 16, 8)}
    card: dict[str, Any] = {"name": "untrained", "net": net, "objective": "mocov2", "resolution_px": px}
    card |= {"architecture": alone and alone.choices, "projection": (16, 8)}
    card |= {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
    card |= {key: {} for key in ("recipe", "data", "training", "evaluation", "versions")}
    weights = {f"{part}.{name}": p.detach() for part, m in parts.items() for name, p in m.named_parameters()}
    return Supernet(card=SupernetCard(**card | about), weights=weights)


def random_supernet(net: str, px: int) -> Supernet:
    """As ``supernet_of``, and no residual block is the identity."""
    made = supernet_of(net, px)
    backbone = made.subnet(made.net.largest(px))
    randomize_norms(backbone)
    changed = {f"backbone.{name}": p.detach() for name, p in backbone.named_parameters()}
    return replace(made, weights={**made.weights, **changed})


def accuracy_of(net: Net, *, sha256: str = SHA256) -> AccuracyTable:
    """An accuracy table of made-up points."""
    rng = np.random.default_rng(0)
    points = {choice.name: (0.0, *rng.normal(size=len(choice.options) - 1).round(4).tolist()) for choice in net.space}
    learned = Learned(resolution_px=64, points=points, sets=("some", "other"), networks=48)
    return AccuracyTable(supernet_sha256=sha256, learned=(learned,))


def made_up_table(net: str, px: int, *, overhead_ms: float = 0.25, scale: float = 1.5) -> LatencyTable:
    """A time for every block, drawn at random, so that no sum comes out right by accident."""
    rng = np.random.default_rng(0)
    times_ms = {key: float(rng.uniform(0.1, 1)) for key in NETS[net].op_keys(px)}
    device = replace(DEVICE, id="made-up", kind="point", source="estimated")
    return table(times_ms, device=device, net=net, resolution_px=px, overhead_ms=overhead_ms, scale=scale)


@contextmanager
def no_file_above(limit_bytes: int) -> Iterator[None]:
    """Let the operating system refuse, as a full disk does, whatever would make a file longer."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
