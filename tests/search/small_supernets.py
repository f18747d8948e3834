"""Supernets, tables and images small enough for tests, and a disk that is full."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from hardware_profiles.types import DeviceProfile, Latency, LatencyTable
from search.nets import NETS
from search.nets.layers import projector_of
from search.nets.resnet import ResNet, ResNetPreset
from search.supernet import Supernet, SupernetCard

TINY = ResNet(
    ResNetPreset(name="tiny", stem_kernel=3, stem_widths=(4, 8), widths=((2, 4), (4, 6)), depths=((1, 2), (1, 2, 3)))
)

DEVICE = DeviceProfile(
    id="made-up",
    kind="point",
    chip="none",
    memory_bytes=2**30,
    runtime="none",
    runtime_version="1",
    precision="fp32",
    batch=1,
    threads=1,
    source="estimated",
    reference="a test",
    license="none",
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


def random_supernet(net: str, px: int) -> Supernet:
    """Weights that were never trained."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = NETS[net].build(NETS[net].largest(px))
        projector = projector_of(backbone.embedding_dim, 16, 8)
    randomize_norms(backbone)
    parts = {"backbone": backbone, "projector": projector}
    card = SupernetCard(
        name="untrained",
        net=net,
        objective="mocov2",
        resolution_px=px,
        projection=(16, 8),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        recipe={},
        data={},
        training={},
        evaluation={},
        versions={},
    )
    weights = {f"{part}.{name}": p.detach() for part, m in parts.items() for name, p in m.named_parameters()}
    return Supernet(card=card, weights=weights)


def made_up_table(net: str, px: int, *, overhead_ms: float = 0.25, scale: float = 1.5) -> LatencyTable:
    """A time for every block, drawn at random, so that no sum comes out right by accident."""
    rng = np.random.default_rng(0)
    times_ms = {key: float(rng.uniform(0.1, 1)) for key in NETS[net].op_keys(px)}
    return LatencyTable(
        device=DEVICE,
        net=net,
        resolution_px=px,
        entries={key: Latency(median_ms=ms, p90_ms=ms, samples=1) for key, ms in times_ms.items()},
        overhead_ms=overhead_ms,
        scale=scale,
        validation=None,
        measured_at="2025-01-01",
    )


@contextmanager
def no_file_above(limit_bytes: int) -> Iterator[None]:
    """Let the operating system refuse, as a full disk does, whatever would make a file longer."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
