"""Checkpoints of DATA: those that the authors of DATA release, read as a supernet.

DATA (Chang et al., CVPR 2022) trains in GAIA-ssl: a dynamic ResNet and a projector of two layers, as ``encoder_q`` (the
networks that learn) and ``encoder_k`` (the teacher), with OpenSelfSup's names. Its space ar50to101v2 is our net
``resnet-ar50to101``, channel for channel: both share prefixes. The running statistics of the release mix all its
networks and are left out (``search.recalibrate`` makes new ones), and so are teacher, queue and optimizer.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from search.errors import BadSupernet
from search.images.views import IMAGENET_MEAN, IMAGENET_STD
from search.nets import NETS
from search.nets.layers import projector_of
from search.supernet import Supernet, SupernetCard

NET = "resnet-ar50to101"
RESOLUTION_PX = 224  # what DATA's checkpoints were trained at
_ENCODER = "encoder_q."
# Of a block: our layer, their convolution, their normalization.
_BLOCK = {
    "reduce": ("conv1", "bn1"),
    "conv": ("conv2", "bn2"),
    "project": ("conv3", "bn3"),
    "shortcut": ("downsample.0", "downsample.1"),
}


def read_gaia(path: Path, *, name: str, objective: str = "mocov2") -> Supernet:
    """The supernet in a released checkpoint.

    Args:
        path: the ``.pth`` file; only tensors and plain values are read from it, never code.
        name: of the supernet.
        objective: that it was trained with; the file does not say.

    Raises:
        BadSupernet: it cannot be read, holds code, or is of other networks.
    """
    net, theirs = NETS[NET], _state(path)
    with torch.device("meta"):
        backbone = net.build(net.largest(RESOLUTION_PX))
    width = int(backbone.embedding_dim)
    hidden_dim, dim = _widths(theirs, path)
    with torch.device("meta"):
        projector = projector_of(width, hidden_dim, dim, norm=False)
    ours = {f"backbone.{k}": p.shape for k, p in backbone.named_parameters()}
    ours |= {f"projector.{k}": p.shape for k, p in projector.named_parameters()}
    _check(path, theirs, {gaia_name(key): shape for key, shape in ours.items()})
    weights = {key: theirs[gaia_name(key)].float().clone() for key in ours}
    card = SupernetCard(
        name=name,
        net=net.name,
        objective=objective,
        resolution_px=RESOLUTION_PX,
        projection=(hidden_dim, dim),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        recipe={},
        data={"name": "not stated by the checkpoint; DATA trained on 10 % of ImageNet", "terms": "not stated"},
        training={"imported": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
        evaluation={},
        versions={"torch": torch.__version__},
        projector_norm=False,
    )
    return Supernet(card=card, weights=weights)


def gaia_name(key: str) -> str:
    """GAIA-ssl's name of one of our tensors.

    Example:
        >>> gaia_name("backbone.stages.0.1.project.1.weight")
        'encoder_q.0.layer1.1.bn3.weight'
    """
    if found := re.fullmatch(r"projector\.([02]\.\w+)", key):
        return f"{_ENCODER}1.mlp.{found[1]}"
    if found := re.fullmatch(r"backbone\.stem\.conv\.([01])\.(\w+)", key):
        return f"{_ENCODER}0.{('conv1', 'bn1')[int(found[1])]}.{found[2]}"
    if found := re.fullmatch(r"backbone\.stages\.(\d+)\.(\d+)\.(\w+)\.([01])\.(\w+)", key):
        stage, block, layer, part, tensor = found.groups()
        return f"{_ENCODER}0.layer{int(stage) + 1}.{block}.{_BLOCK[layer][int(part)]}.{tensor}"
    raise AssertionError(f"{key} is no tensor of a ResNet with its projector")


def _state(path: Path) -> Mapping[str, Tensor]:
    try:
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise BadSupernet(f"{path} cannot be read ({error.strerror}); name the checkpoint file") from error
    except Exception as error:  # torch and zipfile raise whatever the damaged byte leads them to
        raise BadSupernet(
            f"{path} is damaged or holds more than tensors ({type(error).__name__}); download it again, or save its"
            " state_dict alone where it was made"
        ) from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else loaded
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise BadSupernet(f"{path} holds no state_dict; name a checkpoint of GAIA-ssl's DynamicMOCO")
    return {key.removeprefix("module."): tensor for key, tensor in state.items()}


def _widths(theirs: Mapping[str, Tensor], path: Path) -> tuple[int, int]:
    """Of the projector's hidden layer and its output."""
    layers = [theirs.get(gaia_name(f"projector.{i}.weight")) for i in (0, 2)]
    if layers[0] is None or layers[1] is None or not layers[0].ndim == layers[1].ndim == 2:
        raise BadSupernet(
            f"{path} has no {gaia_name('projector.0.weight')}; name a checkpoint of GAIA-ssl's DynamicMOCO"
        )
    return layers[0].shape[0], layers[1].shape[0]


def _check(path: Path, theirs: Mapping[str, Tensor], wanted: Mapping[str, torch.Size]) -> None:
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    found = {k: t.shape for k, t in theirs.items() if k.startswith(_ENCODER) and not k.endswith(statistics)}
    wrong = sorted(key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key))
    if wrong:
        raise BadSupernet(
            f"{path} is of another network: {len(wrong)} tensors differ, first {wrong[0]} ("
            f"{_shape(found, wrong[0])}, not {_shape(wanted, wrong[0])}); DATA's is ar50to101 with widths"
            " 80, 160, 320, 640 and depths 4, 6, 29, 4"
        )


def _shape(shapes: Mapping[str, torch.Size], key: str) -> str:
    return "x".join(map(str, shapes[key])) if key in shapes else "nothing"
