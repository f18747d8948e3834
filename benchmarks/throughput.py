"""How fast does training go, and how much of the time goes to the images? The real loop: NNI, Lightning, all files.

    python benchmarks/throughput.py [--net mobile --net resnet] [--precision fp32 --precision bf16] [--steps 12]
    python benchmarks/throughput.py --net mobile-photo --precision fp32 --crop 64 --against CHECKOUT --rounds 5

``images_per_s`` counts each image once, though a step sees it twice and by three networks. ``input_share`` is the part
of a step in which the networks wait for their two views: picking the images, and cropping and coloring them, which
happens where the networks are. Medians over the steps after the first two. On a CPU, ``images_per_core_s`` and
``input_share`` are by the seconds that its cores spent, which other work hardly changes. With --against, this checkout
and another one take turns, a process each, and ``ratio`` is the median of this one's speed over the other's.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray

from search.nets import NETS
from search.oneshot.pretrain import pretrain
from search.oneshot.ssl import SSL
from search.recipes import Recipe, Stage

Times = NDArray[np.float64]
_WARM_UP = 2


def measure(recipe: Recipe, steps: int) -> dict[str, Any]:
    pixels = torch.randint(0, 256, (recipe.batch * steps, 3, 64, 64), dtype=torch.uint8)
    ended: list[Times] = []
    views: list[Times] = []
    two_views = SSL.two_views

    def timed(self: SSL, *args: Any) -> Any:
        started = now()
        made = two_views(self, *args)
        views.append(now() - started)
        return made

    with patch.object(SSL, "two_views", timed), tempfile.TemporaryDirectory() as folder:
        pretrain(recipe, pixels, Path(folder), name="timed", data={}, progress=lambda *_: ended.append(now()))
    # The last step is followed by a checkpoint, which is written before its end is told.
    steps_S2 = np.diff(ended, axis=0)[_WARM_UP - 1 : -1]
    wall_s, core_s = np.median(steps_S2, axis=0)
    input_s = np.median(views[_WARM_UP:-1], axis=0)
    on_gpu = torch.cuda.is_available()
    return {
        "images_per_s": round(recipe.batch / wall_s, 1),
        "images_per_core_s": None if on_gpu else round(recipe.batch / core_s, 1),
        "input_share": round(float(input_s[0] / wall_s if on_gpu else input_s[1] / core_s), 4),
    }


def now() -> Times:
    """Seconds by the clock, when all that was asked of a GPU is done, and by this process's cores."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return np.array([time.perf_counter(), time.process_time()])


def compare(checkout: Path, rounds: int) -> None:
    """The same command of this checkout and of another in turns; its first line of each round counts."""
    own = Path(__file__).parents[1]
    words = sys.argv[1:]
    options = [w for i, w in enumerate(words) if not {w, words[i - 1]} & {"--against", "--rounds"}]
    speeds: dict[Path, list[float]] = {own: [], checkout: []}
    for _ in range(rounds):
        for folder, found in speeds.items():
            command = [sys.executable, str(own / "benchmarks" / "throughput.py"), *options]
            env = os.environ | {"PYTHONPATH": str(folder.resolve())}
            done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
            found.append(json.loads(done.stdout.splitlines()[0])["images_per_core_s"])
    ratio = float(np.median(np.divide(speeds[own], speeds[checkout])))
    print(json.dumps({"here": speeds[own], "there": speeds[checkout], "ratio": round(ratio, 3)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", action="append", choices=[name for name, net in NETS.items() if net.shares_weights])
    parser.add_argument("--precision", action="append", choices=["fp32", "bf16", "fp16"])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--crop", type=int, default=16)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--against", type=Path, help="another checkout")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    if args.against:
        compare(args.against, args.rounds)
        return
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} CPU threads"
    for net in args.net or ["mobile", "resnet"]:
        for precision in args.precision or ["fp32", "bf16"]:
            stages = (Stage(until=1.0, crop_px=args.crop),)
            recipe = Recipe(
                net=net, epochs=1, batch=args.batch, queue=4 * args.batch, stages=stages, precision=precision
            )
            about = {"net": net, "precision": precision, "device": device, "batch": args.batch, "crop_px": args.crop}
            print(json.dumps(about | measure(recipe, args.steps)), flush=True)


if __name__ == "__main__":
    main()
