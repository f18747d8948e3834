"""Is the training sound? A ResNet-18 by our pipeline and by a loop of lightly's own parts, epoch for epoch.

    pip install lightly
    python benchmarks/pipeline_parity.py --train DIR --test DIR --out parity.jsonl

SimCLR on the same images with the same first weights of the backbone, optimizer, schedule and number of epochs. Ours is
what `zoo pretrain` runs: views of whole batches as tensors, Lightning, our loss. The other is lightly's CIFAR example
for SimCLR with its transform on PIL images, its data set and loader, its projection head and its loss. After every few
epochs both backbones are judged alike: statistics recalibrated, weighted k-NN (k = 200) and a linear classifier. A
labelled set is a folder with one sub-folder a class; labels only judge.

Each run is a line of ``--out``; the same command goes on where it stopped. Without a GPU the network has a quarter of
its width and sees 16 px.
"""

import argparse
import copy
import math
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Callback
from runs import add_run, read_runs
from thin_resnet import NAME, ThinResNet18Net
from torch import nn

from search.evaluate import (
    Labelled,
    Preprocessing,
    embed,
    knn_accuracy,
    linear_accuracy,
    read_labelled,
    recalibrate_on,
)
from search.images.views import IMAGENET_MEAN, IMAGENET_STD
from search.nets import NETS, Backbone
from search.oneshot.fit import Job, do_job
from search.recipes import Recipe, Stage, recipe_for
from search.running import Running
from search.types import Architecture

try:
    from lightly.data import LightlyDataset
    from lightly.loss import NTXentLoss
    from lightly.models.modules import SimCLRProjectionHead
    from lightly.transforms import SimCLRTransform
except ModuleNotFoundError:
    raise SystemExit("this compares with lightly, which is not installed; pip install lightly") from None

ON_GPU = torch.cuda.is_available()
DEVICE = "cuda" if ON_GPU else "cpu"


@dataclass(frozen=True, kw_only=True)
class Run:
    """Accuracies 0..1 after each of ``epochs``."""

    pipeline: str
    seed: int
    epochs: list[int]
    knn: list[float]
    linear: list[float]
    seconds: float


class Judge:
    """Keeps what a network's features are worth after each of some epochs."""

    def __init__(self, train: Labelled, test: Labelled, args: argparse.Namespace) -> None:
        self._train, self._test, self._args = train, test, args
        self._preprocess = Preprocessing(size_px=args.resolution, mean=IMAGENET_MEAN, std=IMAGENET_STD)
        self.epochs: list[int] = []
        self.knn: list[float] = []
        self.linear: list[float] = []

    def look(self, backbone: Backbone, epoch: int) -> None:
        if epoch % self._args.every and epoch != self._args.epochs:
            return
        own = copy.deepcopy(backbone).cpu()
        recalibrate_on(own, self._train.pixels, self._preprocess)
        known, asked = (embed(own, part.pixels, self._preprocess) for part in (self._train, self._test))
        data = (known, self._train.labels, asked, self._test.labels)
        self.epochs.append(epoch)
        self.knn.append(round(knn_accuracy(*data), 4))
        self.linear.append(round(linear_accuracy(*data), 4))
        print(f"  epoch {epoch}: k-NN {self.knn[-1]:.1%}, linear {self.linear[-1]:.1%}", flush=True)


def recipe_of(args: argparse.Namespace, seed: int) -> Recipe:
    """SimCLR as lightly's CIFAR example has it: SGD 0.06, weight decay 5e-4, temperature 0.5, no blur."""
    recipe = recipe_for(NAME, "simclr", architecture=())
    return replace(
        recipe,
        epochs=args.epochs + 1e-6,  # not a step fewer by rounding
        batch=args.batch,
        weight_decay=5e-4,
        warmup=0.0,
        stages=(Stage(until=1.0, crop_px=args.resolution),),
        views=replace(recipe.views, crop_px=args.resolution, min_scale=0.08),
        seed=seed,
        precision="fp32",
    )


