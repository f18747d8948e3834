"""Models: those of a plan, built, converted to a precision and put on disk for a runtime."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from hardware_profiles.measure.plan import Plan, Shape, empty_name, network_name
from hardware_profiles.runners import Arrays, Runner
from hardware_profiles.timing.timing import Subject
from hardware_profiles.types import OpKey

# Puts a module in eval mode, with one batch for it, at a path without suffix, and returns what opens it.
Prepare = Callable[[nn.Module, Arrays, Path], Callable[[], Runner]]
# Stage, models done, models in all.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Network:
    """A whole network to time: its blocks in order, how to build it, and its input's shape."""

    ops: tuple[OpKey, ...]
    build: Callable[[], nn.Module]
    input_nchw: Shape


@dataclass(frozen=True, kw_only=True, eq=False)
class Bench:
    """A plan, and what opens each of its models beside the inputs to run it on."""

    plan: Plan
    subjects: Mapping[str, Subject]


def set_up(
    blocks: Mapping[OpKey, Callable[[], nn.Module]],
    networks: Sequence[Network],
    *,
    net: str,
    resolution_px: int,
    batch: int,
    calibrate_on: int,
    empty_twice: bool = False,
    prepare: Prepare,
    folder: Path,
    seed: int = 0,
    fill: Callable[[nn.Module], None] | None = None,
    progress: Progress = lambda stage, done, of: None,
) -> Bench:
    """Build every block, an empty block for every shape between blocks, and every network.

    Args:
        blocks: every block that the net can hold, and how to build it; its input is
            ``(batch, c_in, height_px, width_px)``.
        networks: whole networks made of those blocks.
        net: the net's name.
        resolution_px: side of the networks' input.
        batch: images in one forward pass.
        calibrate_on: see ``Plan``.
        empty_twice: see ``Plan``.
        prepare: puts a module on disk.
        folder: to put them in.
        seed: of the random weights and inputs.
        fill: changes a fresh module's weights; by default its normalizations are moved away from 1 and 0.
        progress: called with the stage ``export``, the models done and the blocks and networks in all.

    Raises:
        MeasureFailed: see ``Plan``.
    """
    known = {key: ((batch, key.c_in, key.height_px, key.width_px),) * 2 for key in blocks}
    plan = Plan(
        net=net,
        resolution_px=resolution_px,
        blocks=known,
        networks=tuple(network.ops for network in networks),
        calibrate_on=calibrate_on,
        empty_twice=empty_twice,
    )
    models = _Models(prepare, folder, seed, fill or _enliven)
    total = len(blocks) + len(networks)
    shapes: dict[OpKey, tuple[Shape, Shape]] = {}
    for i, (key, build) in enumerate(blocks.items()):
        before = known[key][0]
        shapes[key] = before, models.add(str(key), build, before)
        for shape in shapes[key]:
            for depth in (1, 2) if empty_twice else (1,):
                models.add(empty_name(shape, depth), partial(_empty_blocks, shape[1], depth), shape)
        progress("export", i + 1, total)
    for i, network in enumerate(networks):
        models.add(network_name(i), network.build, network.input_nchw)
        progress("export", len(blocks) + i + 1, total)
    plan = replace(plan, blocks=shapes)
    return Bench(plan=plan, subjects={name: models.subjects[name] for name in plan.names()})


class _Models:
    """Models by name, each made once."""

    def __init__(self, prepare: Prepare, folder: Path, seed: int, fill: Callable[[nn.Module], None]) -> None:
        self.subjects: dict[str, Subject] = {}
        self._outputs: dict[str, Shape] = {}
        self._prepare, self._folder, self._seed, self._fill = prepare, folder, seed, fill
        self._rng = np.random.default_rng(seed)

    def add(self, name: str, build: Callable[[], nn.Module], input_nchw: Shape) -> Shape:
        """Make a model unless it is here, and return its output's shape; a vector counts as a 1x1 map."""
        if name not in self.subjects:
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                torch.manual_seed(self._seed)
                module = build().eval()
                self._fill(module)
                n, c, h, w = (*module(torch.zeros(input_nchw)).shape, 1, 1)[:4]
            inputs = {INPUT: self._rng.standard_normal(input_nchw, dtype=np.float32)}
            self.subjects[name] = (self._prepare(module, inputs, self._folder / str(len(self.subjects))), inputs)
            self._outputs[name] = (n, c, h, w)
        return self._outputs[name]


def _enliven(module: nn.Module) -> None:
    """Move normalizations away from 1 and 0: the zero scales of fresh residual blocks would make maps of zeros."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d) and part.affine:
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, 0, 0.1)


def _empty_blocks(channels: int, depth: int) -> nn.Module:
    return nn.Sequential(*(nn.Conv2d(channels, channels, 1, groups=channels, bias=False) for _ in range(depth)))


INPUT = "input"
OPSET = 17  # what every runtime of the kit reads


def to_onnx_bytes(
    module: nn.Module,
    input_nchw: tuple[int, int, int, int],
    *,
    opset: int = OPSET,
    outputs: Sequence[str] = ("output",),
    dynamic_batch: bool = False,
) -> bytes:
    """Return ``module``, in eval mode whatever its mode is, as ONNX with the input ``input``.

    Args:
        module: on the CPU; takes a float32 tensor of shape ``input_nchw`` and returns as many tensors as ``outputs``.
        input_nchw: batch, channels, height and width in pixels.
        opset: version of the ONNX operators.
        outputs: what they are called.
        dynamic_batch: let the file take any batch; else all sizes are fixed.
    """
    file = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # Python branches on a shape are traced as taken, which is right where every shape is fixed; for a dynamic
        # batch ``export`` judges it.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        warnings.filterwarnings("ignore", "You are using the legacy TorchScript-based", DeprecationWarning)
        warnings.filterwarnings("ignore", "The feature will be removed", DeprecationWarning)
        # How a padding is written down; it is folded all the same when the file is simplified or loaded.
        warnings.filterwarnings("ignore", "Constant folding - Only steps=1", UserWarning)
        torch.onnx.export(
            module,
            (torch.zeros(input_nchw),),
            file,  # type: ignore[arg-type]  # only its other exporter insists on a path
            input_names=[INPUT],
            output_names=list(outputs),
            opset_version=opset,
            dynamic_axes={name: {0: "batch"} for name in (INPUT, *outputs)} if dynamic_batch else None,
            dynamo=False,
        )
    return file.getvalue()
