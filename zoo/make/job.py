"""Job: a supernet, images, a device's table and a budget; all that a search needs to answer what was asked for."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from torch import Tensor

from export.types import Preprocess
from hardware_profiles.errors import MissingOp, MissingTable
from hardware_profiles.estimate import block_ms
from hardware_profiles.tables.find import list_tables
from hardware_profiles.types import DeviceProfile, LatencyTable
from search.images.views import center
from search.nets import Net
from search.nets.heads import CLASSES, HEAD_KINDS, MOST_CLASSES
from search.nets.whole import Headed, family_for
from search.scores import CRITERIA, criterion_for
from search.subnets.costs import CostModel, load
from search.subnets.evolution import images_at
from search.subnets.proposals import smallest
from search.types import Budget, Task
from zoo.devices.names import THIS, device_id
from zoo.devices.tables import Table, table_for
from zoo.errors import BadRequest, MissingHeads
from zoo.home import own_tables
from zoo.make.images import Photos, read_photos
from zoo.names import Name, format_size
from zoo.supernets import LEAST_PHOTO_PX, PHOTO_NETS, Ready, method_of, photo_supernets, read_supernet
from zoo.types import Progress, Say, stage

_SHOWN_SKIPPED = 5  # names of files; the rest is counted
# A photo keeps what cls needs at 160 px; small objects and borders need more. The price grows with the square.
PHOTO_PX = {Task.CLS: 160, Task.DET: 224, Task.SEG: 224}
# Their nets halve their input five times; beyond 320 px a budget of milliseconds is not met, below 96 a map has 2 px.
PHOTO_STRIDE, PHOTO_MOST = 32, 320
# Objects and their borders need pixels: dense tasks look at twice the supernet's resolution where that has a table.
_DENSE_SCALE = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """A supernet, images, a device's table, and the question to answer with them.

    Args:
        name: the question; its device is the table's.
        budget: the name's, with the limits that were asked for beside it.
        ready: the supernet.
        photos: the user's images, already at the network's resolution.
        table: of the device.
        seed: of the search.
        family: what the budget counts: backbones, or whole models.
    """

    name: Name
    budget: Budget
    ready: Ready
    photos: Photos
    table: Table
    seed: int
    family: Net

    @property
    def resolution_px(self) -> int:
        """Height of the network's input, in pixels."""
        return self.table.latencies.resolution_px

    @property
    def device(self) -> DeviceProfile:
        """What the budget holds for."""
        return self.table.latencies.device

    @property
    def preprocess(self) -> Preprocess:
        """How pictures become the network's input."""
        about = self.ready.supernet.card
        return Preprocess(size_px=self.size_px, mean=about.mean, std=about.std, fit=fit_of(self.name.task))

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width of the network's input, in pixels."""
        table = self.table.latencies
        return table.resolution_px, table.width_px or table.resolution_px

    def inputs(self) -> Tensor:
        """The images, preprocessed, float32 [N, 3, H, W]."""
        about = self.ready.supernet.card
        return center(self.photos.pixels, self.size_px, about.mean, about.std)


def prepare(
    devices: Sequence[str],
    budgets: Sequence[Budget],
    *,
    limits: Budget | None = None,
    images: Path | None,
    task: Task,
    supernet: str | Path | None,
    resolution_px: int | tuple[int, int] | None,
    threads: int | None,
    seed: int,
    classes: int | None = None,
    progress: Progress,
    say: Say,
) -> list[Job]:
    """A job a device; supernet and images are read once.

    Args:
        devices: ids or aliases, at least one.
        budgets: one for all devices, or one for each.
        limits: that hold beside each budget.
        images: a folder; None takes generated images.
        task: what the networks are for.
        supernet: a name or a folder; None takes the first of ``photo_supernets`` with a choice within each budget.
        resolution_px: side of the input, or its width and height; None takes ``resolution_for``.
        threads: of the runtime on this machine.
        seed: of the searches.
        classes: of the head that a detector or a segmenter is budgeted with; None takes 20.
        progress: called with (stage, done, all).
        say: receives one line for each thing that happened.

    Raises:
        BadRequest: no device, or one twice; as many budgets as neither one nor the devices; a size that the
            net does not take; no class, or classes without a head.
        UnknownName: no such supernet.
        UnknownDevice: no such device.
        NotEnoughImages: too few images can be read.
        MissingHeads: the device's table holds no blocks of heads.
    """
    if len(budgets) not in (1, len(devices)):
        raise BadRequest(f"{len(budgets)} budgets for {len(devices)} devices; give one for all, or one for each")
    asked = budgets if len(budgets) > 1 else [*budgets] * len(devices)
    ids = [device_id(device) for device in devices]
    if not ids or len(set(ids)) != len(ids):
        raise BadRequest(f"devices {', '.join(ids) or 'none'}: name at least one, and each once")
    _check_classes(classes, task)
    known: dict[tuple[object, ...], Photos] = {}

    def see(ready: Ready, size: tuple[int, int]) -> Photos:
        key = (size, ready.folder if images is None else None)  # generated ones are like a supernet's own
        if key not in known:
            known[key] = _photos(images, size, task, ready, progress, say)
        return known[key]

    place = partial(
        _place,
        see=see,
        task=task,
        resolution_px=resolution_px,
        threads=threads,
        classes=classes,
        progress=progress,
        say=say,
    )
    allowed = [budget.within(limits) for budget in asked]
    ready, places = _chosen([supernet] if supernet is not None else photo_supernets(task), devices, allowed, place, say)
    about = ready.supernet.card
    jobs = []
    for device, budget, at in zip(devices, asked, places, strict=True):
        size, table = at.size, at.table
        default_px = resolution_for(task, device, about.net, about.resolution_px)
        name = Name(
            method=method_of(about.net),
            objective=about.objective,
            task=task,
            budget=budget,
            # The input's size is part of the question where it was asked for and is not the default.
            size_px=None if resolution_px is None or size == (default_px, default_px) else size,
            device=table.latencies.device.id,
        )
        jobs.append(
            Job(
                name=name,
                budget=budget.within(limits),
                ready=ready,
                photos=at.photos,
                table=table,
                seed=seed,
                family=at.family,
            )
        )
        if (why := limits_nothing(jobs[-1])) is not None:
            say(why)
    return jobs


