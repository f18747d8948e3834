"""Whole models on labelled data: the zoo's weights against fresh ones and against torchvision's and timm's networks.

    python benchmarks/downstream.py --data DIR --task det --size-px 128 --images 6000 --out downstream.jsonl
    python benchmarks/downstream.py --times --task det --size-px 128 --out downstream.jsonl
    python benchmarks/downstream.py --out downstream.jsonl --keep

DIR is what ``zoo finetune --data`` takes, with folders ``train`` and ``test``. Every network is trained by the same
``zoo.make.finetune.fit`` with the same recipe on the same number of images; a fifth of ``train`` chooses the weights,
``test`` judges them once. What is in ``--out`` is not run again. ``--share`` takes 1 %, 10 % ... of ``train``.

Networks: ``zoo`` and ``zoo-e3`` (kernel 3 and expansion 1 or 3 of `mobile-photo-mocov2`), ``zoo-resnet`` and
``zoo-resnet-e3`` (of `resnet-photo-mocov2`, as fast), ``zoo-taught`` and ``zoo-taught-e3`` (the same two of
`resnet-photo-mocov2-taught`), ``fresh`` in place of ``zoo`` (the same without weights),
``resnet18``, ``mobilenet_v2``, ``mobilenet_v3_small`` or ``timm:NAME`` under the heads of this project, and
torchvision's own ``ssdlite`` (det) and ``lraspp`` (seg). None of the others has weights of ImageNet here.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
import torchvision
from results import RUNS, Section, Table, keep
from torch import Tensor, nn
from torchvision.models.detection import ssdlite320_mobilenet_v3_large
from torchvision.models.detection.image_list import ImageList
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.models.segmentation import lraspp_mobilenet_v3_large

from export.artefact import export
from export.formats.onnx_file import metadata_props
from export.targets import target_at
from hardware_profiles.runners import OnnxRunner
from search.finetune.losses import mask_loss
from search.images.synthesize import dead_leaves
from search.images.views import center
from search.labels.arrays import Targets
from search.labels.read import Split, cut, read_split
from search.nets import Backbone
from search.nets.heads import make_head
from search.supernet import Supernet
from search.types import Architecture, Task
from zoo.heads.network import KINDS, Network, make_network
from zoo.heads.predictions import by_onnx, by_torch, judge
from zoo.make.finetune import RATES, RESNET_CLASSIFIER, Recipe, fit, loss_of
from zoo.plots import new_figure, save_figure
from zoo.supernets import read_supernet
from zoo.types import HeadCard, no_progress, silent
from zoo.use.resolve import find_exportable

MOBILE, RESNET, TAUGHT = "mobile-photo-mocov2", "resnet-photo-mocov2", "resnet-photo-mocov2-taught"
# Networks of the zoo: every layer used, kernel 3 and expansion 1 or 3; and two ResNets as fast as these with a head.
SIZES: dict[str, tuple[str, tuple[str | int, ...]]] = {
    "": (MOBILE, ("k3_e1",) * 22),
    "-e3": (MOBILE, ("k3_e3",) * 22),
    "-resnet": (RESNET, (16, 12, 24, 48, 96, 1, 1, 2, 1)),
    "-resnet-e3": (RESNET, (32, 16, 48, 64, 96, 1, 4, 2, 3)),
    "-taught": (TAUGHT, (16, 12, 24, 48, 96, 1, 1, 2, 1)),
    "-taught-e3": (TAUGHT, (32, 16, 48, 64, 96, 1, 4, 2, 3)),
}
METRICS = {"det": ("mAP50", "mAP"), "seg": ("mIoU",), "cls": ("top-1",)}
# Nodes of torchvision's networks at strides 8, 16 and 32.
NODES = {
    "resnet18": {"layer2": "p3", "layer3": "p4", "layer4": "p5"},
    "mobilenet_v2": {"features.6": "p3", "features.13": "p4", "features.18": "p5"},
    "mobilenet_v3_small": {"features.3": "p3", "features.8": "p4", "features.12": "p5"},
}


@dataclass(frozen=True, kw_only=True)
class Run:
    data: str
    task: str
    size_px: int
    share: float
    images: int
    network: str
    rate: float
    first_layers: float
    seed: int
    epochs: int
    train_images: int
    test_images: int
    scores: dict[str, float]
    onnx_scores: dict[str, float] | None
    minutes: float


@dataclass(frozen=True, kw_only=True)
class Time:
    task: str
    size_px: int
    classes: int
    network: str
    ms: float
    params: int


class Maps(Backbone):
    """A network of torchvision or timm as a backbone: maps at strides 8, 16 and 32, embedding the mean of the last."""

    def __init__(self, name: str, size_px: int) -> None:
        super().__init__()
        if name.startswith("timm:"):
            import timm

            self.body = timm.create_model(name.removeprefix("timm:"), features_only=True)
            self.names = {str(i): f"p{int(math.log2(r))}" for i, r in enumerate(self.body.feature_info.reduction())}
        else:
            self.body = create_feature_extractor(torchvision.models.get_model(name), NODES[name])
            self.names = {}
        with torch.no_grad():
            maps = self.eval().features(torch.zeros(1, 3, size_px, size_px))
        self.channels = {key: value.shape[1] for key, value in maps.items()}
        self.embedding_dim = list(self.channels.values())[-1]

    def features(self, x_BCHW: Tensor) -> dict[str, Tensor]:
        found = self.body(x_BCHW)
        return found if isinstance(found, dict) else {self.names[str(i)]: one for i, one in enumerate(found)}

    def embed(self, map_BCHW: Tensor) -> Tensor:
        return map_BCHW.mean((2, 3))


class SSDLite(nn.Module):
    """Torchvision's detector; in use it gives boxes and scores of all anchors, as ours do."""

    def __init__(self, classes: int, size_px: int) -> None:
        super().__init__()
        self.model = ssdlite320_mobilenet_v3_large(
            weights=None, weights_backbone=None, num_classes=classes + 1, trainable_backbone_layers=6
        )
        self.model.transform = Whole(size_px)  # pictures come at their size, normalized
        self.size_px, self.eval_ = size_px, None
        with torch.no_grad():
            maps = list(self.model.eval().backbone(torch.zeros(1, 3, size_px, size_px)).values())
            anchors = self.model.anchor_generator(
                ImageList(torch.zeros(1, 3, size_px, size_px), [(size_px,) * 2]), maps
            )
        self.register_buffer("anchors_A4", anchors[0])

    def loss(self, x_NCHW: Tensor, targets: Targets) -> Tensor:
        rows = [
            {"boxes": boxes[labels >= 0], "labels": labels[labels >= 0] + 1}
            for boxes, labels in zip(targets.boxes_NM4, targets.labels_NM, strict=True)
        ]
        return sum(self.model(list(x_NCHW), rows).values())

    def forward(self, x_NCHW: Tensor) -> dict[str, Tensor]:
        found = self.model.head(list(self.model.backbone(x_NCHW).values()))
        size_A2 = self.anchors_A4[:, 2:] - self.anchors_A4[:, :2]
        center_A2 = self.anchors_A4[:, :2] + size_A2 / 2
        deltas = found["bbox_regression"]  # weights of the box coder: 10, 10, 5, 5
        center_NA2 = center_A2 + deltas[..., :2] / 10 * size_A2
        half_NA2 = size_A2 / 2 * (deltas[..., 2:] / 5).clamp(max=4.0).exp()
        boxes = torch.cat([center_NA2 - half_NA2, center_NA2 + half_NA2], -1).clamp(0, self.size_px)
        return {"boxes": boxes, "scores": found["cls_logits"].softmax(-1)[..., 1:]}


