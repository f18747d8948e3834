"""Work that a study's processes are given in tests, in place of trainings."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from search.nets.handcrafted import RESNETS
from search.study.plan import Job, LabelledSet, Outcome, Protocol, Row, write_answer


def answer(job: Job) -> tuple[Outcome, ...]:
    """An accuracy that the name decides."""
    for one in job.missing:
        row = Row(variant=job.name, set=one.name, source=one.source, family=RESNETS.name, test=10, train=10, classes=2)
        costs = replace(row, params=100, early_params=10, macs=5, ms=1.0, knn=0.5, linear=len(job.name) / 100)
        write_answer(job.out, costs)
    return tuple(Outcome(set=one.name, told="done") for one in job.sets)


def die_on_v2(job: Job) -> tuple[Outcome, ...]:
    """As a process that the system ends for its memory."""
    if job.name == "v2":
        os.kill(os.getpid(), signal.SIGKILL)
    return answer(job)


def job_of(name: str, out: Path, *sets: LabelledSet, images: Path | None = None, images_seen: int = 32) -> Job:
    """A network of an eighth of its width at 16 px, two steps long."""
    px = 16
    protocol = Protocol(
        images=str(images), images_seen=images_seen, batch=16, resolution_px=px, width_divisor=8, objective="simclr"
    )
    architecture = RESNETS.architecture(name, width_divisor=8, resolution_px=px)
    return Job(name=name, architecture=architecture, protocol=protocol, sets=sets, out=out)


def write_images(folder: Path, count: int, *, seed: int = 0) -> Path:
    """Noise of 20 px."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for i in range(count):
        Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return folder


def write_set(folder: Path, classes: int = 2) -> LabelledSet:
    """Noise with classes."""
    for part in ("train", "test"):
        for k in range(classes):
            write_images(folder / part / f"class{k}", 6, seed=k + 10 * (part == "test"))
    return LabelledSet(name=folder.name, folder=str(folder))
