"""Space: a net as NNI's model space, with the projector on top, and its way back to plain weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import nni
from nni.mutable import Categorical
from nni.nas.nn.pytorch import LayerChoice, ModelSpace, MutableBatchNorm2d, MutableConv2d, MutableLinear, Repeat
from torch import Tensor, nn

from search.nets import Net
from search.types import Architecture

# Names of the two candidates of an optional block; `plain_key` knows the second.
_USED = ("skip", "block")


class SupernetSpace(ModelSpace):
    """Backbone and projector of every network of ``net`` at once: [B, 3, H, W] -> [B, projection_dim].

    The projector is ``search.supernet.projector_of``'s, for embeddings of any width.
    """

    def __init__(self, net: Net, *, hidden_dim: int, projection_dim: int, projector_norm: bool = True) -> None:
        super().__init__()
        self.backbone = net.make(NniLayers(net.labels()))
        self.projector = nn.Sequential(
            MutableLinear(self.backbone.embedding_dim, hidden_dim, bias=not projector_norm),
            *([nn.BatchNorm1d(hidden_dim)] if projector_norm else []),
            nn.ReLU(),
            nn.Linear(hidden_dim, projection_dim),
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:  # noqa: N803
        """Of the network that was last chosen with ``choose``."""
        return self.projector(self.backbone(x_BCHW))  # type: ignore[no-any-return]


class NniLayers:
    """``search.nets.Layers`` in NNI's words: numbers are categorical choices, modules are mutable.

    Args:
        labels: the options of each label, smallest first.
    """

    def __init__(self, labels: Mapping[str, Sequence[int]]) -> None:
        self._labels = labels

    def value(self, label: str) -> Any:
        """See ``Layers``; one option alone is that number."""
        options = self._labels[label]
        return options[0] if len(options) == 1 else nni.choice(label, list(options))

    def conv(self, c_in: Any, c_out: Any, kernel: Any, stride: int = 1, groups: Any = 1) -> nn.Module:
        """See ``Layers``."""
        conv: nn.Module = MutableConv2d(
            c_in, c_out, kernel_size=kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False
        )
        return conv

    def norm(self, channels: Any) -> nn.Module:
        """See ``Layers``."""
        norm: nn.Module = MutableBatchNorm2d(channels)
        return norm

    def optional(self, label: str, block: nn.Module) -> nn.Module:
        """See ``Layers``."""
        choice: nn.Module = LayerChoice({_USED[0]: nn.Identity(), _USED[1]: block}, label=label)
        return choice

    def repeat(self, label: str, blocks: Sequence[Callable[[], nn.Module]]) -> nn.Module:
        """See ``Layers``."""
        repeated: nn.Module = Repeat([make() for make in blocks], Categorical(list(self._labels[label]), label=label))
        return repeated


def sample_of(net: Net, architecture: Architecture) -> dict[str, Any]:
    """NNI's sample for one architecture: a value for every label."""
    return {label: option_of(label, value) for label, value in net.values(architecture).items()}


def option_of(label: str, value: int) -> str | int:
    """NNI's name for the number under a label."""
    return _USED[value] if label.endswith(".used") else value


def plain_key(key: str) -> str:
    """The plain network's name of a supernet tensor, without the level that NNI's containers add."""
    return ".".join(part for part in key.split(".") if part not in ("block", "blocks"))