class Whole(nn.Module):
    """In place of a detector's own resizing: none."""

    def __init__(self, size_px: int) -> None:
        super().__init__()
        self.size_px = size_px

    def forward(self, images: list[Tensor], targets: object = None) -> tuple[ImageList, object]:
        return ImageList(torch.stack(images), [(self.size_px, self.size_px)] * len(images)), targets

    def postprocess(self, result: object, *_: object) -> object:
        return result


class LRASPP(nn.Module):
    """Torchvision's segmenter, logits at stride 8 as ours."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.model = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=classes)

    def forward(self, x_NCHW: Tensor) -> dict[str, Tensor]:
        return {"masks": self.model.classifier(self.model.backbone(x_NCHW))}


def make(name: str, task: Task, classes: tuple[str, ...], size_px: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    if name == "ssdlite":
        return SSDLite(len(classes), size_px)
    if name == "lraspp":
        return LRASPP(len(classes))
    kind, _, size = name.partition("-")
    if kind in ("zoo", "fresh"):
        supernet, choices = SIZES[f"-{size}" if size else ""]
        ready = read_supernet(supernet).supernet
        architecture = Architecture(net=ready.net.name, choices=choices, resolution_px=size_px)
        if kind == "fresh":
            backbone = ready.net.build(architecture)
        else:
            backbone = Supernet(card=ready.card, weights=ready.weights).subnet(architecture)
        return make_network(backbone, HeadCard(kind=KINDS[task], task=task, classes=classes), size_px, seed=seed)
    backbone = Maps(name, size_px)
    if task is Task.CLS:
        return Network(backbone, nn.Linear(backbone.embedding_dim, len(classes)), task)
    return Network(backbone, make_head(task, backbone.channels, len(classes), seed=seed), task)


def loss(network: nn.Module, x_NCHW: Tensor, targets: Targets) -> Tensor:
    if isinstance(network, SSDLite):
        return network.loss(x_NCHW, targets)
    if isinstance(network, LRASPP):
        return mask_loss(network(x_NCHW)["masks"], targets)
    return loss_of(network, x_NCHW, targets)


def preprocess(task: Task, size_px: int):
    card = find_exportable(MOBILE, architecture="smallest", say=silent, progress=no_progress).card
    fit_ = "crop" if task is Task.CLS else "letterbox"
    return replace(card.preprocess, size_px=(size_px, size_px), fit=fit_)


def fewer(split: Split, share: float, seed: int) -> Split:
    return split if share >= 1 else replace(split, train=cut(split.train, share, seed).val)


def run(args: argparse.Namespace, name: str, seed: int) -> Run:
    task = Task(args.task)
    split = fewer(read_split(args.data, task, seed=0), args.share, seed)  # the same pictures judge, whatever the seed
    first_layers = args.first_layers if name.startswith("zoo") else 1.0  # no first layer of the others is worth keeping
    network = make(name, task, split.train.classes, args.size_px, seed)
    epochs = max(1, round(args.images / len(split.train.samples)))
    how = preprocess(task, args.size_px)
    recipe = Recipe(
        epochs=epochs, patience=epochs, seed=seed, rate=args.rate, first_layers=first_layers, mirror=args.mirror
    )
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as work:
        fit(
            network,
            split,
            how,
            recipe,
            work=Path(work),
            loss=loss,
            progress=no_progress,
            say=print if args.watch else silent,
        )
        minutes = (time.monotonic() - begun) / 60
        score = judge(by_torch(network), split.test or split.val, how)
        onnx_scores = None
        if name.startswith("zoo"):
            report = exported(network, how, Path(work) / "model.onnx")
            with OnnxRunner(report.path, threads=1) as runner:
                onnx_scores = dict(judge(by_onnx(runner, report.target), split.test or split.val, how).values)
    return Run(
        **key_of(args, name, seed),
        epochs=epochs,
        train_images=len(split.train.samples),
        test_images=score.images,
        scores=dict(score.values),
        onnx_scores=onnx_scores,
        minutes=round(minutes, 2),
    )


def exported(network: nn.Module, how, path: Path):
    pixels = dead_leaves(8, how.size_px[0])
    return export(
        network.eval(),
        center(pixels, how.size_px[0], how.mean, how.std).contiguous(),
        target=target_at("edge", how.size_px[0]),
        path=path,
        metadata=metadata_props(how, name="model", net="any", architecture="[]"),
        predicted_ms=None,
        device="this",
        threads=1,
    )


def key_of(args: argparse.Namespace, name: str, seed: int) -> dict[str, object]:
    return {
        "data": args.data.name,
        "task": args.task,
        "size_px": args.size_px,
        "share": args.share,
        "images": args.images,
        "network": name,
        "rate": args.rate or usual_rate(name, args.task),
        "first_layers": args.first_layers if name.startswith("zoo") else 1.0,
        "seed": seed,
    }


def measure(args: argparse.Namespace, name: str) -> Time:
    task, classes = Task(args.task), tuple(str(i) for i in range(args.classes))
    network = make(name, task, classes, args.size_px, 0)
    with tempfile.TemporaryDirectory() as scratch:
        report = exported(network, preprocess(task, args.size_px), Path(scratch) / "model.onnx")
    assert report.measured is not None
    params = sum(p.numel() for p in network.parameters())
    return Time(
        task=args.task,
        size_px=args.size_px,
        classes=args.classes,
        network=name,
        ms=round(report.measured.median_ms, 4),
        params=params,
    )


def read(path: Path) -> tuple[list[Run], list[Time]]:
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
    return [Run(**row) for row in rows if "seed" in row], [Time(**row) for row in rows if "ms" in row]


def add(path: Path, row: Run | Time) -> None:
    line = json.dumps(asdict(row))
    print(line, flush=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def usual_rate(network: str, task: str) -> float:
    """That of `zoo finetune`, by the network's name here."""
    is_resnet = network.startswith(("zoo-resnet", "zoo-taught"))
    return RESNET_CLASSIFIER if is_resnet and task == "cls" else RATES[Task(task)]


