"""Measuring: a net's blocks and a spread of its networks, timed on this machine or packed for another one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from hardware_profiles.kit.build import build_kit
from hardware_profiles.measure.models import Network
from hardware_profiles.measure.probe import probe_device
from hardware_profiles.measure.table import ROUNDS, measure_table
from hardware_profiles.timing.noise import NoiseWatch, refuse_noise
from hardware_profiles.types import LatencyTable, OpKey, Precision, size_text
from search.nets import NETS, Net
from search.nets.heads import CLASSES, HEADS, Whole, make_head
from search.nets.whole import Framed, Headed, all_head_ops, build_block, takes_heads
from search.types import Architecture
from zoo.checks import Count, Seed, Threads
from zoo.devices.names import DEFAULT_THREADS
from zoo.errors import UnknownName
from zoo.names import nearest, shown
from zoo.progress import Watch, watching
from zoo.types import Progress, no_progress

_CALIBRATED_ON, _VALIDATED_ON = 16, 16  # networks each: a minute of timing
# A table that is checked on many networks is fitted to a third as many.
_CHECKS_A_FIT = 3


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How a machine is used.

    Args:
        precision: of weights and activations.
        batch: images in one forward pass.
        threads: of the runtime.
        runtime: a name of ``hardware_profiles.measure.runtimes``.
    """

    precision: Precision = "fp32"
    batch: int = 1
    threads: int = DEFAULT_THREADS
    runtime: str = "onnxruntime"


