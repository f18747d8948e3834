"""Job: train one network and ask it every set; what is done is on the disk, and is not done again."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path

import torch
from filelock import FileLock
from torch import nn

from hardware_profiles import count_compute, find_costs
from hardware_profiles.fit.count import count_layers
from hardware_profiles.fit.price import price_layers
from hardware_profiles.types import CostModel
from search.errors import BadSupernet, Preempted, TrainingError
from search.evaluate import (
    Labelled,
    Preprocessing,
    embed,
    knn_accuracy,
    linear_accuracy,
    read_labelled,
    recalibrate_on,
)
from search.images.feed import Pixels, feed
from search.nets import TRAINED, Backbone
from search.nets.handcrafted import SMALL_PX, HandcraftedBackbone
from search.nets.mobile import MobileBackbone
from search.nets.resnet import ResNetBackbone
from search.oneshot.pretrain import pretrain
from search.recipes import Recipe, Stage, recipe_for
from search.running import Running
from search.study.plan import Job, LabelledSet, Outcome, Protocol, Row, family_of, write_answer
from search.supernet import CARD, Supernet, load_supernet
from search.types import Architecture

_OVERSIZE = 2  # crops are cut from images this many times larger than they are
# The form of a net for photos of four times the side; weights have the same names and shapes.
_PHOTO_NETS = {"mobile": "mobile-photo"}


def do(job: Job) -> tuple[Outcome, ...]:
    """Whatever can be answered is; the rest has reasons.

    Raises:
        Preempted: the process was asked to end; the training goes on where it was.
    """
    torch.set_num_threads(job.threads)
    job.folder.mkdir(parents=True, exist_ok=True)
    # A killed command's last job may still be at work.
    with FileLock(job.folder / ".lock"):
        missing = job.missing
        if not missing:
            return ()
        try:
            network = _trained(job)
            costs = _costs(job.architecture, job.protocol)
        except Preempted:
            raise
        except Exception as error:
            return tuple(Outcome(set=one.name, told="", reason=_said(error)) for one in missing)
        return tuple(_asked(job, network, costs, one) for one in missing)


def _asked(job: Job, network: Supernet, costs: Row, one: LabelledSet) -> Outcome:
    try:
        row = _answer(job, network, costs, one)
        write_answer(job.out, row)
    except Exception as error:
        return Outcome(set=one.name, told="", reason=_said(error))
    return Outcome(set=one.name, told=f"k-NN {100 * (row.knn or 0):.1f} %, linear {100 * (row.linear or 0):.1f} %")


def _said(error: Exception) -> str:
    """On one line, with the type's name where the error was not written for people."""
    text = " ".join(str(error).split())
    return (
        text
        if type(error).__module__.startswith(("search", "hardware_profiles"))
        else f"{type(error).__name__}: {text}"
    )


def _trained(job: Job) -> Supernet:
    """The network as it was saved, so that a second look at it sees the same as the first."""
    try:
        if not (job.folder / CARD).exists():
            p = job.protocol
            pixels = _pixels(p.images, p.resolution_px, job.out)
            data = {"folder": Path(p.images).name}
            running = Running(checkpoint_steps=100)
            pretrain(
                recipe_of(job, len(pixels)), pixels, job.folder, name=job.name, data=data, running=running, resume=True
            )
            shutil.rmtree(job.folder / "checkpoints")
        return load_supernet(job.folder)
    except (TrainingError, BadSupernet):  # the same again, if it went on from here
        shutil.rmtree(job.folder, ignore_errors=True)
        raise


