"""Speed of fine-tuning: our step against a hand-written loop, and our views against torchvision's, in images a second.

    python benchmarks/finetune_speed.py --pairs 5 --keep

Both loops train the same network on the same batches with the same loss; ours is ``search.finetune.loop.train`` with
all it does (Lightning, layer-wise rates, average of the weights, curves), the other is ten lines of torch. They take
turns, so that whatever else the machine does meets both. Views: 64 pictures of 200x150 px from memory, each way once a
turn.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from results import Section, Table, keep
from torchvision import tv_tensors
from torchvision.transforms import v2

from search.evaluate.scores import Score
from search.finetune.loop import Plan, train
from search.labels.arrays import decode
from search.labels.inputs import Input
from search.labels.read import untold
from search.labels.samples import Sample, Samples
from search.labels.views import Views
from search.nets import NETS
from search.types import Architecture, Task
from zoo.heads.network import KINDS, make_network
from zoo.make.finetune import loss_of
from zoo.types import HeadCard, silent

PX, BATCH, STEPS = 128, 16, 12


def pictures(folder: Path, task: Task) -> Samples:
    rng = np.random.default_rng(0)
    samples = []
    for i in range(BATCH * STEPS):
        path = folder / f"{i}.png"
        Image.fromarray(rng.integers(0, 255, (150, 200, 3), dtype=np.uint8)).save(path)
        corner = rng.uniform(0, 100, (8, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(10, 50, (8, 2))], 1).astype(np.float32)
        known = {"boxes_M4": boxes, "labels_M": rng.integers(0, 3, 8)} if task is Task.DET else {"label": i % 3}
        samples.append(Sample(path=path, size_px=(200, 150), **known))
    return Samples(task=task, classes=("a", "b", "c"), samples=tuple(samples))


def network(task: Task):
    choices = ("k3_e1",) * 22
    backbone = NETS["mobile-photo"].build(Architecture(net="mobile-photo", choices=choices, resolution_px=PX))
    return make_network(backbone, HeadCard(kind=KINDS[task], task=task, classes=("a", "b", "c")), PX)


def by_hand(views: Views, task: Task) -> float:
    """The loop that a tutorial would write."""
    model = network(task).train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    begun = time.perf_counter()
    for step in range(STEPS):
        x_NCHW, targets = views.batch(0, range(step * BATCH, (step + 1) * BATCH))
        loss = loss_of(model, x_NCHW, targets)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
    return BATCH * STEPS / (time.perf_counter() - begun)


def by_us(views: Views, task: Task) -> float:
    plan = Plan(epochs=1, batch=BATCH, rate=1e-3, first_layers=0.1, patience=1)
    steps: list[float] = []

    def loss(model, x_NCHW, targets):
        steps.append(time.perf_counter())
        return loss_of(model, x_NCHW, targets)

    def judge(_):
        steps.append(time.perf_counter())
        return Score(values={"none": 1.0}, per_class=(), images=1)

    with tempfile.TemporaryDirectory() as work:
        train(network(task), loss, views, judge, plan, folder=Path(work), resume=False, progress=untold, say=silent)
    # From the first step's loss to the end of the last step, of which there is one fewer than of views.
    return BATCH * (STEPS - 1) / (steps[STEPS - 1] - steps[0])


def torchvisions(samples: Samples) -> float:
    """Views of the same kind, made picture by picture."""
    turn = v2.Compose(
        [
            v2.RandomPhotometricDistort(),
            v2.RandomZoomOut(fill=114, side_range=(1.0, 1.8), p=0.25),
            v2.RandomIoUCrop(min_scale=0.5),
            v2.RandomHorizontalFlip(),
            v2.Resize((PX, PX), antialias=True),
            v2.SanitizeBoundingBoxes(min_size=2),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )
    rows = []
    for one in samples.samples[:64]:
        with Image.open(one.path) as image:
            pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        boxes = tv_tensors.BoundingBoxes(torch.from_numpy(one.boxes_M4), format="XYXY", canvas_size=(150, 200))
        rows.append({"image": tv_tensors.Image(pixels), "boxes": boxes, "labels": torch.from_numpy(one.labels_M)})
    begun = time.perf_counter()
    for row in rows:
        turn(row)
    return len(rows) / (time.perf_counter() - begun)


def ours(views: Views) -> float:
    begun = time.perf_counter()
    for first in range(0, 64, BATCH):
        views.batch(1, range(first, first + BATCH))
    return 64 / (time.perf_counter() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--machine", default="")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows: dict[str, list[tuple[float, float]]] = {"step, det": [], "step, cls": [], "views, det": []}
    for task in (Task.DET, Task.CLS):
        with tempfile.TemporaryDirectory() as folder:
            samples = pictures(Path(folder), task)
            how = Input(
                size_px=(PX, PX), mean=(0.5,) * 3, std=(0.25,) * 3, fit="crop" if task is Task.CLS else "letterbox"
            )
            arrays = decode(samples, Input(**{**vars(how), "size_px": (160, 160)}), Path(folder), "t", told=untold)
            views = Views(arrays, how)
            by_hand(views, task)
            for _ in range(args.pairs):
                rows[f"step, {task}"].append((by_us(views, task), by_hand(views, task)))
                if task is Task.DET:
                    rows["views, det"].append((ours(views), torchvisions(samples)))
    table = []
    for name, pairs in rows.items():
        ratios = [a / b for a, b in pairs]
        best = [max(side) for side in zip(*pairs, strict=True)]
        spread = f"{np.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
        table.append([name, f"{best[0]:.0f}", f"{best[1]:.0f}", spread])
        print(*table[-1], sep="\t")
    if args.keep:
        section = Section(
            title="Speed of fine-tuning",
            order=61,
            command="python benchmarks/finetune_speed.py --pairs 5 --keep",
            machine=args.machine,
            date=datetime.now(UTC).date().isoformat(),
            text=(
                f"`mobile-photo`, kernel 3, expansion 1, {PX} px, batch {BATCH}: the step of `zoo finetune` against ten"
                " lines of torch with the same views, loss, clipping and AdamW; and our views against torchvision's of"
                " the same kind. Images a second are the best of all turns; ratios are of each pair, made beside other"
                " work."
            ),
            tables=[
                Table(
                    caption="Images a second",
                    columns=["what", "ours", "by hand, or torchvision's", "ratio: median (lowest-highest)"],
                    rows=table,
                )
            ],
        )
        keep("finetune_speed", section)


if __name__ == "__main__":
    main()
