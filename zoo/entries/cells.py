"""Names for the bundled networks of cells: each is one network, so its name follows from its time."""

from __future__ import annotations

from hardware_profiles.devices import find_table
from hardware_profiles.estimate import estimate_ms
from search.types import Budget, Task
from zoo.entries.wanted import REFERENCE_DEVICE, Ask
from zoo.names import Name
from zoo.supernet_names import BUNDLED, supernet_names
from zoo.supernets import read_supernet

_ROUND = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
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
