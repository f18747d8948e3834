"""Does training scale with the images? Generated folders and shards, and `zoo pretrain` on them as a user starts it.

    python benchmarks/scale.py jpegs    --work FOLDER    # 100,000 JPEGs of 500 px: 4 GB, and 1.2 GB of cache
    python benchmarks/scale.py photos   --work FOLDER    # 300 JPEGs of 12 megapixels
    python benchmarks/scale.py imagenet --work FOLDER    # 1,280 shards of 1,000 tiny JPEGs: 2.6 GB, decoded as needed

Of each: seconds of the first pass over the images, seconds from the command to the end of its first step once the cache
is filled, the resident memory of all its processes (summed every fifth of a second; pages that they share count once,
as PSS does), and the longest wait of a step for its images. Of ``jpegs`` also the images/s of the loader alone, beside
those that a step consumes. What has been generated is used again. ``--keep`` takes the results into the repository.
"""

import argparse
import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psutil
import torch
from PIL import Image
from results import RUNS, Section, Table, keep

import search.oneshot  # noqa: F401 - first
from hardware_profiles.measure.processor import processor
from search.images.feed import feed
from search.images.synthesize import dead_leaves
from search.oneshot.engine.loader import Loader
from search.oneshot.ssl import SSL
from search.recipes import Recipe
from search.types import Cache

KEPT = RUNS / "scale.jsonl"
WHAT = {
    "jpegs": "100,000 JPEGs of 500 px, `--cache disk`, 32 px",
    "photos": "300 photos of 12 megapixels, `--cache disk`, 32 px",
    "imagenet": "1,280,000 tiny JPEGs in 1,280 shards, `--cache none`, 16 px",
}
_STEPS, _BATCH = 60, 64
_PER_SHARD = 1000


@dataclass(frozen=True, kw_only=True)
class Kind:
    count: int
    size_px: tuple[int, int]
    shards: bool
    cache: Cache
    resolution_px: int  # of the training; the cache holds images of twice the side


KINDS = {
    "jpegs": Kind(count=100_000, size_px=(500, 500), shards=False, cache="disk", resolution_px=32),
    "photos": Kind(count=300, size_px=(4000, 3000), shards=False, cache="disk", resolution_px=32),
    "imagenet": Kind(count=1_280_000, size_px=(32, 32), shards=True, cache="none", resolution_px=16),
}


@dataclass(frozen=True, kw_only=True)
class Result:
    name: str
    images: int
    first_pass_s: float | None  # None: not recorded
    start_s: float | None
    memory_gib: float | None
    longest_wait_s: float | None
    loader_images_per_s: float | None
    step_images_per_s: float | None


def canvas() -> Image.Image:
    """From which all images are cut, so that making them takes no longer than encoding them."""
    pixels = dead_leaves(1, 1024, seed=0)[0].permute(1, 2, 0).numpy()
    return Image.fromarray(pixels).resize((4500, 4500), Image.Resampling.BILINEAR)


