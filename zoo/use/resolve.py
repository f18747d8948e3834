"""Resolve: what a name or a folder means, networks of a supernet or the one of a package, ready to be used."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from export.types import Preprocess
from hardware_profiles.plain_text import read_plain_json
from hardware_profiles.types import DeviceProfile
from search.evaluate import Preprocessing
from search.images.views import center
from search.nets import NETS, Backbone, Net
from search.recalibrate import batches, recalibrate
from search.supernet import CARD as SUPERNET_CARD
from search.types import Architecture, Task
from zoo.catalogue.get import get
from zoo.catalogue.list import nearest_models
from zoo.catalogue.locate import as_folder, locate, on_hub
from zoo.devices.tables import this_device
from zoo.errors import BadCheckpoint, BadName, BadRequest, UnknownName
from zoo.heads.network import Network
from zoo.home import commit, zoo_version
from zoo.names import nearest, parse_name, shown
from zoo.package.card import read_manifest
from zoo.package.folder import Attachment, load_package
from zoo.package.history import CURVE, HISTORY
from zoo.supernets import Ready, read_supernet, supernet_folder, supernet_folders
from zoo.types import Images, ModelCard, Progress, Provenance, Say


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Networks to judge.

    Args:
        name: of the supernet or the package.
        networks: by the name that a table gives them.
        preprocess: how all of them take images.
        cut: makes one of them.
        calibrated: ``cut`` delivers the running statistics with which the network is used; where not, they are to be
            measured.
    """

    name: str
    networks: Mapping[str, Architecture]
    preprocess: Preprocessing
    cut: Callable[[Architecture], Backbone]
    calibrated: bool


def find_subject(
    what: str | Path,
    *,
    subnets: int,
    architectures: Sequence[str],
    seed: int,
    progress: Progress,
    say: Say,
) -> Subject:
    """The supernet or the package that ``what`` names.

    Args:
        what: name or folder of a supernet; else whatever ``zoo.get`` takes.
        subnets: random networks of a supernet, besides its largest and its smallest.
        architectures: choices of networks in place of those, as ``read_choices`` takes them.
        seed: of the random ones.
        progress: called with (stage, done, all) where a package has to be fetched or made.
        say: receives what happens then.

    Raises:
        BadRequest: architectures of a package.
        BadArchitecture: the net has no such network.
        UnknownName: nothing has that name.
    """
    if supernet_folder(str(what)) is not None:
        return _of_supernet(what, subnets, architectures, seed)
    if architectures:
        raise BadRequest(f"--architecture names networks of a supernet, and {shown(str(what))} is none; leave it out")
    _check_name(what)
    model = get(what, progress=progress, say=say)
    how = model.card.preprocess
    return Subject(
        name=model.card.name,
        networks={"package": model.architecture},
        preprocess=Preprocessing(size_px=model.resolution_px, mean=how.mean, std=how.std),
        cut=lambda _: model.backbone,
        calibrated=True,
    )