def measure_here(
    net: str,
    resolution_px: Count,
    *,
    width_px: Count | None = None,
    threads: Threads | None = None,
    setting: Setting | None = None,
    progress: Watch = "auto",
    seed: Seed = 0,
    rounds: Count = ROUNDS,
    validate_on: Count = _VALIDATED_ON,
    classes: Sequence[Count] = (CLASSES,),
    force: bool = True,
    started: Path | None = None,
) -> LatencyTable:
    """Measure this machine: every block of the net alone, whole networks to calibrate, others to validate.

    Args:
        net: a key of ``search.nets.NETS``.
        resolution_px: side of the input.
        width_px: of an input that is not as wide as high.
        threads: of the runtime, in place of the setting's.
        setting: how the machine is used.
        progress: ``auto`` (bars or lines, as fits), None, or a function called with (stage, done, all).
        seed: of the networks, weights and inputs.
        rounds: turns of every model.
        validate_on: how many unseen networks tell how good the table is; where the net takes heads, whole detectors
            and segmenters among them.
        classes: of the heads whose blocks are timed, too.
        force: measure although the machine is busy.
        started: the folder that keeps an unfinished measurement.

    Raises:
        UnknownName: no such net.
        MeasureFailed: a block or a network could not be timed.
        MissingRuntime: the runtime is not here.
        NoisyMachine: other work runs on the machine, and not ``force``.
        BadKit: the started measurement is of something else.
    """
    progress = watching(progress)
    used = setting or Setting()
    family = net_called(net)
    device = probe_device(
        threads=threads or used.threads, precision=used.precision, batch=used.batch, runtime=used.runtime
    )
    fitted_to = max(_CALIBRATED_ON, validate_on // _CHECKS_A_FIT)
    watch = None if force else NoiseWatch()
    if watch:
        refuse_noise(watch)
    file = f".{device.id}.{net}-{size_text(resolution_px, width_px)}px.started.json"
    table = measure_table(
        blocks_of(family, resolution_px, classes, width_px),
        networks_of(
            family,
            resolution_px,
            fitted_to + validate_on,
            width_px=width_px,
            batch=used.batch,
            seed=seed,
            classes=classes,
        ),
        net=net,
        resolution_px=resolution_px,
        device=device,
        calibrate_on=fitted_to,
        light_blocks=family.light_blocks,
        seed=seed,
        rounds=rounds,
        progress=progress,
        started=started / file if started else None,
        watch=watch,
    )
    return replace(table, width_px=width_px)


def pack_kit(
    net: str,
    resolution_px: int,
    path: Path,
    *,
    precision: Precision = "fp32",
    batch: int = 1,
    progress: Progress = no_progress,
    seed: int = 0,
    networks: tuple[int, int] = (_CALIBRATED_ON, _VALIDATED_ON),
    classes: Sequence[int] = (CLASSES,),
) -> Path:
    """The device kit of a net at a resolution, with networks to calibrate on and to validate on.

    Raises:
        UnknownName: no such net.
        BadKit: ``path`` cannot be written.
    """
    family = net_called(net)
    return build_kit(
        blocks_of(family, resolution_px, classes),
        networks_of(family, resolution_px, sum(networks), batch=batch, seed=seed, classes=classes),
        path,
        net=net,
        resolution_px=resolution_px,
        calibrate_on=networks[0],
        light_blocks=family.light_blocks,
        precision=precision,
        batch=batch,
        seed=seed,
        progress=progress,
    )


def net_called(name: str) -> Net:
    """The net of a name.

    Raises:
        UnknownName: there is none; names the nearest.
    """
    if name not in NETS:
        raise UnknownName(f"no net is called {shown(name)}; nearest: {', '.join(nearest(name, NETS))}")
    return NETS[name]


def blocks_of(
    net: Net, resolution_px: int, classes: Sequence[int] = (), width_px: int | None = None
) -> dict[OpKey, Callable[[], nn.Module]]:
    """Every block of a net and of the heads on it for these numbers of classes, and how to build it."""
    heads = all_head_ops(net, resolution_px, classes, width_px)
    keys = (*Framed(net, width_px).op_keys(resolution_px), *heads)
    return {key: partial(build_block, net, key) for key in keys}


def networks_of(
    net: Net,
    resolution_px: int,
    count: int,
    *,
    width_px: int | None = None,
    batch: int,
    seed: int,
    classes: Sequence[int] = (),
) -> list[Network]:
    """Networks of all sizes, and how to build them; where the net takes heads, two of three are whole models."""
    families: list[Net] = [Framed(net, width_px)]
    if classes and takes_heads(net):
        families += [Headed(net, task, classes[0], width_px) for task in HEADS]
    return [
        Network(
            ops=family.ops(architecture),
            build=partial(_network, family, architecture),
            input_nchw=(batch, 3, resolution_px, width_px or resolution_px),
        )
        for architecture, family in zip(
            spread(net, resolution_px, count, seed=seed), itertools.cycle(families), strict=False
        )
    ]


def _network(family: Net, architecture: Architecture) -> nn.Module:
    backbone = family.build(architecture)
    if not isinstance(family, Headed):
        return backbone
    head = make_head(family.task, family.channels(architecture), family.classes)
    return _Joined(Whole(backbone, head, family.task))


class _Joined(nn.Module):
    """All outputs of a whole model in one tensor, for what times modules takes one; it is small beside the maps."""

    def __init__(self, whole: Whole) -> None:
        super().__init__()
        self.whole = whole

    def forward(self, x_NCHW: Tensor) -> Tensor:  # noqa: N803
        """[N, 3, H, W] -> ``boxes`` beside ``scores`` [N, A, 4 + C], or ``masks`` [N, C, h, w]."""
        return torch.cat(list(self.whole(x_NCHW).values()), -1)


def spread(net: Net, resolution_px: int, count: int, *, seed: int) -> list[Architecture]:
    """Random networks of all sizes, in random order; with uniform choices all would be of middling size.

    Choices that a network's size does not depend on are uniform.
    """
    rng = np.random.default_rng(seed)
    tops = np.array([len(choice.options) - 1 for choice in net.space])
    levels = rng.permutation(np.linspace(0, 1, count))
    rows = np.stack([rng.binomial(tops, level) for level in levels])
    if net.sized_by is not None:
        rows[:, net.sized_by :] = rng.integers(1 + tops[net.sized_by :], size=(count, len(tops) - net.sized_by))
    return net.decode(rows, resolution_px)