def encoded(whole: Image.Image, kind: Kind, rng: np.random.Generator) -> bytes:
    width, height = kind.size_px
    scale = 1 if width > 1000 else 6  # small images show as much as large ones
    x, y = (int(rng.integers(0, 4500 // scale - side)) for side in kind.size_px)
    out = io.BytesIO()
    source = whole if scale == 1 else _reduced(whole, scale)
    source.crop((x, y, x + width, y + height)).save(out, "JPEG", quality=85)
    return out.getvalue()


_small: dict[int, Image.Image] = {}


def _reduced(whole: Image.Image, scale: int) -> Image.Image:
    if scale not in _small:
        _small[scale] = whole.reduce(scale)
    return _small[scale]


def make(name: str, folder: Path) -> None:
    kind, rng = KINDS[name], np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    whole = canvas()
    if kind.shards:
        for shard in range(kind.count // _PER_SHARD):
            path = folder / f"{shard:05}.tar"
            if not path.exists():
                _write_shard(path, [encoded(whole, kind, rng) for _ in range(_PER_SHARD)])
        return
    for i in range(kind.count):
        path = folder / f"{i // 1000:03}" / f"{i:06}.jpg"
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            path.write_bytes(encoded(whole, kind, rng))


def _write_shard(path: Path, images: list[bytes]) -> None:
    draft = path.with_suffix(".writing")
    with tarfile.open(draft, "w") as tar:
        for i, data in enumerate(images):
            about = tarfile.TarInfo(f"{path.stem}{i:04}.jpg")
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
    draft.replace(path)


def measure(name: str, work: Path) -> Result:
    kind = KINDS[name]
    make(name, work / name)
    home = work / f"home-{name}"
    first_s, _, _ = train(name, work, home)
    start_s, memory_bytes, images_per_s = train(name, work, home)
    rate, wait_s = load(name, work, home)
    return Result(
        name=name,
        images=kind.count,
        first_pass_s=round(first_s - start_s, 1),
        start_s=round(start_s, 1),
        memory_gib=round(memory_bytes / 2**30, 2),
        longest_wait_s=round(wait_s, 3),
        loader_images_per_s=round(rate, 1),
        step_images_per_s=images_per_s,
    )


def train(name: str, work: Path, home: Path) -> tuple[float, int, float]:
    """Seconds to the end of the first step, the most memory, and images/s as the command itself tells them."""
    kind, out = KINDS[name], work / f"out-{name}"
    shutil.rmtree(out, ignore_errors=True)
    batch = min(_BATCH, kind.count)
    epochs = _STEPS / (kind.count // batch)
    command = [sys.executable, "-m", "zoo", "pretrain", "--images", str(work / name), "-o", str(out), "--net", "resnet"]
    command += ["--cache", kind.cache, "--resolution", str(kind.resolution_px), "--epochs", f"{epochs + 1e-6:.8f}"]
    began, first_s, most = time.perf_counter(), None, 0
    environment = {**os.environ, "ZOO_HOME": str(home), "PYTHONWARNINGS": "ignore"}
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=said)
        while process.poll() is None:
            most = max(most, memory_bytes(process.pid))
            if first_s is None and _lines(out / "metrics.csv") > 1:
                first_s = time.perf_counter() - began
            time.sleep(0.2)
        said.seek(0)
        text = said.read()
    if process.returncode or first_s is None:
        raise SystemExit(text)
    found = re.search(r"([\d.]+) images/s; ", text)
    return first_s, most, float(found[1]) if found else float("nan")


def memory_bytes(pid: int) -> int:
    """Resident, of a process and all that it started; pages that they share count once."""
    total = 0
    try:
        for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += process.memory_full_info().pss
    except psutil.Error:
        pass
    return total


def load(name: str, work: Path, home: Path) -> tuple[float, float]:
    """Images/s of the loader alone, and its longest wait for a batch after the first."""
    kind = KINDS[name]
    size_px = 2 * kind.resolution_px
    pixels = feed(work / name, size_px=size_px, crop_px=1, cache=kind.cache, folder=home / "images").pixels
    assert not isinstance(pixels, torch.Tensor)
    recipe = Recipe(epochs=1, batch=_BATCH, queue=_BATCH, net="resnet")
    ssl = SSL(recipe, pixels)
    loader = Loader(pixels, ssl.rows, parts=1, workers=2)
    waits = []
    for step in range(3 * _STEPS):
        began = time.perf_counter()
        loader.take(step, 0)
        waits.append(time.perf_counter() - began)
    return _BATCH * (len(waits) - 1) / sum(waits[1:]), max(waits[1:])


def _lines(path: Path) -> int:
    return path.read_text("utf-8").count("\n") if path.exists() else 0


def section() -> Section:
    found = [Result(**json.loads(line)) for line in KEPT.read_text("utf-8").splitlines()]
    rows: list[list[str | int | float | None]] = [
        [
            WHAT[one.name],
            one.first_pass_s,
            one.start_s,
            one.memory_gib,
            one.loader_images_per_s,
            one.step_images_per_s,
            one.longest_wait_s,
        ]
        for one in sorted(found, key=lambda one: list(WHAT).index(one.name))
    ]
    columns = ["images", "first pass, s", "start, s", "memory, GiB", "loader, images/s", "step, images/s", "wait, s"]
    return Section(
        title="Training that scales with the images",
        order=61,
        command="python benchmarks/scale.py jpegs photos imagenet --work FOLDER --keep",
        machine=f"{processor()}, torch, 1 thread, fp32, beside other work",
        date=datetime.now(UTC).date().isoformat(),
        text="Generated images, `resnet`. Start: from the command to the end of its first step, with the cache filled"
        " or the shards known; memory: of all its processes, shared pages once; the loader alone has two workers;"
        " wait: its longest for a batch. Of the first two a few numbers were not recorded.",
        tables=[Table(caption="", columns=columns, rows=rows)],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--work", type=Path, help="where the images are generated")
    parser.add_argument("--keep", action="store_true")
    args = parser.parse_args()
    if unknown := set(args.kinds) - set(KINDS):
        parser.error(f"no kind {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    if args.kinds and args.work is None:
        parser.error("name a folder for the images with --work")
    known = {json.loads(line)["name"]: line for line in KEPT.read_text("utf-8").splitlines()} if KEPT.exists() else {}
    for name in args.kinds:
        known[name] = json.dumps(asdict(measure(name, args.work)))
        print(known[name], flush=True)
        if args.keep:
            KEPT.write_text("\n".join(known.values()) + "\n", "utf-8")
    if args.keep:
        keep("scale", section())


if __name__ == "__main__":
    main()