def untrained(architecture: Architecture, seed: int) -> Backbone:
    """The same network with fresh weights, in eval mode; its running statistics are to be measured."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NETS[architecture.net].build(architecture).eval()


def read_choices(text: str, net: Net, resolution_px: int) -> Architecture:
    """The network whose options, in the order of the net's choices, are the words of ``text``.

    Raises:
        BadArchitecture: the net has no such network.
    """
    words = text.replace(",", " ").split()
    known = [{str(option): option for option in choice.options} for choice in net.space]
    options = tuple(options.get(word, word) for options, word in zip(known, words, strict=False))
    architecture = Architecture(net=net.name, choices=options + tuple(words[len(known) :]), resolution_px=resolution_px)
    net.check(architecture)
    return architecture


def _check_name(what: str | Path) -> None:
    """Before a word with a typing error is taken for a question and refused without the names of supernets."""
    if as_folder(what) is not None or on_hub(what) is not None:
        return
    try:
        parse_name(str(what))
    except BadName:
        known = nearest(str(what), [*supernet_folders(), *nearest_models(str(what))])
        raise UnknownName(f"no supernet or package is called {shown(str(what))}; nearest: {', '.join(known)}") from None


def _of_supernet(what: str | Path, subnets: int, architectures: Sequence[str], seed: int) -> Subject:
    supernet = read_supernet(what).supernet
    card, net, px, rng = supernet.card, supernet.net, supernet.card.resolution_px, np.random.default_rng(seed)
    if architectures:
        networks = {text: read_choices(text, net, px) for text in architectures}
    elif net.size == 1:
        networks = {"only": net.largest(px)}
    else:
        networks = {"largest": net.largest(px), "smallest": net.smallest(px)}
        networks |= {f"random {i}": net.random(px, rng) for i in range(subnets)}
    return Subject(
        name=card.name,
        networks=networks,
        preprocess=Preprocessing(size_px=px, mean=card.mean, std=card.std),
        cut=supernet.subnet,
        calibrated=False,
    )


# ruff: noqa: N806 - a tensor's name ends in its shape.


@dataclass(frozen=True, kw_only=True, eq=False)
class Exportable:
    """A network to export.

    Args:
        backbone: in eval mode.
        card: what is known of it; its reports, if any, are of earlier artefacts.
        is_calibrated: whether its normalization statistics are of images already.
        network: backbone and head, of a whole model.
        history: how it was found and trained, to travel with what is made of it.
    """

    backbone: Backbone
    card: ModelCard
    is_calibrated: bool
    network: Network | None = None
    history: tuple[Attachment, ...] = ()

    def at(self, resolution_px: int, pixels: Tensor) -> Exportable:
        """The network at a resolution; with new statistics where it never had any, or had them at another one."""
        card = self.card
        if self.is_calibrated and resolution_px == card.architecture.resolution_px:
            return self
        how = card.preprocess
        network = copy.deepcopy(self.network)
        backbone = copy.deepcopy(self.backbone) if network is None else network.backbone
        x_NCHW = center(pixels, resolution_px, how.mean, how.std)
        chosen = batches(len(x_NCHW), resolution_px, resolution_px)
        recalibrate(backbone if network is None else network, (x_NCHW[rows] for rows in chosen))
        card = replace(
            card,
            architecture=replace(card.architecture, resolution_px=resolution_px),
            preprocess=replace(how, size_px=(resolution_px, resolution_px)),
            evaluation=(),
            reports=(),
            split=None,
        )
        return Exportable(backbone=backbone, card=card, is_calibrated=True, network=network)

    def predicted_ms(self, device: DeviceProfile) -> float | None:
        """What the table said of it for ``device``, where it was asked."""
        same = (one for one in self.card.reports if one.device == device.id and one.threads == device.threads)
        return next((one.predicted_ms for one in same if one.predicted_ms is not None), None)


def find_exportable(source: str | Path, *, architecture: str | None, say: Say, progress: Progress) -> Exportable:
    """The network that ``source`` means.

    Args:
        source: a package's folder, a name, or the folder or name of a supernet.
        architecture: of a supernet: ``largest``, ``smallest``, or its choices as a JSON list.
        say: receives one line for each thing that happened.
        progress: called with (stage, done, all).

    Raises:
        BadCheckpoint: a supernet without an architecture, or a package with one.
        BadArchitecture: the supernet has no such network.
        UnknownName: nothing has that name.
    """
    if (Path(source) / SUPERNET_CARD).is_file() or str(source) in supernet_folders():
        if architecture is None:
            raise BadCheckpoint(f"{source} holds many networks; name one with --architecture largest, smallest or JSON")
        return _from_checkpoint(read_supernet(source), architecture)
    if architecture is not None:
        raise BadCheckpoint(f"{source} is one network already; leave --architecture out")
    model = load_package(locate(source, say=say, progress=progress))
    _, manifest = read_manifest(model.folder)
    history = tuple(Attachment(path=file, source=model.folder / file) for file in (HISTORY, CURVE) if file in manifest)
    return Exportable(
        backbone=model.backbone, card=model.card, is_calibrated=True, network=model.network, history=history
    )


def _from_checkpoint(ready: Ready, text: str) -> Exportable:
    about = ready.supernet.card
    chosen = _architecture(ready, text)
    backbone = ready.supernet.subnet(chosen)
    side_px = about.resolution_px
    card = ModelCard(
        name=f"{about.name}-{text if text in ('largest', 'smallest') else 'subnet'}",
        architecture=chosen,
        task=Task.CLS,
        recipe=Provenance(
            supernet=about.name,
            supernet_sha256=ready.sha256,
            supernet_recipe=json.loads(json.dumps(dict(about.recipe))),
            supernet_data=json.loads(json.dumps(dict(about.data))),
            device=this_device(),
            table_validation=None,
            seed=0,
            evaluated=0,
            seconds=0.0,
            tries=(),
        ),
        preprocess=Preprocess(size_px=(side_px, side_px), mean=about.mean, std=about.std),
        reports=(),
        evaluation=(),
        license="apache-2.0",
        images=Images(count=0, skipped=0, fingerprint="none: named by hand, not searched"),
        commit=commit(),
        zoo_version=zoo_version(),
    )
    return Exportable(backbone=backbone, card=card, is_calibrated=False)


def _architecture(ready: Ready, text: str) -> Architecture:
    net, px = ready.supernet.net, ready.supernet.card.resolution_px
    if text == "largest":
        return net.largest(px)
    if text == "smallest":
        return net.smallest(px)
    try:
        choices = read_plain_json(text)
    except ValueError:
        choices = None
    if not isinstance(choices, list):
        raise BadCheckpoint(f"architecture {shown(text)} is not largest, smallest or a JSON list of {len(net.space)}")
    return Architecture(net=net.name, choices=tuple(choices), resolution_px=px)
