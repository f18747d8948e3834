"""Push and pull through the stand-in Hub: how long, byte-identical? And do many gets at once make one download?

python benchmarks/hub_round_trip.py [--megabytes 20] [--processes 8] [--gets 50]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "hub_server")]

from hub_package import make_package  # noqa: E402 - it lies with the tests
from hub_server import HubServer  # noqa: E402

REPO, TOKEN = "acme/round-trip", "hf_benchmark"
GET_OFTEN = f"import sys, zoo\nfor _ in range(int(sys.argv[1])): print(zoo.get({REPO!r}).folder)"


def environment(server: HubServer, home: Path) -> dict[str, str]:
    """Of a logged-in user with empty caches under ``home``."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    places = {"HF_ENDPOINT": server.url, "HF_HOME": str(home / "hf"), "ZOO_HOME": str(home / "zoo")}
    return {
        **kept,
        **places,
        "HF_TOKEN": TOKEN,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }


def files_in(folder: Path) -> dict[str, bytes]:
    """Contents by path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def round_trip(server: HubServer, scratch: Path, megabytes: float) -> dict[str, object]:
    """Push a package and pull it into an empty cache, in this process."""
    package = make_package(scratch / "package", megabytes=megabytes)
    os.environ.update(environment(server, scratch / "one"))
    from zoo.hub.pull import pull_folder
    from zoo.hub.push import push

    started = time.perf_counter()
    push(package, REPO)
    pushed = time.perf_counter()
    out = pull_folder(REPO, scratch / "out", verify=True)
    pulled = time.perf_counter()
    here = files_in(out)
    return {
        "megabytes": round(sum(map(len, here.values())) / 1e6, 1),
        "push_s": round(pushed - started, 2),
        "pull_s": round(pulled - pushed, 2),
        "byte_identical": here == server.files(REPO),
    }


def many_gets(server: HubServer, scratch: Path, processes: int, gets: int) -> dict[str, object]:
    """All processes start with the same empty cache."""
    server.requests.clear()
    shares = [gets // processes + (i < gets % processes) for i in range(processes)]
    started = time.perf_counter()
    running = [
        subprocess.Popen(
            [sys.executable, "-c", GET_OFTEN, str(share)],
            env=environment(server, scratch / "many"),
            stdout=subprocess.PIPE,
            text=True,
        )
        for share in shares
    ]
    folders = [line for process in running for line in process.communicate()[0].split()]
    downloads = server.asked("/resolve/", "GET")
    return {
        "gets": len(folders),
        "processes": processes,
        "failed": sum(process.returncode != 0 for process in running),
        "different_answers": len(set(folders)),
        "most_downloads_of_one_file": max((downloads.count(path) for path in downloads), default=0),
        "seconds": round(time.perf_counter() - started, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--gets", type=int, default=50)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, HubServer({TOKEN: {"acme"}}) as server:
        result = round_trip(server, Path(folder), asked.megabytes)
        result["concurrent"] = many_gets(server, Path(folder), asked.processes, asked.gets)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
