"""Together: Lightning's strategy for processes that share a training through ``search.oneshot.place``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist
from pytorch_lightning.plugins.environments import ClusterEnvironment
from pytorch_lightning.strategies import DDPStrategy

from search.oneshot.place import Place


class Together(DDPStrategy):
    """Lightning's DDP without torch's wrapper, which refuses several backward passes in a step; a step adds gradients.

    Args:
        place: which process this is; the processes have met already.
    """

    def __init__(self, place: Place) -> None:
        super().__init__(cluster_environment=_Here(place))

    def configure_ddp(self) -> None:
        """Leave the module as it is."""


@contextmanager
def meeting(place: Place, file: Path) -> Iterator[None]:
    """Meet the other processes at ``file``, which must not exist before, and part at the end."""
    if torch.cuda.is_available():
        torch.cuda.set_device(place.rank)
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, init_method=file.as_uri(), rank=place.rank, world_size=place.count)
    try:
        yield
    finally:
        dist.destroy_process_group()


class _Here(ClusterEnvironment):
    """Processes of one machine that somebody else has started."""

    creates_processes_externally = True
    main_address, main_port = "localhost", 0  # they meet at a file

    def __init__(self, place: Place) -> None:
        super().__init__()
        self._place = place

    @staticmethod
    def detect() -> bool:
        """Only where it is asked for."""
        return False

    def world_size(self) -> int:
        """How many there are."""
        return self._place.count

    def set_world_size(self, size: int) -> None:
        """It is known."""

    def global_rank(self) -> int:
        """Which this is."""
        return self._place.rank

    def set_global_rank(self, rank: int) -> None:
        """It is known."""

    def local_rank(self) -> int:
        """There is one machine."""
        return self._place.rank

    def node_rank(self) -> int:
        """There is one machine."""
        return 0
