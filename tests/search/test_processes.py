"""Lightning's processes train as one does, whoever starts them, and end together."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from search import ranks
from search.curve import METRICS
from search.errors import Preempted, TrainingError
from search.machines import Machines, machines_for, started_by
from search.objectives import OBJECTIVES
from search.oneshot.fit import CHECKPOINT
from search.supernet import WEIGHTS, load_supernet
from tests.search import two_processes
from tests.search.small_runs import checkpoint, equal, interrupt_at, tiny, train
from tests.search.small_supernets import no_file_above, stripes

ROOT = Path(__file__).parents[2]
OPTIONS = ("--net", "resnet", "--batch", "16", "--resolution", "16", "--norm-groups", "2", "--precision", "fp32", "-q")
QUIET = {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for i, image in enumerate(stripes(64, 32).permute(0, 2, 3, 1).numpy()):
        Image.fromarray(image).save(folder / f"{i}.png")
    return folder


def start(launcher: list[str], images: Path, out: Path, *more: str, **variables: str) -> subprocess.Popen[str]:
    command = [sys.executable, *launcher, "-m", "zoo", "pretrain", "--images", str(images), "-o", str(out), *OPTIONS]
    environment = {**os.environ, **QUIET, **variables}
    pipe = subprocess.PIPE
    return subprocess.Popen([*command, *more], cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True)


def ended(process: subprocess.Popen[str], timeout_s: float = 240) -> tuple[int, str]:
    _, said = process.communicate(timeout=timeout_s)
    return process.returncode, said


def free_port() -> str:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return str(listening.getsockname()[1])


@pytest.mark.slow
def test_lightning_torchrun_and_two_machines_train_as_one_process_does(images: Path, tmp_path: Path) -> None:
    epochs = ("--epochs", "2")
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", free_port()]
    runs = {
        "alone": [start([], images, tmp_path / "alone", *epochs)],
        "devices": [start([], images, tmp_path / "devices", *epochs, "--devices", "2")],
        "torchrun": [start(torchrun, images, tmp_path / "torchrun", *epochs)],
        "nodes": [
            start([], images, tmp_path / "nodes", *epochs, "--nodes", "2", NODE_RANK=node, **meeting)
            for node in ("0", "1")
        ],
    }
    for name, processes in runs.items():
        for process in processes:
            assert ended(process)[0] == 0, name
    curves = {name: np.genfromtxt(tmp_path / name / METRICS, delimiter=",", skip_header=1) for name in runs}
    weights = {name: load_supernet(tmp_path / name).weights for name in runs}
    assert len(curves["alone"]) == 8
    for name in ("devices", "torchrun", "nodes"):
        np.testing.assert_allclose(curves[name], curves["alone"], rtol=0, atol=1e-5)
        for key, tensor in weights["alone"].items():
            torch.testing.assert_close(weights[name][key], tensor, rtol=1e-3, atol=1e-4, msg=f"{name} {key}")
        files = [sorted(path.name for path in (tmp_path / run).iterdir()) for run in ("alone", name)]
        assert files[0] == files[1]


@pytest.mark.slow
def test_a_killed_rank_ends_the_others_in_one_line_and_the_run_is_resumed_to_the_same_weights(
    images: Path, tmp_path: Path
) -> None:
    options = ("--epochs", "5", "--checkpoint-every", "1", "--devices", "2")
    assert ended(start([], images, tmp_path / "whole", *options))[0] == 0
    out = tmp_path / "out"
    run = start([], images, out, *options)
    assert wait_for(out / CHECKPOINT)
    (other,) = psutil.Process(run.pid).children()
    other.send_signal(signal.SIGKILL)
    began = time.monotonic()
    code, said = ended(run)
    assert time.monotonic() - began < 30
    assert code == 1 and "another process ended before its time" in said and len(said.splitlines()) == 1, said
    assert ended(start([], images, out, *options, "--resume"))[0] == 0
    run = start([], images, tmp_path / "asked", *options)
    assert wait_for(tmp_path / "asked" / CHECKPOINT)
    run.send_signal(signal.SIGTERM)
    code, said = ended(run)
    if code:  # it may have been done already
        assert code == 143 and "--resume goes on from there" in said and len(said.splitlines()) == 1, said
        assert ended(start([], images, tmp_path / "asked", *options, "--resume"))[0] == 0
    files = [(tmp_path / name / WEIGHTS).read_bytes() for name in ("whole", "out", "asked")]
    assert files[0] == files[1] == files[2]


def cut_shard(images: Path, place: Path) -> Path:
    with tarfile.open(place / "a.tar", "w") as tar:
        tar.add(images, "images")
    (place / "a.tar").write_bytes((place / "a.tar").read_bytes()[:5000])
    return place / "a.tar"


def list_with_gaps(images: Path, place: Path) -> Path:
    (place / "list.txt").write_text(f"{images / '0.png'}\n{images / 'none.png'}\n")
    return place / "list.txt"


def nothing(images: Path, place: Path) -> Path:
    return images


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "options", "exit_code", "complaint"),
    [
        (cut_shard, [], 1, "is cut off"),
        (list_with_gaps, [], 1, "names 1 of 2 files that do not exist"),
        (nothing, ["--batch", "15", "--norm-groups", "1"], 2, "2 processes share the work, and batch is 15"),
        (nothing, ["--cache", "disk"], 1, "cannot be written (File too large); free"),
    ],
)
def test_what_cannot_be_trained_on_ends_every_rank_and_the_first_says_why(
    images: Path,
    tmp_path: Path,
    change: Callable[[Path, Path], Path],
    options: list[str],
    exit_code: int,
    complaint: str,
) -> None:
    ranked = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "ZOO_HOME": str(tmp_path / "home")}
    source = change(images, tmp_path)
    with no_file_above(20_000) if "disk" in options else nullcontext():
        runs = [
            start([], source, tmp_path / "out", *options, "--nodes", "2", NODE_RANK=rank, **ranked) for rank in "01"
        ]
    found = [ended(run) for run in runs]
    assert [code for code, _ in found] == [exit_code, exit_code], found
    assert complaint in found[0][1] and len(found[0][1].splitlines()) == 1 and found[1][1] == "", found


@pytest.mark.slow
def test_ranks_that_disagree_about_the_recipe_or_the_images_say_so_once_and_end(images: Path, tmp_path: Path) -> None:
    fewer = tmp_path / "fewer"
    shutil.copytree(images, fewer)
    (fewer / "63.png").write_bytes((fewer / "62.png").read_bytes())
    for others, folder, what in ((["--lr", "0.5"], images, "recipe"), ([], fewer, "images")):
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
        mine = start([], images, tmp_path / "out", "--nodes", "2", NODE_RANK="0", **meeting)
        other = start([], folder, tmp_path / "out", *others, "--nodes", "2", NODE_RANK="1", **meeting)
        found = [ended(run) for run in (mine, other)]
        assert [code for code, _ in found] == [1, 1], found
        assert f"ranks 0 and 1 disagree about the {what}; start all with the same command" in found[0][1]
        assert len(found[0][1].splitlines()) == 1 and found[1][1] == "", found


def wait_for(path: Path) -> bool:
    for _ in range(3600):
        if path.exists():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(
    ("signum", "error", "told"),
    [(signal.SIGTERM, Preempted, "asked to end after step 4, which is"), (signal.SIGINT, KeyboardInterrupt, None)],
)
def test_sigterm_and_ctrl_c_leave_a_checkpoint_of_the_step_they_came_in(
    signum: int, error: type[BaseException], told: str | None, tmp_path: Path
) -> None:
    pixels, handler = stripes(64, 20), signal.getsignal(signum)
    train(tiny(), pixels, tmp_path / "whole")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(error, match=told):
        interrupt_at(3, patch, lambda: os.kill(os.getpid(), signum))
        train(tiny(), pixels, tmp_path / "out", running={"checkpoint_steps": 100})
    assert signal.getsignal(signum) == handler
    assert checkpoint(tmp_path / "out")["global_step"] == 4
    train(tiny(), pixels, tmp_path / "out", resume=True, running={"checkpoint_steps": 100})
    assert equal(checkpoint(tmp_path / "out")["state_dict"], checkpoint(tmp_path / "whole")["state_dict"])


def test_what_torchrun_started_is_taken_and_nothing_else_may_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert started_by() is None and machines_for(None, None) == Machines() and machines_for(2, 3).count == 6
    for name, value in {"RANK": "0", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setattr("search.machines.TorchElasticEnvironment.detect", lambda: True)
    assert machines_for(None, None) == Machines(devices=2, nodes=2)
    with pytest.raises(TrainingError, match="2 processes on each of 2 machines were started, and 3 on each of 2 are"):
        machines_for(3, None)


def test_one_process_agrees_with_itself() -> None:
    ranks.require_same(1, "recipe")
    assert ranks.any_of(True) and not ranks.any_of(False) and ranks.agree(2.5) == 2.5


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes knows after 20 steps of every recipe."""
    folder = tmp_path_factory.mktemp("both")
    command = [sys.executable, "-W", "ignore", "-m", "tests.search.two_processes", str(folder), "1", "2"]
    other = subprocess.Popen(command, cwd=ROOT)
    two_processes.main(folder, 0, 2)
    assert other.wait() == 0
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("name", [*OBJECTIVES, "options"])
def test_two_processes_take_the_steps_of_one(both: list[dict[str, Any]], name: str) -> None:
    alone = two_processes.train(two_processes.recipes()[name])
    assert alone["moved"] > 1e-2  # a hundred times what is allowed
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
