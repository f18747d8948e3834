"""SIGKILL at random moments of a push and of a pull: does the next try succeed, every time?

python benchmarks/hub_kills.py [--kills 20] [--seed 0]
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hub_round_trip import TOKEN, environment, files_in

from hub_faults import Fault  # isort: skip - hub_round_trip says where it is
from hub_package import make_package  # isort: skip
from hub_server import HubServer  # isort: skip

PUBLISHED = "acme/published"
PUSH = "import sys; from zoo.hub.push import push; push(sys.argv[1], sys.argv[2])"
PULL = "import sys, pathlib, zoo.hub.pull; zoo.hub.pull.pull_folder(sys.argv[2], pathlib.Path(sys.argv[1]))"


def run(code: str, folder: Path, repo: str, env: dict[str, str], kill_after_s: float | None = None) -> int:
    """The exit code of a process of its own; -9 where it was killed."""
    process = subprocess.Popen([sys.executable, "-c", code, str(folder), repo], env=env, stderr=subprocess.DEVNULL)
    try:
        return process.wait(kill_after_s)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def tries_again(what: str, folder: Path, repo: str, env: dict[str, str]) -> bool:
    """Whether the same succeeds now, in this process, which has imported everything already."""
    os.environ.update(env)
    from zoo.errors import ZooError
    from zoo.hub.pull import pull_folder
    from zoo.hub.push import push

    try:
        _ = push(folder, repo) if what == "push" else pull_folder(repo, folder, verify=True)
    except ZooError as error:
        print(f"{what} after a kill: {error}", file=sys.stderr)
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    moments = random.Random(asked.seed)
    counts = {what: {"killed": 0, "finished_before": 0, "next_try_failed": 0} for what in ("push", "pull")}
    with tempfile.TemporaryDirectory() as folder, HubServer({TOKEN: {"acme"}}) as server:
        scratch = Path(folder)
        package = make_package(scratch / "package", megabytes=5)
        server.faults.add(Fault(".", delay_s=0.1, times=10**9))  # the network takes most of the time, as it mostly does
        for what, code in (("push", PUSH), ("pull", PULL)):
            started = time.perf_counter()
            out = package if what == "push" else scratch / "first"
            if run(code, out, PUBLISHED, environment(server, scratch / f"{what}-first")) != 0:
                raise SystemExit(f"the {what} that nobody kills fails; nothing to measure")
            whole_s = time.perf_counter() - started
            for number in range(asked.kills):
                env = environment(server, scratch / f"{what}-{number}")
                repo = PUBLISHED if what == "pull" else f"acme/kill-{number}"
                out = package if what == "push" else scratch / f"out-{number}"
                # Nothing can break while libraries are imported, which takes the first third.
                killed = run(code, out, repo, env, kill_after_s=moments.uniform(0.3, 1.0) * whole_s) == -9
                killed &= what == "push" or not out.exists()  # a folder appears whole, at the very end
                counts[what]["killed" if killed else "finished_before"] += 1
                if killed:
                    counts[what]["next_try_failed"] += not tries_again(what, out, repo, env)
                there = server.files(repo) if what == "push" else files_in(out)
                assert there.keys() == server.files(PUBLISHED).keys(), there.keys()
    print(json.dumps({"seed": asked.seed, **counts}, indent=1))


if __name__ == "__main__":
    main()