def tables(runs: Sequence[Run], times: Sequence[Time]) -> list[Table]:
    """For each task the networks at the default rate, side by side; then the other rates that were tried."""
    made: list[Table] = []
    for task in METRICS:
        mine = [one for one in runs if one.task == task]
        usual = [one for one in mine if (one.rate, one.first_layers) == (usual_rate(one.network, task), 1.0)]
        for metric in METRICS[task] if usual else ():
            made.append(beside(usual, metric, f"{task}: {metric} in %, mean and deviation of seeds"))
        if tried := [one for one in mine if one not in usual]:
            made.append(listed(tried, f"{task}: other rates, and other rates of the first layers, in %"))
    if times:
        of = {(one.network, one.task, one.size_px): one for one in times}
        names = sorted({one.network for one in times}, key=lambda name: min(o.ms for o in times if o.network == name))
        kinds = sorted({(one.task, one.size_px) for one in times})
        rows = [
            [
                name,
                f"{max(one.params for one in times if one.network == name) / 1e6:.2f} M",
                *(f"{of[name, *kind].ms:.2f}" if (name, *kind) in of else "-" for kind in kinds),
            ]
            for name in names
        ]
        columns = ["network", "parameters", *(f"{task}, {px} px" for task, px in kinds)]
        caption = f"Milliseconds of whole models, {times[0].classes} classes"
        made.append(Table(caption=caption, columns=columns, rows=rows))
    return made