@dataclass(frozen=True, kw_only=True, eq=False)
class _Place:
    """What a network of a supernet is on one device: its input, width and height in pixels, its family and times."""

    size: tuple[int, int]
    photos: Photos
    family: Net
    table: Table

    @property
    def device(self) -> str:
        return self.table.latencies.device.id


def _chosen(
    names: Sequence[str | Path],
    devices: Sequence[str],
    budgets: Sequence[Budget],
    place: Callable[..., _Place],
    say: Say,
) -> tuple[Ready, list[_Place]]:
    """The first supernet with a choice of networks within each budget, or the one that reaches lowest; its places.

    Raises:
        MissingTable: of none is there a table.
    """
    found: list[tuple[float, Ready, list[_Place]]] = []
    for name, following in itertools.zip_longest(names, names[1:]):
        ready = read_supernet(name)
        try:
            places = [place(ready, device) for device in devices]
        except MissingTable as error:
            if following is None and not found:
                raise
            if following is not None:
                say(f"{error}; so {following} is searched")
            continue
        if following is None and not found:
            return ready, places
        used = {p.device: _used(p, budget) for p, budget in zip(places, budgets, strict=True)}
        worst = max(used, key=lambda device: used[device][0])
        if all(1 >= least + _ROOM * (most - least) for least, most in used.values()):
            return ready, places
        found.append((used[worst][0], ready, places))
        if following is not None:
            say(f"{name} has hardly a network within the budget on {worst}, so {following} is searched")
    _, ready, places = min(found, key=lambda one: one[0])
    return ready, places


# Of the way from the smallest to the largest network: below it a search has no choice, nor faster ones if one is late.
_ROOM = 0.1


def _place(
    ready: Ready,
    device: str,
    *,
    see: Callable[[Ready, tuple[int, int]], Photos],
    task: Task,
    resolution_px: int | tuple[int, int] | None,
    threads: int | None,
    classes: int | None,
    progress: Progress,
    say: Say,
) -> _Place:
    about = ready.supernet.card
    # One network alone keeps the layers, and so the input, that it was trained with.
    wanted = Task.CLS if about.architecture is not None else task
    px = resolution_px or resolution_for(wanted, device, about.net, about.resolution_px)
    size = (px, px) if isinstance(px, int) else px
    check_size(about.net, size, task)
    photos = see(ready, size)  # before a table is measured for minutes: they may be none
    width_px = None if size[0] == size[1] else size[0]
    family = family_for(ready.supernet.net, task, classes or CLASSES, width_px)
    heads = family.classes if isinstance(family, Headed) else None
    if heads is None and task is not Task.CLS:
        say(f"heads of blocks do not fit {about.net}: the budget is of the backbone and its maps alone")
    table = table_for(
        device, about.net, size[1], width_px=width_px, threads=threads, classes=heads, progress=progress, say=say
    )
    if heads is not None:
        _check_heads(family, table.latencies)
    return _Place(size=size, photos=photos, family=family, table=table)


def _used(place: _Place, budget: Budget) -> tuple[float, float]:
    """The shares of the budget that its smallest and its largest network use."""
    net, cost = place.family, CostModel(place.family, place.table.latencies)
    least = smallest(net.encode([]), cost, budget, net)
    (most,) = net.encode([net.largest(place.table.latencies.resolution_px)])
    shares = load(cost(np.stack([least, most])), budget)
    return float(shares[0]), float(shares[1])


