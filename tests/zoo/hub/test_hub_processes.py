"""Many processes at once, and processes that are killed."""

import subprocess
import sys
import time
from pathlib import Path

from tests.hub_server.hub_faults import Fault
from tests.hub_server.hub_server import HubServer
from tests.zoo.hub.hub_names import ADDRESS, REPO
from zoo.hub.fetch import fetch
from zoo.package.card import read_manifest
from zoo.package.manifest import read_checked

WORKER = Path(__file__).with_name("fetch_worker.py")
ROOT = Path(__file__).parents[3]


def start(what: str, argument: object) -> "subprocess.Popen[str]":
    command = [
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import runpy;"
        f" sys.argv = ['w', {what!r}, {str(argument)!r}]; runpy.run_path({str(WORKER)!r}, run_name='__main__')",
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def is_whole(server: HubServer) -> bool:
    """Whether the cache has the package, each file as its manifest says."""
    fetched = fetch(ADDRESS)
    _, manifest = read_manifest(fetched.folder)
    return all(read_checked(fetched.folder, file, manifest) for file in fetched.files)


def test_twelve_gets_in_three_processes_are_one_download(published: HubServer) -> None:
    published.faults.add(Fault("/resolve/.*onnx", "GET", delay_s=0.3, times=100))
    workers = [start("fetch", 4) for _ in range(3)]
    outputs = [worker.communicate(timeout=120) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0], outputs
    assert len({line for out, _ in outputs for line in out.split()}) == 1
    asked = published.asked("/resolve/", "GET")
    assert len(asked) == len(set(asked)) == 6
    assert is_whole(published)


def kill_at_request(server: HubServer, worker: "subprocess.Popen[str]", count: int) -> None:
    """SIGKILL when the server has seen that many requests, or at the end."""
    deadline = time.monotonic() + 60
    while len(server.requests) < count and worker.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    worker.kill()
    worker.communicate()


def test_a_killed_pull_leaves_nothing_that_hurts_the_next_one(published: HubServer) -> None:
    published.faults.add(Fault("/resolve/", "GET", delay_s=0.02, times=1000))
    for count in (3, 7, 11):
        published.requests.clear()
        kill_at_request(published, start("fetch", 1), count)
    assert is_whole(published)


def test_a_killed_push_leaves_nothing_that_hurts_the_next_one(server: HubServer, pristine: Path) -> None:
    server.faults.add(Fault(".", delay_s=0.02, times=1000))
    for count in (2, 7, 14):
        server.requests.clear()
        kill_at_request(server, start("publish", pristine), count)
    last = start("publish", pristine)
    out, err = last.communicate(timeout=60)
    assert last.returncode == 0, err
    assert out.strip() in {f"{REPO}@v{i}" for i in range(1, 5)}
    assert is_whole(server)
    assert server.files(REPO, out.strip().partition("@")[2]) == server.files(REPO)
