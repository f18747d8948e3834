"""Subject: what an evaluation is of - networks of a supernet, or the one of a package - and how to get each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from search.evaluate import Preprocessing
from search.nets import NETS, Backbone, Net
from search.types import Architecture
from zoo.catalogue.get import get
from zoo.catalogue.list import nearest_models
from zoo.catalogue.resolve import as_folder, on_hub
from zoo.errors import BadName, BadRequest, UnknownName
from zoo.names import nearest, parse_name, shown
from zoo.progress import Progress, Say
from zoo.supernets import read_supernet, supernet_folder, supernet_folders


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
