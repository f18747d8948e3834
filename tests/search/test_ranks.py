"""The steps of several processes are those of one."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from search.objectives import OBJECTIVES
from tests.search import two_processes

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes knows after a few steps of every recipe."""
    folder = tmp_path_factory.mktemp("both")
    command = [sys.executable, "-W", "ignore", "-m", "tests.search.two_processes", str(folder), "1", "2"]
    other = subprocess.Popen(command, cwd=ROOT)
    two_processes.main(folder, 0, 2)
    assert other.wait() == 0
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("name", [*OBJECTIVES, "options"])
def test_two_processes_take_the_steps_of_one(both: list[dict[str, Any]], name: str) -> None:
    alone = two_processes.train(two_processes.recipes()[name])
    for one in both:
        assert one[name]["chosen"] == alone["chosen"]
        losses = [np.array(each[name]["losses"], float) for each in (one, {name: alone})]  # slow starts have gaps
        np.testing.assert_allclose(*losses, rtol=0, atol=1e-5)
        assert one[name]["state"].keys() == alone["state"].keys()
        for key, tensor in alone["state"].items():
            torch.testing.assert_close(one[name]["state"][key], tensor, rtol=0, atol=1e-4, msg=key)
    assert all(torch.equal(a, both[1][name]["state"][key]) for key, a in both[0][name]["state"].items())


def test_each_process_sees_its_own_share_of_the_images(both: list[dict[str, Any]]) -> None:
    alone = two_processes.train(two_processes.recipes()["mocov2"])["seen"]
    for step in range(two_processes.STEPS):
        shares = [one["mocov2"]["seen"][step] for one in both]
        assert torch.equal(torch.cat(shares), alone[step])