def recipe_of(job: Job, images: int) -> Recipe:
    """How the network is trained: the objective's own recipe at the study's size."""
    p, net = job.protocol, job.architecture.net
    recipe = recipe_for("mobile", p.objective)
    scale = p.resolution_px / recipe.resolution_px
    stages = tuple(Stage(until=s.until, crop_px=max(8, round(s.crop_px * scale))) for s in recipe.stages)
    return replace(
        recipe,
        net=net,
        architecture=job.architecture.choices,
        batch=p.batch,
        queue=recipe.queue // p.batch * p.batch or (p.batch if recipe.queue else 0),
        epochs=(p.images_seen // p.batch + 0.5) / (images // p.batch),  # not a step fewer by rounding
        stages=stages,
        views=replace(recipe.views, crop_px=p.resolution_px),
        seed=p.seed,
    )


@lru_cache(maxsize=1)
def _pixels(images: str, resolution_px: int, out: Path) -> Pixels:
    with FileLock(out / ".images.lock"):
        return feed(images, size_px=_OVERSIZE * resolution_px, crop_px=resolution_px, folder=out / "images").pixels


def _labelled(one: LabelledSet, p: Protocol) -> tuple[Labelled, Labelled]:
    """What the classifiers know, and what they are asked; small images are read once."""
    read = _read_sets if p.resolution_px <= SMALL_PX else _read_sets.__wrapped__
    return read(Path(one.folder), p.resolution_px, p.limit)


@lru_cache(maxsize=32)
def _read_sets(folder: Path, size_px: int, limit: int | None) -> tuple[Labelled, Labelled]:
    known = read_labelled(folder / "train", size_px=size_px, limit=limit)
    return known, read_labelled(folder / "test", size_px=size_px, limit=limit, classes=known.classes)


def _answer(job: Job, network: Supernet, costs: Row, one: LabelledSet) -> Row:
    card, p = network.card, job.protocol
    known, asked = _labelled(one, p)
    preprocess = Preprocessing(size_px=p.resolution_px, mean=card.mean, std=card.std)
    backbone = network.subnet(job.architecture)
    recalibrate_on(backbone, known.pixels, preprocess, seed=p.seed)
    data = (
        embed(backbone, known.pixels, preprocess),
        known.labels,
        embed(backbone, asked.pixels, preprocess),
        asked.labels,
    )
    return replace(
        costs,
        variant=job.name,
        family=family_of(job.name),
        set=one.name,
        source=one.source,
        classes=len(known.classes),
        train=len(known.labels),
        test=len(asked.labels),
        knn=round(knn_accuracy(*data), 4),
        linear=round(linear_accuracy(*data, seed=p.seed), 4),
    )


def _costs(architecture: Architecture, p: Protocol) -> Row:
    """A row with what the network costs alone."""
    net = TRAINED[architecture.net]
    photo_net = _PHOTO_NETS.get(net.name, net.name) if p.resolution_px <= SMALL_PX else net.name
    at_photos = replace(architecture, net=photo_net, resolution_px=p.priced_px)
    with torch.device("meta"):
        backbone, whole = net.build(architecture), TRAINED[photo_net].build(at_photos)
    model = _cost_model(p.device)
    layers = count_layers(whole, [(3, p.priced_px, p.priced_px)])
    return Row(
        variant="",
        set="",
        params=_params(backbone),
        early_params=early_params(backbone),
        macs=count_compute(backbone, (1, 3, p.resolution_px, p.resolution_px)).macs,
        ms=round(model.overhead_ms + price_layers(model, layers), 4),
    )


@cache
def _cost_model(device: str) -> CostModel:
    model = find_costs(device)
    if model is None:
        raise ValueError(f"{device} has no cost model that prices any network; take a device that `fit-public` made")
    return model


def early_params(backbone: Backbone) -> int:
    """Parameters of the stem and of what makes the first two maps of four."""
    if isinstance(backbone, HandcraftedBackbone | ResNetBackbone):
        return _params(backbone.stem, *backbone.stages[:2])
    assert isinstance(backbone, MobileBackbone)
    late = [i for i, (_, c_out, _) in enumerate(backbone.strides.layers) if c_out > 32]
    return _params(backbone.stem, *backbone.layers[: late[0]])


def _params(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())
