"""The names that the curated catalogue answers, and the devices for which their milliseconds are meant.

The reference device of names without one is a server's CPU (AMD EPYC, AVX2, one thread): its tables were measured with
ONNX Runtime, at 32 px and, for dense tasks, at 64 px. All other tables hold for 32 px, and so do their entries. The
names of networks of cells follow from their times: ``zoo.catalogue.contents``.
"""

from __future__ import annotations

from dataclasses import dataclass

from hardware_profiles.estimate import estimate_ms
from search.types import Budget, Task
from zoo.devices.fitted import find_table
from zoo.make.job import PHOTO_PX
from zoo.names import Name, parse_name
from zoo.supernets import BUNDLED, PHOTO_NET, read_supernet, supernet_names

REFERENCE_DEVICE = "epyc-avx2"
SUPERNET = "mobile-mocov2"
PHOTO_SUPERNET = "mobile-photo-mocov2"


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One name, the id of its device, the side of its input, and the bundled supernet that is searched."""

    name: str
    device: str
    resolution_px: int
    supernet: str = SUPERNET


def _reference(name: str, resolution_px: int) -> Ask:
    return Ask(name=name, device=REFERENCE_DEVICE, resolution_px=resolution_px)


def _published(device: str, *questions: str) -> tuple[Ask, ...]:
    return tuple(Ask(name=f"data-mocov2-{q}@{device}", device=device, resolution_px=32) for q in questions)


def _today(device: str, *questions: str) -> tuple[Ask, ...]:
    return tuple(_photo(f"data-mocov2-{q}@{device}", device) for q in questions)


def _photo(name: str, device: str, resolution_px: int | None = None) -> Ask:
    px = resolution_px or PHOTO_PX[PHOTO_NET][parse_name(name).task]
    return Ask(name=name, device=device, resolution_px=px, supernet=PHOTO_SUPERNET)


# Photo-size names: whole models with heads of 20 classes; budgets lie between the smallest and the largest network.
PHOTOS = (
    *_today("galaxy-s24", "cls-0.45ms", "det-0.5ms", "seg-0.5ms"),
    *_today("galaxy-s25", "cls-0.35ms", "det-0.4ms", "seg-0.4ms"),
    *_today("snapdragon-8-elite-gen5", "cls-0.3ms", "det-0.35ms", "seg-0.3ms"),
    *_today("snapdragon-7-gen4-int8", "cls-0.4ms", "det-0.4ms"),
    *_today("iq-9075", "cls-0.9ms", "det-1ms", "seg-1ms"),
    *_today("sa8775p", "det-1.1ms", "seg-1.1ms"),
    *_today("qcs8550", "cls-0.65ms", "det-0.7ms", "seg-0.7ms"),
    *_today("rb3-gen2-int8", "cls-1.1ms", "det-1.1ms", "seg-1.1ms"),
    *_today("i9-10940x", "cls-3ms", "det-5ms", "seg-4ms"),
    *_today("rtx-3090", "cls-2ms", "det-4ms", "seg-4ms"),
    *_today("rtx-5090", "cls-1ms", "det-2ms", "seg-2ms"),
)

# Names at 32 and 64 px, for devices whose tables hold for small images alone.
SMALL = (
    _reference("data-mocov2-cls-0.7ms", 32),
    _reference("data-mocov2-cls-1ms", 32),
    _reference("data-mocov2-cls-2ms", 32),
    _reference("data-mocov2-det-3ms", 64),
    _reference("data-mocov2-det-6ms", 64),
    _reference("data-mocov2-seg-3ms", 64),
    _reference("data-mocov2-seg-6ms", 64),
    *_published("raspi4", "cls-20ms", "cls-40ms", "det-30ms", "seg-40ms"),
    *_published("pixel3", "cls-10ms", "cls-20ms", "det-15ms", "seg-20ms"),
    *_published("eyeriss", "cls-5ms"),
)


def wanted() -> tuple[Ask, ...]:
    """The names of the bundled supernets, those of cells apart; at photo size, too, where there is one for photos."""
    return (*SMALL, *(PHOTOS if (BUNDLED / PHOTO_SUPERNET).is_dir() else ()))


def reference_tables() -> tuple[tuple[str, int], ...]:
    """Net and side of the input of every table of the reference device that the names need."""
    return (("mobile", 32), ("mobile", 64), ("cell", 32))


_ROUND = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)  # milliseconds as people say them: a step is 20 to 50 %
# Between the table's estimate and the budget, for the clock has the last word.
_ROOM = 1.1


def cell_asks() -> tuple[Ask, ...]:
    """A name for each bundled network of cells, the fastest first: its budget is the next free round number.

    Raises:
        MissingTable: the reference device has no table of cells at a network's resolution.
    """
    timed = []
    for one in supernet_names():
        if one.net != "cell" or one.folder.parent != BUNDLED:
            continue
        about = read_supernet(one.folder).supernet.card
        table = find_table(REFERENCE_DEVICE, net=one.net, resolution_px=about.resolution_px)
        family = about.family
        ms = estimate_ms(table, family.ops(family.largest(about.resolution_px)))
        timed.append((ms, one.name, one.objective, about.resolution_px))
    asks: list[Ask] = []
    taken_ms = 0.0
    for ms, supernet, objective, px in sorted(timed):
        taken_ms = round_up_ms(_ROOM * ms, above_ms=taken_ms)
        name = Name(method="ssnas", objective=objective, task=Task.CLS, budget=Budget(latency_ms=taken_ms))
        asks.append(Ask(name=str(name), device=REFERENCE_DEVICE, resolution_px=px, supernet=supernet))
    return tuple(asks)


def round_up_ms(least_ms: float, *, above_ms: float) -> float:
    """The smallest round number of milliseconds that is at least ``least_ms`` and more than ``above_ms``."""
    numbers = (round(digits * 10.0**power, 6) for power in range(-3, 6) for digits in _ROUND)
    return next(number for number in numbers if number >= least_ms and number > above_ms)
