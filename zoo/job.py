"""Job: everything that a search for one network starts from."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from export.types import Preprocess
from hardware_profiles.types import DeviceProfile
from search.types import Budget
from search.views import center
from zoo.names import Name
from zoo.photos import Photos
from zoo.supernets import Ready
from zoo.tables import Table


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
    """

    name: Name
    budget: Budget
    ready: Ready
    photos: Photos
    table: Table
    seed: int

    @property
    def resolution_px(self) -> int:
        """Side of the network's input, in pixels."""
        return self.table.latencies.resolution_px

    @property
    def device(self) -> DeviceProfile:
        """What the budget holds for."""
        return self.table.latencies.device

    @property
    def preprocess(self) -> Preprocess:
        """How pictures become the network's input."""
        about, side_px = self.ready.supernet.card, self.resolution_px
        return Preprocess(size_px=(side_px, side_px), mean=about.mean, std=about.std)

    def inputs(self) -> Tensor:
        """The images, preprocessed, float32 [N, 3, R, R]."""
        about = self.ready.supernet.card
        return center(self.photos.pixels, self.resolution_px, about.mean, about.std)
