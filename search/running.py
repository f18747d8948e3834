"""Running: how a training runs, which changes its result by rounding at most, and what it is estimated to take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from search.recipes import Recipe
from search.types import Logger


@dataclass(frozen=True, kw_only=True)
class Running:
    """How a training runs.

    Args:
        devices: of each machine that share the work, a process each, on a GPU or a share of the processor's cores; None
            takes what torchrun or SLURM started, else 1.
        nodes: machines; as ``devices``.
        workers: processes that read images ahead for each device, where those are not in memory; None takes a share of
            the processor's cores.
        checkpoint_steps: optimizer steps between checkpoints.
        logger: where the numbers of each step go besides ``metrics.csv``.
        compiled: compile the networks that are the same in each step: a teacher, a single network.
        checkpoint_activations: keep the borders of blocks alone for the backward pass, and compute what lies within
            them again: less memory, about a third more time.
        validate: a folder of labelled images, a sub-folder a class, on which the largest and the smallest network are
            judged as they learn; nothing is chosen by it.
        validate_steps: optimizer steps between two looks at them.
    """

    devices: int | None = None
    nodes: int | None = None
    workers: int | None = None
    checkpoint_steps: int = 200
    logger: Logger = "csv"
    compiled: bool = False
    checkpoint_activations: bool = False
    validate: Path | None = None
    validate_steps: int = 500

    def __post_init__(self) -> None:
        """Refuse what cannot run."""
        for name, least in (
            ("devices", 1),
            ("nodes", 1),
            ("workers", 0),
            ("checkpoint_steps", 1),
            ("validate_steps", 1),
        ):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} is {value}; it must be at least {least}")
        if self.logger not in get_args(Logger):
            raise ValueError(f"logger is {self.logger!r}; known are {', '.join(get_args(Logger))}")


ALONE = Running()


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Of a training, from some of its steps.

    Args:
        parameters: of what is trained.
        memory_bytes: the largest that a GPU, else this process, held.
        images_per_s: of all devices, at the largest crops.
        steps: of the whole schedule.
        hours: that it takes; crops of other sizes are taken to cost in proportion to their pixels.
        devices: that share it.
    """

    parameters: int
    memory_bytes: int
    images_per_s: float
    steps: int
    hours: float
    devices: int = 1

    def told(self) -> str:
        """For people."""
        shared = f" on {self.devices} devices, {self.hours * self.devices:.2g} device-hours" if self.devices > 1 else ""
        return (
            f"{self.parameters / 1e6:.1f} M parameters, {self.memory_bytes / 1e9:.1f} GB of memory a device,"
            f" {self.images_per_s:.0f} images/s; {self.steps} steps take {self.hours:.2g} hours ({self.hours / 24:.2g}"
            f" days){shared}"
        )


def estimate(
    recipe: Recipe, *, steps: int, step_s: float, crop_px: int, parameters: int, memory_bytes: int, devices: int = 1
) -> Estimate:
    """What ``steps`` steps of ``recipe`` take, where one at crops of ``crop_px`` takes ``step_s`` seconds."""
    largest_px = max(stage.crop_px for stage in recipe.stages)
    starts = [0.0, *(stage.until for stage in recipe.stages[:-1])]
    spent = zip(starts, recipe.stages, strict=True)
    cost = sum((stage.until - start) * (stage.crop_px / crop_px) ** 2 for start, stage in spent)
    return Estimate(
        parameters=parameters,
        memory_bytes=memory_bytes,
        images_per_s=recipe.batch / step_s * (crop_px / largest_px) ** 2,
        steps=steps,
        hours=steps * step_s * cost / 3600,
        devices=devices,
    )
