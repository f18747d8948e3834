"""The names that the curated catalogue answers, and the devices for which their milliseconds are meant.

Networks see photos: 160 px for ``cls``, 224 px for ``det`` and ``seg``, and a budget is that of the whole model with a
head of 20 classes. The reference device of names without one is a server's CPU of today (Intel Xeon with AVX-512 and
AMX, ONNX Runtime, one thread). Small images stay where a device's published table holds for 32 px alone, and networks
of cells, whose names follow from their times, on the CPU that they were timed on: ``cell_asks``.
"""

from __future__ import annotations

from dataclasses import dataclass

from hardware_profiles.estimate import estimate_ms
from hardware_profiles.types import Precision
from search.types import Budget, Task
from zoo.devices.fitted import find_table
from zoo.make.job import PHOTO_PX
from zoo.names import Name, parse_name
from zoo.supernets import BUNDLED, PHOTO_NETS, PHOTO_SUPERNETS, read_supernet, supernet_names

REFERENCE_DEVICE = "xeon-amx"
CELL_DEVICE = "epyc-avx2"
SUPERNET = "mobile-mocov2"


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One name, the id of its device, the side of its input, and the bundled supernet that is searched."""

    name: str
    device: str
    resolution_px: int
    supernet: str = SUPERNET


def _reference(*questions: str) -> tuple[Ask, ...]:
    return tuple(_photo(f"data-mocov2-{q}", REFERENCE_DEVICE) for q in questions)


def _published(device: str, *questions: str) -> tuple[Ask, ...]:
    return tuple(Ask(name=f"data-mocov2-{q}@{device}", device=device, resolution_px=32) for q in questions)


def _today(device: str, *questions: str) -> tuple[Ask, ...]:
    return tuple(_photo(f"data-mocov2-{q}@{device}", device) for q in questions)


def _photo(name: str, device: str) -> Ask:
    task = parse_name(name).task
    return Ask(name=name, device=device, resolution_px=PHOTO_PX[task], supernet=PHOTO_SUPERNETS[task][0])


# Photo-size names: whole models with heads of 20 classes; budgets lie between the smallest and the largest network.
PHOTOS = (
    *_reference("cls-1ms", "cls-2ms", "cls-3ms", "det-2ms", "det-3ms", "det-6ms", "seg-2ms", "seg-3ms", "seg-6ms"),
    *_today("galaxy-s24", "cls-0.45ms", "det-0.5ms", "seg-0.5ms"),
    *_today("galaxy-s25", "cls-0.35ms", "det-0.4ms", "seg-0.4ms"),
    *_today("snapdragon-8-elite-gen5", "cls-0.3ms", "det-0.35ms", "seg-0.3ms"),
    *_today("snapdragon-7-gen4-int8", "cls-0.4ms", "det-0.4ms"),
    *_today("iq-9075", "cls-0.9ms", "det-1ms", "seg-1ms"),
    *_today("sa8775p", "det-1.1ms", "seg-1.1ms"),
    *_today("qcs8550", "cls-0.65ms", "det-0.7ms", "seg-0.7ms"),
    *_today("q-6690-int8", "cls-1ms", "det-1.2ms", "seg-1.2ms"),
    *_today("rb3-gen2-int8", "cls-1.1ms", "det-1.1ms", "seg-1.1ms"),
    *_today("i9-10940x", "cls-3ms", "det-5ms", "seg-4ms"),
    *_today("rtx-3090", "cls-2ms", "det-4ms", "seg-4ms"),
    *_today("rtx-5090", "cls-1ms", "det-2ms", "seg-2ms"),
)

# Thumbnails of 32 px, on the devices whose published tables hold for those.
SMALL = (
    *_published("raspi4", "cls-20ms", "cls-40ms"),
    *_published("pixel3", "cls-10ms", "cls-20ms"),
)


def wanted() -> tuple[Ask, ...]:
    """The names of the bundled supernets, those of cells apart."""
    return (*PHOTOS, *SMALL)


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A table of the reference machine: a net at ``size_px``, and how the machine is used."""

    net: str
    size_px: int
    precision: Precision = "fp32"
    threads: int = 1

    @property
    def device(self) -> str:
        """The id that the table gets: ``xeon-amx-t2-int8`` of two threads in int8."""
        threads = f"-t{self.threads}" if self.threads > 1 else ""
        return f"{REFERENCE_DEVICE}{threads}{'' if self.precision == 'fp32' else f'-{self.precision}'}"


def reference_tables() -> tuple[Reference, ...]:
    """What is measured of the reference machine: more than the names need, for searches at other sizes."""
    return (
        *(Reference(net=net, size_px=px) for net in PHOTO_NETS for px in (96, 128, 160, 224, 320)),
        *(Reference(net=net, size_px=224, precision="int8") for net in PHOTO_NETS),
        *(Reference(net=net, size_px=224, threads=2) for net in PHOTO_NETS),
    )


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
        table = find_table(CELL_DEVICE, net=one.net, resolution_px=about.resolution_px)
        family = about.family
        ms = estimate_ms(table, family.ops(family.largest(about.resolution_px)))
        timed.append((ms, one.name, one.objective, about.resolution_px))
    asks: list[Ask] = []
    taken_ms = 0.0
    for ms, supernet, objective, px in sorted(timed):
        taken_ms = round_up_ms(_ROOM * ms, above_ms=taken_ms)
        name = Name(method="ssnas", objective=objective, task=Task.CLS, budget=Budget(latency_ms=taken_ms))
        asks.append(Ask(name=str(name), device=CELL_DEVICE, resolution_px=px, supernet=supernet))
    return tuple(asks)


def round_up_ms(least_ms: float, *, above_ms: float) -> float:
    """The smallest round number of milliseconds that is at least ``least_ms`` and more than ``above_ms``."""
    numbers = (round(digits * 10.0**power, 6) for power in range(-3, 6) for digits in _ROUND)
    return next(number for number in numbers if number >= least_ms and number > above_ms)
