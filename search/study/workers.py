"""Workers: where the jobs of a study run. Each is independent, so whatever ends one leaves the others alone."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib.util import find_spec
from multiprocessing.connection import wait

from search.errors import MissingEngine
from search.study.plan import Job, Outcome

Outcomes = tuple[Outcome, ...]
Work = Callable[[Job], Outcomes]
Engine = Callable[[Sequence[Job], int | None], Iterator[tuple[Job, Outcomes]]]
_KILLED = "its process was killed (out of memory, perhaps); run the same command again"


def work(job: Job) -> Outcomes:
    """See ``search.study.job``, which takes seconds to import, and only where the work is done."""
    from search.study.job import do

    return do(job)


def locally(jobs: Sequence[Job], workers: int | None = None, do: Work = work) -> Iterator[tuple[Job, Outcomes]]:
    """One after another in a process beside this one, in a new one where that dies; ``workers`` has no say."""
    pool: ProcessPoolExecutor | None = None
    before = set(multiprocessing.active_children())
    try:
        for job in jobs:
            pool = pool or ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_follow)
            try:
                yield job, pool.submit(do, job).result()
            except BrokenProcessPool:
                pool = None
                yield job, _lost(job)
    finally:
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()  # a training keeps a checkpoint
        if pool is not None:
            pool.shutdown()


def on_ray(jobs: Sequence[Job], workers: int | None = None, do: Work = work) -> Iterator[tuple[Job, Outcomes]]:
    """As Ray has room: on the cluster that RAY_ADDRESS names, else on this machine's cores.

    Args:
        jobs: the study's folder, the images and the sets lie where every machine sees them.
        workers: jobs at a time on this machine; None is one a core.
        do: the work.

    Raises:
        MissingEngine: ray is not installed.
    """
    if find_spec("ray") is None:
        raise MissingEngine('--engine ray needs ray; pip install "subnet-zoo[cluster]"')
    import ray

    here = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": workers, "include_dashboard": False}
    ray.init(log_to_driver=False, logging_level=logging.ERROR, **here)
    try:
        gpus = 1 if ray.cluster_resources().get("GPU") else 0
        remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(do)
        running = {remote.remote(job): job for job in jobs}
        while running:
            (done,), _ = ray.wait(list(running), num_returns=1)
            job = running.pop(done)
            try:
                yield job, ray.get(done)
            except ray.exceptions.RayError:
                yield job, _lost(job)
    finally:
        ray.shutdown()


ENGINES: Mapping[str, Engine] = {"local": locally, "ray": on_ray}


def _lost(job: Job) -> Outcomes:
    return tuple(Outcome(set=one.name, told="", reason=_KILLED) for one in job.missing)


def _follow() -> None:
    """End with the process that started this one, however that ends."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
