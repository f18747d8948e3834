"""Fullest: which of several supernets answers a name.

A supernet that shares weights has a network for every budget, and the first one answers. Networks of cells come alone,
each as large as it is: the one that uses most of the budget answers, for without images their size tells most.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from search.costs import CostModel
from search.limits import load
from zoo.device_names import REFERENCE
from zoo.names import Name
from zoo.progress import Progress, Say
from zoo.supernets import read_supernet
from zoo.tables import table_for


def fullest(name: Name, folders: Sequence[Path], *, progress: Progress, say: Say) -> Path:
    """One of ``folders``; where no single network meets the budget, the one that is nearest to it.

    Args:
        name: with the device whose milliseconds count.
        folders: of supernets; at least one.
        progress: called with (stage, done, all) where this machine must be measured first.
        say: receives one line for each thing that happened.

    Raises:
        UnknownDevice: no such device.
        MissingTable: it has no table of a network's net.
    """
    if len(folders) == 1:
        return folders[0]
    used = {}
    for folder in folders:
        about = read_supernet(folder).supernet.card
        if about.architecture is None:
            return folder
        family, px = about.family, about.resolution_px
        table = table_for(name.device or REFERENCE, about.net, px, progress=progress, say=say)
        costs = CostModel(family, table.latencies)(family.encode([family.largest(px)]))
        used[folder] = float(load(costs, name.budget)[0])
    fitting = {folder: share for folder, share in used.items() if share <= 1}
    chosen = max(fitting, key=lambda f: fitting[f]) if fitting else min(used, key=lambda f: used[f])
    say(f"{chosen.name} uses {100 * used[chosen]:.0f} % of the budget, the nearest of {len(used)} networks")
    return chosen