def beside(runs: Sequence[Run], metric: str, caption: str) -> Table:
    """A row a data set and share of its labels, a column a network."""
    networks = sorted({one.network for one in runs}, key=lambda name: (not name.startswith(("zoo", "fresh")), name))
    networks = sorted(networks, key=lambda name: name != "zoo")
    groups: dict[tuple[str, float, int], list[Run]] = defaultdict(list)
    for one in runs:
        groups[one.data, -one.share, one.images].append(one)
    rows: list[list[str | int | float | None]] = []
    for (data, share, images), several in sorted(groups.items()):
        cells = []
        for network in networks:
            scores = [one.scores[metric] for one in several if one.network == network]
            cells.append(f"{_mean(scores)} ({len(scores)})" if scores else "")
        apart = [abs(one.scores[metric] - one.onnx_scores[metric]) for one in several if one.onnx_scores]
        labels = f"{-100 * share:g} %: {several[0].train_images}"
        rows.append([data, labels, images, *cells, f"{100 * max(apart):.2f}" if apart else "-"])
    return Table(
        caption=f"{caption} (how many)",
        columns=["data", "labels", "images seen", *networks, "ONNX off by, points"],
        rows=rows,
    )


def listed(runs: Sequence[Run], caption: str) -> Table:
    """A row a data set, network and setting."""
    groups: dict[tuple[str, float, int, str, float, float], list[Run]] = defaultdict(list)
    for one in runs:
        groups[one.data, one.share, one.images, one.network, one.rate, one.first_layers].append(one)
    columns = ["data", "labels", "images seen", "network", "rate", "first layers", "seeds"]
    scores = [name for name in runs[0].scores if name != "top-5"]
    rows: list[list[str | int | float | None]] = [
        [
            data,
            f"{100 * share:g} %: {several[0].train_images}",
            images,
            network,
            f"{rate:g}",
            f"{first:g}",
            len(several),
            *(_mean([one.scores[name] for one in several]) for name in scores),
        ]
        for (data, share, images, network, rate, first), several in sorted(groups.items())
    ]
    return Table(caption=caption, columns=[*columns, *scores], rows=rows)


