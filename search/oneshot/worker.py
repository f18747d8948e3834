"""Worker: ``python -m search.oneshot.worker FOLDER RANK COUNT``, which ``search.oneshot.engine.processes`` starts."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from search.oneshot.engine.job import read_job
from search.oneshot.engine.place import Place
from search.oneshot.engine.processes import JOB, MEETING, PIXELS, meeting
from search.oneshot.fit import do_job


def main(folder: Path, place: Place) -> None:
    """Do this process's share."""
    job = read_job(folder / JOB)
    pixels = torch.from_numpy(np.load(folder / PIXELS, mmap_mode="c"))
    (folder / f"ready{place.rank}").touch()
    with meeting(place, folder / MEETING):
        do_job(job, pixels, place=place)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Place(rank=int(sys.argv[2]), count=int(sys.argv[3])))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        sys.exit(" ".join(str(error).split()) or type(error).__name__)
