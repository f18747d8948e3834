"""Model: a packaged network, ready to use."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, fx, nn

from search.types import Architecture, Task
from zoo.catalogue.locate import locate
from zoo.checks import Count, checked
from zoo.errors import BadRequest
from zoo.heads.features import FeatureInfo, feature_info
from zoo.heads.network import Network
from zoo.heads.predictions import ACCEPTED, Picture, Prediction, by_torch, input_of, opened, predict
from zoo.package.card import CONFIG, read_manifest, shrink_package
from zoo.package.folder import Package, load_package
from zoo.package.staging import staged
from zoo.types import TaskName

if TYPE_CHECKING:
    from zoo.heads.classifier import Classifier
    from zoo.heads.detector import Detector
    from zoo.heads.segmenter import Segmenter
    from zoo.hub.push import Pushed

# ruff: noqa: N803 - a tensor's name ends in its shape.


_HEADS = {Task.CLS: "a classifier", Task.DET: "a torchvision detector", Task.SEG: "a segmenter"}

Pictures = Picture | Tensor | Iterable[Picture]


class Model(nn.Module):
    """A network with its weights, its preprocessing and its card.

    Args:
        package: the network, what is known of it and where it came from.

    Example:
        >>> model = zoo.get("data-mocov2-cls-1ms")  # doctest: +SKIP
        >>> model(model.preprocess("photo.jpg")).shape  # doctest: +SKIP
        torch.Size([1, 1504])
    """

    def __init__(self, package: Package) -> None:
        super().__init__()
        self.backbone = package.backbone
        self.head = None if package.network is None else package.network.head
        self.card = package.card
        self.folder = package.folder
        self.eval()

    @classmethod
    @checked
    def from_pretrained(cls, name: str | Path, *, revision: str | None = None, verify: bool = False) -> Model:
        """The model in a folder, or at ``org/name`` on the Hub.

        Args:
            name: a package's folder, or ``org/name``.
            revision: on the Hub, a tag, a branch or a commit.
            verify: replay its golden tensors first.

        Raises:
            BadPackage: it is damaged, or no package.
            HubError: it is not there, may not be seen, or cannot be reached.
        """
        return cls(load_package(locate(f"{name}@{revision}" if revision else name), verify=verify))

    @checked
    def save_pretrained(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Copy the package into a folder; weights that were changed in memory are not in it.

        Raises:
            OutputExists: the folder is not empty and may not be replaced.
        """
        with staged(Path(folder), mark=CONFIG, overwrite=overwrite) as draft:
            there = [file for file in read_manifest(self.folder)[1] if (self.folder / file).is_file()]
            for file in (CONFIG, *there):
                (draft / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self.folder / file, draft / file)
            shrink_package(draft, there)
        return Path(folder)

    @checked
    def push_to_hub(self, repo: str, *, private: bool = False, message: str | None = None) -> Pushed:
        """Publish the package; see ``zoo.hub.push``.

        Raises:
            HubError: no token, no permission, no connection, ...
        """
        from zoo.hub.push import push

        return push(self.folder, repo, private=private, message=message)

    @property
    def architecture(self) -> Architecture:
        """The point of the net's space that this network is."""
        return self.card.architecture

    @property
    def resolution_px(self) -> int:
        """Side of the input, in pixels."""
        return self.card.preprocess.size_px[0]

    @property
    def feature_info(self) -> FeatureInfo:
        """Names, channels and strides of what ``features`` returns."""
        return feature_info(self.backbone, self.resolution_px)

    @property
    def onnx_path(self) -> Path:
        """The fp32 ONNX artefact."""
        return self.folder / self.card.reports[0].path

    def preprocess(self, pictures: Pictures) -> Tensor:
        """Pictures -> the network's input, float32 [N, 3, R, R].

        Args:
            pictures: one or a list of: a path, bytes, an open file, a PIL image, a uint8 array [H, W, 3] or [H, W], a
                uint8 tensor [3, H, W] or [N, 3, H, W]. They stay as they were.

        Raises:
            UnreadableImage: a file that cannot be decoded.
            BadRequest: something else, or an array or a tensor of another type or shape.
        """
        reader = input_of(self.card.preprocess)
        return torch.stack([reader.read(opened(picture))[0] for picture in _each(pictures)])

    def features(self, x_NCHW: Tensor) -> dict[str, Tensor]:
        """Input [N, 3, R, R] -> feature maps by name; ``p3`` has stride ``2**3``; finest first."""
        _check_input(x_NCHW)
        return self.backbone.features(x_NCHW)

    def embed(self, x_NCHW: Tensor) -> Tensor:
        """Input [N, 3, R, R] -> pooled embeddings [N, D]."""
        _check_input(x_NCHW)
        return self.backbone(x_NCHW)  # type: ignore[no-any-return]

    def forward(self, x_NCHW: Tensor) -> Tensor | dict[str, Tensor]:
        """The same as ``embed``; of a whole model all its outputs by name, see ``zoo.heads.network.Network``."""
        _check_input(x_NCHW)
        if (whole := self.network) is None:
            return self.embed(x_NCHW)
        return whole.forward(x_NCHW)  # called itself, it would be a part that ``torch.fx`` does not find in this module

    @property
    def network(self) -> Network | None:
        """Backbone and head in one, to train on or to export; None where the package holds a backbone alone."""
        if self.head is None:  # an error here would end ``torch.jit.trace``, which looks at every property
            return None
        return Network(self.backbone, self.head, self.card.task).train(self.training)

    def predict(self, pictures: Pictures) -> list[Prediction]:
        """What a whole model sees in pictures, in the pixels of each: classes, boxes or a mask.

        Args:
            pictures: as for ``preprocess``.

        Raises:
            BadRequest: the package holds a backbone alone.
            UnreadableImage: a file that cannot be decoded.

        Example:
            >>> zoo.get("cell-counter").predict(["blood.jpg"])[0].boxes  # doctest: +SKIP
        """
        if (whole := self.network) is None or self.card.head is None:
            raise BadRequest(f"{self.card.name} is a backbone without a head; `zoo finetune` trains one on labels")
        return list(predict(by_torch(whole.eval()), self.card.head, self.card.preprocess, _each(pictures)))

    @checked
    def with_head(
        self, num_classes: Count, *, task: TaskName | None = None, frozen: bool = False
    ) -> Classifier | Detector | Segmenter:
        """A trainable network on a copy of this one's backbone: a classifier, a detector or a segmenter.

        Args:
            num_classes: labels run from 0 to ``num_classes - 1``.
            task: ``cls``, ``det`` or ``seg``; None takes the card's.
            frozen: train the head only.

        Returns:
            The network, in training mode. It takes what ``preprocess`` returns.

        Example:
            >>> detector = zoo.get("data-mocov2-det-3ms").with_head(3)  # doctest: +SKIP
            >>> losses = detector(x_NCHW, targets)  # as torchvision's  # doctest: +SKIP
        """
        from zoo.heads.attach import with_head

        task = self.card.task if task is None else Task(task)
        return with_head(self.backbone, num_classes, task=task, resolution_px=self.resolution_px, frozen=frozen)

    def __repr__(self) -> str:
        """What it is, and how to use it."""
        size, report = self.card.preprocess.size_px[0], self.card.reports[0]
        measured = f"{report.measured.median_ms:.3g} ms measured" if report.measured else "not measured"
        params = sum(p.numel() for p in self.parameters())
        if self.card.head is not None:
            names = ", ".join(self.card.head.classes[:8])
            return (
                f"Model {self.card.name}\n"
                f"  {params / 1e6:.2f} M parameters, {size}x{size} px, {measured} on {report.device}\n"
                f"  {self.card.task} of {len(self.card.head.classes)} classes: {names}\n"
                "  model.predict(['photo.jpg'])        # in the pixels of each picture\n"
                f"  model.onnx_path                     # {self.onnx_path}"
            )
        return (
            f"Model {self.card.name}\n"
            f"  {params / 1e6:.2f} M parameters, {size}x{size} px, {measured} on {report.device}\n"
            "  x = model.preprocess('photo.jpg')   # paths, PIL images, uint8 arrays or tensors\n"
            f"  model(x)                            # embeddings [N, {self.backbone.embedding_dim}]\n"
            "  model.features(x)                   # maps by stride: p0, p1, ...\n"
            f"  model.with_head(num_classes)        # to train: {_HEADS[self.card.task]}\n"
            f"  model.onnx_path                     # {self.onnx_path}\n"
            "  model.card                          # provenance, predicted and measured times, comparison"
        )