def ours(train: Labelled, judge: Judge, args: argparse.Namespace, seed: int) -> None:
    recipe, per_epoch = recipe_of(args, seed), len(train.pixels) // args.batch

    class Look(Callback):
        def on_train_batch_end(self, trainer: Any, module: Any, *rest: Any, **kwargs: Any) -> None:
            if trainer.global_step % per_epoch == 0:
                judge.look(module.training_module.model.backbone, trainer.global_step // per_epoch)

    with tempfile.TemporaryDirectory() as folder:
        job = Job(recipe=recipe, out=Path(folder), running=Running(checkpoint_steps=10**9))
        do_job(job, train.pixels, callbacks=[Look()])


def lightlys(train: Labelled, judge: Judge, args: argparse.Namespace, seed: int) -> None:
    recipe = recipe_of(args, seed)
    torch.manual_seed(seed)
    backbone = NETS[NAME].build(Architecture(net=NAME, choices=(), resolution_px=args.resolution))
    head = SimCLRProjectionHead(backbone.embedding_dim, recipe.hidden_dim, recipe.projection_dim)
    network = nn.Sequential(backbone, head).to(DEVICE, memory_format=torch.channels_last).train()
    v = recipe.views
    transform = SimCLRTransform(
        input_size=args.resolution,
        cj_strength=0.5,
        gaussian_blur=0.0,
        min_scale=v.min_scale,
        normalize={"mean": list(v.mean), "std": list(v.std)},
    )
    loader = torch.utils.data.DataLoader(
        LightlyDataset(str(args.train), transform=transform),
        batch_size=args.batch,
        shuffle=True,
        drop_last=True,
        num_workers=args.workers,
    )
    criterion = NTXentLoss(temperature=recipe.temperature)
    optimizer = torch.optim.SGD(
        network.parameters(), recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )
    steps = args.epochs * len(loader)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps)))
    for epoch in range(args.epochs):
        for (x0, x1), *_ in loader:
            z0, z1 = network(x0.to(DEVICE)), network(x1.to(DEVICE))
            optimizer.zero_grad()
            criterion(z0, z1).backward()
            optimizer.step()
            schedule.step()
        judge.look(backbone, epoch + 1)


PIPELINES = {"ours": ours, "lightly": lightlys}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--width", type=int, default=64 if ON_GPU else 16)
    parser.add_argument("--resolution", type=int, default=32 if ON_GPU else 16)
    parser.add_argument("--batch", type=int, default=512 if ON_GPU else 128)
    parser.add_argument("--epochs", type=int, default=200 if ON_GPU else 24)
    parser.add_argument("--every", type=int, default=20 if ON_GPU else 6, help="epochs between two looks")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=8 if ON_GPU else 0, help="processes that load lightly's images")
    args = parser.parse_args()

    NETS[NAME] = ThinResNet18Net(args.width)
    # 32 px images lose nothing; crops are cut from them by both.
    train, test = (read_labelled(folder, size_px=32) for folder in (args.train, args.test))
    names = ("width", "resolution", "batch", "epochs", "every")
    settings = {name: getattr(args, name) for name in names} | {"images": len(train.labels)}
    runs = read_runs(args.out, settings, Run)
    for seed in range(args.seeds):
        for pipeline, run in PIPELINES.items():
            if any((done.pipeline, done.seed) == (pipeline, seed) for done in runs):
                continue
            print(f"{pipeline}, seed {seed}", flush=True)
            judge, started = Judge(train, test, args), time.perf_counter()
            run(train, judge, args, seed)
            seconds = round(time.perf_counter() - started, 1)
            scores = {"epochs": judge.epochs, "knn": judge.knn, "linear": judge.linear}
            runs.append(Run(pipeline=pipeline, seed=seed, **scores, seconds=seconds))
            add_run(args.out, runs[-1])
    for metric in ("knn", "linear"):
        for pipeline in PIPELINES:
            means = np.mean([getattr(run, metric) for run in runs if run.pipeline == pipeline], axis=0)
            at = " ".join(f"{100 * mean:5.1f}" for mean in means)
            print(f"{metric:6} {pipeline:8} {at}   (epochs {' '.join(map(str, runs[0].epochs))}, {args.seeds} seeds)")


if __name__ == "__main__":
    main()
