"""First: whether this process is the one, of those that share a training, that speaks and writes."""

from __future__ import annotations

import os

# torchrun's and SLURM's number of the process; Lightning's of the machine and of the process on it.
_VARIABLES = ("RANK", "SLURM_PROCID", "NODE_RANK", "LOCAL_RANK")


def is_first() -> bool:
    """Known from the environment, so before the processes meet, and true of one that nobody else started."""
    return all(os.environ.get(name, "0") == "0" for name in _VARIABLES)