def limits_nothing(job: Job) -> str | None:
    """Why a search has nothing to weigh: all networks meet the budget, even the largest; None where some do not."""
    net, px = job.family, job.resolution_px
    if net.size == 1:
        return None
    costs = CostModel(net, job.table.latencies)(net.encode([net.smallest(px), net.largest(px)]))
    if load(costs, job.budget)[1] > 1:
        return None
    least_ms, most_ms = (float(ms) for ms in costs.predicted_ms)
    return (
        f"this budget limits nothing on {job.device.id}: networks take {least_ms:.3g} to {most_ms:.3g} ms there;"
        f" ask for less than {most_ms:.3g} ms, or for a larger --resolution"
    )


def _check_heads(family: Net, table: LatencyTable) -> None:
    """Refuse a table of backbones alone, which a network of the device's maker was timed for.

    Raises:
        MissingHeads: a block of the head has no time.
    """
    assert isinstance(family, Headed)
    try:
        block_ms(table, [key for key in family.op_keys(table.resolution_px) if key.kind in HEAD_KINDS])
    except MissingOp as error:
        photos = "" if family.name in PHOTO_NETS else "; without --supernet it is estimated for photos"
        raise MissingHeads(f"{error}{photos}") from None


def resolution_for(task: Task, device: str, net: str, trained_px: int) -> int:
    """Side of the input for a task on a device, in pixels: one at which its times are known.

    ``cls`` takes what the supernet was trained at. ``det`` and ``seg`` take twice that on this machine, which can be
    measured, and wherever there is a table for it; elsewhere a scaled table would only be an estimate, so they take the
    trained resolution, too.
    """
    if net in PHOTO_NETS:
        return PHOTO_PX[task]
    if task is Task.CLS:
        return trained_px
    dense_px = _DENSE_SCALE * trained_px
    if device == THIS or device_id(device) == device_id(THIS):
        return dense_px
    known = {(t.device_id, t.net, t.resolution_px) for t in list_tables([own_tables()])}
    return dense_px if (device_id(device), net, dense_px) in known else trained_px


def fit_of(task: Task) -> Literal["crop", "letterbox"]:
    """A class is in the middle of a photo; objects and regions are anywhere, so the whole of it is seen."""
    return "crop" if task is Task.CLS else "letterbox"


def _photos(
    folder: Path | None, size: tuple[int, int], task: Task, ready: Ready, progress: Progress, say: Say
) -> Photos:
    photos = read_photos(
        folder,
        size_px=size[0] if size[0] == size[1] else size[::-1],
        beside=ready.folder,
        letterbox=fit_of(task) == "letterbox",
        progress=stage(progress, "images"),
    )
    scored = images_at(max(size))
    looks = criterion_for(task, ready.supernet.accuracy) in CRITERIA  # the others ask no image
    few = f"; networks are scored on {scored} of them" if looks and scored < photos.about.count else ""
    say(f"{photos.about.count:,} images at {format_size(size)} px, {photos.about.skipped} skipped{few}")
    for line in photos.left_out:
        say(f"  {line}")
    for line in photos.skipped[:_SHOWN_SKIPPED]:
        say(f"  skipped {line}")
    return photos


def check_size(net: str, size: tuple[int, int], task: Task) -> None:
    """Refuse an input, width and height, that a net or a task does not take.

    Raises:
        BadRequest: a photo's side that is no multiple of 32, or outside 96-320 px; an input that is no square, of a
            net for small images or of a classifier, which sees a center square.
    """
    if net in PHOTO_NETS and any(px % PHOTO_STRIDE or not LEAST_PHOTO_PX <= px <= PHOTO_MOST for px in size):
        width, height = (min(PHOTO_MOST, max(LEAST_PHOTO_PX, PHOTO_STRIDE * round(px / PHOTO_STRIDE))) for px in size)
        raise BadRequest(
            f"{net} takes {LEAST_PHOTO_PX} to {PHOTO_MOST} px in multiples of {PHOTO_STRIDE}, not {format_size(size)};"
            f" ask for {format_size((width, height))}"
        )
    if size[0] != size[1] and (net not in PHOTO_NETS or task is Task.CLS):
        which = f"task {task} sees a center square" if net in PHOTO_NETS else f"{net} takes squares"
        raise BadRequest(f"{which}, not {format_size(size)} px; ask for {max(size)}")


def _check_classes(classes: int | None, task: Task) -> None:
    if classes is None:
        return
    if task is Task.CLS:
        raise BadRequest(f"{classes} classes for task cls, whose embedding has none; ask for --task det or seg")
    if not 1 <= classes <= MOST_CLASSES:
        raise BadRequest(f"{classes} classes; a head has 1 to {MOST_CLASSES}")