def _mean(values: Sequence[float]) -> str:
    spread = f" ± {100 * np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{100 * np.mean(values):.1f}{spread}"


def plot(runs: Sequence[Run], times: Sequence[Time], folder: Path) -> list[str]:
    """Score against measured milliseconds, a picture a task and a panel a data set; returns the files' names."""
    ms_of = {(one.task, one.size_px, one.network): one.ms for one in times}
    ms_of |= {(task, px, "fresh"): ms for (task, px, network), ms in ms_of.items() if network == "zoo"}
    made = []
    for task, metrics in METRICS.items():
        mine = [one for one in runs if one.task == task and one.share == 1]
        mine = [one for one in mine if (one.rate, one.first_layers) == (usual_rate(one.network, task), 1.0)]
        groups: dict[str, dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
        for one in mine:
            if one.images == min(o.images for o in mine) and (task, one.size_px, one.network) in ms_of:
                groups[one.data][one.network].append(one)
        if not groups:
            continue
        figure = new_figure(2.4 * len(groups), 2.6)
        for axis, (data, networks) in zip(
            figure.subplots(1, len(groups), squeeze=False)[0], groups.items(), strict=True
        ):
            for network, several in networks.items():
                at = ms_of[task, several[0].size_px, network]
                score = 100 * float(np.mean([one.scores[metrics[0]] for one in several]))
                axis.plot(at, score, "o" if network.startswith(("zoo", "fresh")) else "s")
                axis.annotate(network, (at, score), fontsize=6, xytext=(3, 3), textcoords="offset points")
            axis.set_title(data, fontsize=8)
            axis.set_xlabel("measured ms", fontsize=7)
            axis.margins(y=0.15)
            axis.set_xlim(0, 2 * max(ms_of[task, several[0].size_px, network] for network, several in networks.items()))
            axis.set_ylim(bottom=0)
            axis.tick_params(labelsize=6)
        figure.axes[0].set_ylabel(f"{metrics[0]}, %", fontsize=7)
        made.append(save_figure(figure, folder / f"downstream-{task}.svg").name)
    return made


def keep_section(args: argparse.Namespace) -> None:
    runs, times = read(args.out)
    pictures = plot(runs, times, RUNS)
    command = "python benchmarks/downstream.py --data DIR --task TASK --size-px PX --images N --out downstream.jsonl"
    section = Section(
        title="From labels to whole models",
        order=60,
        command=command,
        machine=args.machine,
        date=datetime.now(UTC).date().isoformat(),
        text="\n\n".join([args.text, *(f"![{name}](runs/{name})" for name in pictures)]),
        tables=tables(runs, times),
    )
    shutil.copyfile(args.out, RUNS / "downstream.jsonl")
    keep("downstream", section)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--task", choices=[str(task) for task in Task], default="det")
    parser.add_argument("--size-px", type=int, default=128)
    parser.add_argument("--images", type=int, default=6000, help="that a network sees")
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--networks", nargs="+", default=["zoo", "fresh"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--rate", type=float, help="the task's by default")
    parser.add_argument("--first-layers", type=float, default=Recipe().first_layers)
    parser.add_argument("--no-mirror", dest="mirror", action="store_false")
    parser.add_argument("--watch", action="store_true")
    parser.add_argument("--times", action="store_true")
    parser.add_argument("--classes", type=int, default=10, help="of --times")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--machine", default="")
    parser.add_argument("--text", default="")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.keep:
        keep_section(args)
        return
    for seed in args.seeds if not args.times else [0]:
        for name in args.networks:
            runs, times = read(args.out)
            if args.times:
                if (args.task, args.size_px, name) not in {(one.task, one.size_px, one.network) for one in times}:
                    add(args.out, measure(args, name))
            elif not any(key_of(args, name, seed).items() <= asdict(one).items() for one in runs):
                add(args.out, run(args, name, seed))


if __name__ == "__main__":
    main()