def _check_input(x_NCHW: object) -> None:
    """Refuse what ``preprocess`` would not have made; not where torch follows the code, which is no place to branch."""
    if isinstance(x_NCHW, fx.Proxy) or torch.jit.is_tracing() or torch.compiler.is_compiling():  # type: ignore[attr-defined, no-untyped-call]
        return
    if not isinstance(x_NCHW, Tensor):
        kind = type(x_NCHW).__name__
        raise BadRequest(f"a {kind} is no input; give what model.preprocess returns, a float tensor [N, 3, H, W]")
    if x_NCHW.ndim != 4 or x_NCHW.shape[1] != 3 or not x_NCHW.is_floating_point():
        found = f"{x_NCHW.dtype} {list(x_NCHW.shape)}"
        raise BadRequest(f"the input is {found}; give what model.preprocess returns, a float tensor [N, 3, H, W]")


def _each(pictures: Pictures) -> list[Picture]:
    if isinstance(pictures, Tensor):
        return list(_arrays(pictures))
    if isinstance(pictures, (str, Path, bytes, Image.Image, np.ndarray)) or hasattr(pictures, "read"):
        return [cast("Picture", pictures)]
    if not isinstance(pictures, Iterable):
        raise BadRequest(f"a {type(pictures).__name__} is no picture; {ACCEPTED}")
    each: list[Picture] = []
    for picture in pictures:
        each += _arrays(picture) if isinstance(picture, Tensor) else [picture]
    if not each:
        raise BadRequest(f"no picture was given; {ACCEPTED}")
    return each


def _arrays(pixels: Tensor) -> Iterable[NDArray[Any]]:
    """uint8 [3, H, W] or [N, 3, H, W] -> arrays [H, W, 3]."""
    if pixels.dtype != torch.uint8 or pixels.ndim not in (3, 4) or pixels.shape[-3] != 3:
        raise BadRequest(f"a tensor of {pixels.dtype} {list(pixels.shape)} is not uint8 [3, H, W] or [N, 3, H, W]")
    return list(pixels.reshape(-1, *pixels.shape[-3:]).permute(0, 2, 3, 1).cpu().numpy())
