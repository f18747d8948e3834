"""Exportable: a network with its card, from a package, a name or a checkpoint, at the resolution that is asked for."""

# ruff: noqa: N806 - a tensor's name ends in its shape.

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from export.types import Preprocess
from hardware_profiles.types import DeviceProfile
from search.images.read import ImageSet
from search.images.views import center
from search.nets import Backbone
from search.recalibrate import recalibrate
from search.supernet import CARD as SUPERNET_CARD
from search.types import Architecture, Task
from zoo.catalogue.locate import locate
from zoo.devices.tables import this_device
from zoo.errors import BadCheckpoint
from zoo.names import shown
from zoo.package.folder import load_package
from zoo.package.versions import commit, zoo_version
from zoo.progress import Progress, Say
from zoo.supernets import Ready, read_supernet, supernet_folders
from zoo.types import Images, ModelCard, Provenance

_BATCH = 128


@dataclass(frozen=True, kw_only=True, eq=False)
class Exportable:
    """A network to export.

    Args:
        backbone: in eval mode.
        card: what is known of it; its reports, if any, are of earlier artefacts.
        is_calibrated: whether its normalization statistics are of images already.
    """

    backbone: Backbone
    card: ModelCard
    is_calibrated: bool

    def at(self, resolution_px: int, images: ImageSet) -> Exportable:
        """The network at a resolution; with new statistics where it never had any, or had them at another one."""
        card = self.card
        if self.is_calibrated and resolution_px == card.architecture.resolution_px:
            return self
        backbone, how = copy.deepcopy(self.backbone), card.preprocess
        x_NCHW = center(images.pixels, resolution_px, how.mean, how.std)
        recalibrate(backbone, torch.split(x_NCHW, _BATCH))
        card = replace(
            card,
            architecture=replace(card.architecture, resolution_px=resolution_px),
            preprocess=replace(how, size_px=(resolution_px, resolution_px)),
            evaluation=(),
            reports=(),
        )
        return Exportable(backbone=backbone, card=card, is_calibrated=True)

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
    return Exportable(backbone=model.backbone, card=model.card, is_calibrated=True)


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
        choices = json.loads(text)
    except ValueError:
        choices = None
    if not isinstance(choices, list):
        raise BadCheckpoint(f"architecture {shown(text)} is not largest, smallest or a JSON list of {len(net.space)}")
    return Architecture(net=net.name, choices=tuple(choices), resolution_px=px)
