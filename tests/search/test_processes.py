"""Several processes train as one does."""

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from torch import Tensor

from search.curve import METRICS
from search.errors import TrainingError
from search.oneshot.engine.job import CHECKPOINT
from search.oneshot.pretrain import pretrain
from search.oneshot.ssl import SSL
from search.recipes import Recipe, Stage
from search.supernet import Supernet
from tests.search.small_supernets import stripes

RECIPE = Recipe(
    net="resnet",
    epochs=1.0,
    batch=8,
    queue=16,
    norm_groups=2,
    random_subnets=0,
    hidden_dim=8,
    projection_dim=6,
    stages=(Stage(until=1.0, crop_px=8),),
    precision="fp32",
)


def train(out: Path, recipe: Recipe = RECIPE, **options: Any) -> Supernet:
    return pretrain(recipe, stripes(24, 10), out, name="made", data={}, **{"checkpoint_steps": 1} | options)


def test_two_processes_of_which_one_is_killed_leave_a_checkpoint_that_one_resumes_to_its_own_result(
    tmp_path: Path,
) -> None:
    alone, out, threads = train(tmp_path / "alone"), tmp_path / "both", torch.get_num_threads()
    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(TrainingError, match=r"process 2 of 2 was killed \(SIGKILL\); .*, and resume$") as caught,
    ):
        at_step(2, patch, kill_the_other)
        train(out, processes=2)
    assert "\n" not in str(caught.value)
    assert torch.load(out / CHECKPOINT, weights_only=True)["global_step"] == 2
    assert torch.get_num_threads() == threads and not torch.distributed.is_initialized()
    made = train(out, resume=True)
    curves = [np.genfromtxt(run / METRICS, delimiter=",", skip_header=1) for run in (tmp_path / "alone", out)]
    np.testing.assert_allclose(*curves, rtol=1e-4)
    for name, tensor in alone.weights.items():
        torch.testing.assert_close(made.weights[name], tensor, rtol=1e-3, atol=1e-5, msg=name)
    files = [sorted(path.name for path in run.iterdir()) for run in (tmp_path / "alone", out)]
    assert files[0] == files[1]


def at_step(step: int, patch: pytest.MonkeyPatch, what: Any) -> None:
    two_views = SSL.two_views

    def watched(self: SSL, now: int, part: int = 0) -> tuple[Tensor, Tensor]:
        if now == step:
            what()
        return two_views(self, now, part)

    patch.setattr(SSL, "two_views", watched)


def kill_the_other() -> None:
    (other,) = [p for p in psutil.Process().children() if "search.oneshot.worker" in p.cmdline()]
    other.send_signal(signal.SIGKILL)


def test_a_process_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho first >&2\necho no such module >&2\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setattr("search.oneshot.engine.processes.sys.executable", str(script))
    with pytest.raises(TrainingError, match=r"process 2 of 2 failed \(no such module\); mend that .*, and resume"):
        train(tmp_path / "out", processes=2)
    assert list((tmp_path / "out").iterdir()) == [] and not torch.distributed.is_initialized()


def test_groups_that_processes_cannot_share_are_refused(tmp_path: Path) -> None:
    for groups, processes in ((1, 2), (2, 4)):
        with pytest.raises(TrainingError, match=f"norm_groups is {groups}, and whole groups go to each of {processes}"):
            train(tmp_path / "out", replace(RECIPE, norm_groups=groups), processes=processes)
    assert not (tmp_path / "out").exists()
