"""Heads: the light modules that make a detector or a segmenter of a backbone, as blocks that a table can time.

Detector: anchor-free (FCOS, Tian et al., ICCV 2019, arXiv:1904.01355) and depthwise separable, as SSDLite (Sandler et
al., CVPR 2018, section 6.2): laterals to one width, a top-down path, and at each level its own small tower. Segmenter:
as LR-ASPP (Howard et al., ICCV 2019, section 6.4), the coarsest map gated by its mean, on a finer one, with a depthwise
separable convolution before the classifier.

A head reads the three coarsest maps of a backbone, ``p3``, ``p4`` and ``p5`` of photos; each block reads one map.
"""

# ruff: noqa: N803, N806 - a tensor's name ends in its shape; A: positions of all levels, C: classes.

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardware_profiles import OpKey
from search.errors import SearchError
from search.nets.layers import Backbone, ConvNorm, PlainLayers
from search.types import Task

# Classes of a head in a table and in a name, unless it is said otherwise.
CLASSES = 20
# As many as large vocabularies of detection have (LVIS: 1,203), and room.
MOST_CLASSES = 10_000
# Channels inside a head: a multiple of 16 for vector units, and about what SSDLite and NanoDet use at this size.
WIDTH = 64
_LEVELS = 3
_TOWER = 2
# Sides of a box start at two strides from its center, a typical object of a level; e**4 of them is beyond any photo.
_STRIDES_A_SIDE = 2.0
_MOST_LOG = 4.0
# Runtimes approximate a sigmoid to 1e-7, of which the root near 0 makes much; no score of use is below this one's .007.
_LEAST_LOGIT = -10.0
_PLAIN = PlainLayers({})


class BadHead(SearchError, ValueError):  # noqa: N818 - as all errors here
    """A head that does not exist, of no class, or for a backbone without the maps that it reads."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """A map that a head reads: its name, its channels, and the pixels of the input that a position stands for."""

    name: str
    channels: int

    @property
    def stride(self) -> int:
        """``p3`` has 8."""
        return 1 << int(self.name[1:])


class Separable(nn.Sequential):
    """3x3 depthwise and 1x1 convolution, both normalized and rectified: [N, c_in, h, w] -> [N, c_out, h, w]."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__(ConvNorm(_PLAIN, c_in, c_in, 3, groups=c_in), ConvNorm(_PLAIN, c_in, c_out, 1))


class Up(nn.Module):
    """A coarse map twice as large, and a finer one added: [N, C, h, w], [N, C, 2h, 2w] -> [N, C, 2h, 2w]."""

    def forward(self, coarse_NChw: Tensor, fine_NCHW: Tensor | None = None) -> Tensor:
        """Without a finer map the coarse one is added to itself, which takes as long."""
        up_NCHW = F.interpolate(coarse_NChw, scale_factor=2.0, mode="nearest")
        return up_NCHW + (up_NCHW if fine_NCHW is None else fine_NCHW)


class DetPredict(nn.Module):
    """A level's tower, its three predictions, and their decoding.

    Args:
        channels: of the map.
        classes: at least 1; there is none for the background.
        stride: pixels of the input that a position stands for.
    """

    def __init__(self, channels: int, classes: int, stride: int = 1) -> None:
        super().__init__()
        self.classes, self.stride = classes, stride
        self.tower = nn.Sequential(*(Separable(channels, channels) for _ in range(_TOWER)))
        # Class logits, four logarithms of distances, and centerness, in one convolution.
        self.predict = nn.Conv2d(channels, classes + 5, 1)

    def raw(self, x_NChw: Tensor) -> Tensor:
        """[N, channels, h, w] -> [N, C + 5, h, w]: logits, deltas, centerness."""
        return self.predict(self.tower(x_NChw))  # type: ignore[no-any-return]

    def decode(self, raw_NKhw: Tensor) -> Tensor:
        """``raw`` -> [N, 4 + C, h, w]: x0, y0, x1, y1 in pixels of the input, inside it, and scores from 0 to 1."""
        height, width = raw_NKhw.shape[2:]
        logits, deltas, centerness = torch.split(raw_NKhw, [self.classes, 4, 1], 1)
        apart_N4hw = deltas.clamp(max=_MOST_LOG).exp() * (_STRIDES_A_SIDE * self.stride)
        low_2hw, most_2hw = self._grid(height, width, raw_NKhw)
        first = (low_2hw - apart_N4hw[:, :2]).clamp(min=0)
        last = torch.minimum(low_2hw + apart_N4hw[:, 2:], most_2hw)
        scores = (logits.clamp(min=_LEAST_LOGIT).sigmoid() * centerness.sigmoid()).sqrt()
        return torch.cat([first, last, scores], 1)

    def forward(self, x_NChw: Tensor) -> Tensor:
        """[N, channels, h, w] -> [N, 4 + C, h, w], see ``decode``."""
        return self.decode(self.raw(x_NChw))

    def _grid(self, height: int, width: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Centers of all positions [2, h, w], and the input's size [2, 1, 1], x first."""
        x_w = (torch.arange(width, device=like.device, dtype=like.dtype) + 0.5) * self.stride
        y_h = (torch.arange(height, device=like.device, dtype=like.dtype) + 0.5) * self.stride
        centers = torch.stack([x_w.expand(height, width), y_h[:, None].expand(height, width)])
        size = torch.tensor([width, height], device=like.device, dtype=like.dtype) * self.stride
        return centers, size[:, None, None]


class DetHead(nn.Module):
    """Three maps by name -> boxes and scores of every position, finest level first, before overlaps are dropped.

    Args:
        channels: of each map that it reads.
        classes: at least 1.
    """

    def __init__(self, channels: Mapping[str, int], classes: int) -> None:
        super().__init__()
        self.levels = levels_of(channels)
        self.lateral = nn.ModuleList(ConvNorm(_PLAIN, level.channels, WIDTH, 1) for level in self.levels)
        self.up = Up()
        self.predict = nn.ModuleList(DetPredict(WIDTH, classes, level.stride) for level in self.levels)

    def forward(self, maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """For training and for use.

        Returns:
            ``boxes`` [N, A, 4], x0 y0 x1 y1 in pixels of the input; ``scores`` [N, A, C], the root of class probability
            times centerness; and what they come from: ``logits`` [N, A, C], ``deltas`` [N, A, 4], the logarithms of
            left, top, right and bottom distances in units of two strides, ``centerness`` [N, A, 1], a logit.
        """
        raws = [predict.raw(x) for predict, x in zip(self.predict, self._pyramid(maps), strict=True)]  # type: ignore[operator]
        decoded = [predict.decode(raw) for predict, raw in zip(self.predict, raws, strict=True)]  # type: ignore[operator]
        raw_NAK, decoded_NAK = _rows(raws), _rows(decoded)
        boxes, scores = decoded_NAK[..., :4], decoded_NAK[..., 4:]
        logits, deltas, centerness = torch.split(raw_NAK, [raw_NAK.shape[-1] - 5, 4, 1], -1)
        return {"boxes": boxes, "scores": scores, "logits": logits, "deltas": deltas, "centerness": centerness}

    def points(self, height_px: int, width_px: int) -> Tensor:
        """The center and the stride of every position for an input of this size, in pixels: x, y, stride [A, 3]."""
        rows = []
        for level in self.levels:
            s = level.stride
            y, x = torch.meshgrid(torch.arange(height_px // s), torch.arange(width_px // s), indexing="ij")
            rows.append(torch.stack([(x + 0.5) * s, (y + 0.5) * s, torch.full_like(x, s)], -1).reshape(-1, 3).float())
        return torch.cat(rows)

    def _pyramid(self, maps: Mapping[str, Tensor]) -> list[Tensor]:
        sides = [lateral(maps[level.name]) for lateral, level in zip(self.lateral, self.levels, strict=True)]
        found = [sides[-1]]
        for side in reversed(sides[:-1]):
            found.insert(0, self.up(found[0], side))
        return found


class SegHigh(nn.Module):
    """The coarsest map, narrowed, gated by its own mean, 4 times as large: [N, c_in, h, w] -> [N, c_out, 4h, 4w]."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.narrow = ConvNorm(_PLAIN, c_in, c_out, 1)
        self.gate = nn.Conv2d(c_in, c_out, 1)

    def forward(self, x_NChw: Tensor) -> Tensor:
        """See the class."""
        gate_NC11 = self.gate(x_NChw.mean((2, 3), keepdim=True)).sigmoid()
        y_NChw = self.narrow(x_NChw) * gate_NC11
        return F.interpolate(y_NChw, scale_factor=4.0, mode="bilinear", align_corners=False)


class SegPredict(nn.Module):
    """A finer map widened, the coarse one added, a separable convolution, class logits: -> [N, classes, H, W]."""

    def __init__(self, c_in: int, classes: int) -> None:
        super().__init__()
        self.widen = ConvNorm(_PLAIN, c_in, WIDTH, 1)
        self.mix = Separable(WIDTH, WIDTH)
        self.classify = nn.Conv2d(WIDTH, classes, 1)

    def forward(self, x_NCHW: Tensor, high_NCHW: Tensor | None = None) -> Tensor:
        """Without a coarse map the fine one is added to itself, which takes as long."""
        y_NCHW = self.widen(x_NCHW)
        return self.classify(self.mix(y_NCHW + (y_NCHW if high_NCHW is None else high_NCHW)))  # type: ignore[no-any-return]


class SegHead(nn.Module):
    """Maps by name -> ``logits`` [N, C, H/s, W/s], s the stride of the finer map: 8 of photos.

    Args:
        channels: of each map that it reads.
        classes: at least 1.
    """

    def __init__(self, channels: Mapping[str, int], classes: int) -> None:
        super().__init__()
        self.low, _, self.high = levels_of(channels)
        self.context = SegHigh(self.high.channels, WIDTH)
        self.predict = SegPredict(self.low.channels, classes)

    def forward(self, maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See the class."""
        return {"logits": self.predict(maps[self.low.name], self.context(maps[self.high.name]))}


HEADS: dict[Task, type[DetHead] | type[SegHead]] = {Task.DET: DetHead, Task.SEG: SegHead}
# What of a head's outputs is exported, by the name that it is exported as; the rest is for training.
OUTPUTS: dict[Task, dict[str, str]] = {
    Task.DET: {"boxes": "boxes", "scores": "scores"},
    Task.SEG: {"masks": "logits"},
}


class Whole(nn.Module):
    """Backbone and head in one, as exported: [N, 3, H, W] -> ``boxes`` and ``scores``, or ``masks``; see the heads."""

    def __init__(self, backbone: Backbone, head: nn.Module, task: Task) -> None:
        super().__init__()
        self.backbone, self.head, self.task = backbone, head, task
        self.train(backbone.training)

    def forward(self, x_NCHW: Tensor) -> dict[str, Tensor]:
        """See the class."""
        found = self.head(self.backbone.features(x_NCHW))
        return {name: found[of] for name, of in OUTPUTS[self.task].items()}


def make_head(task: Task, channels: Mapping[str, int], classes: int, *, seed: int | None = None) -> nn.Module:
    """A head with fresh weights, in training mode; same seed, same weights.

    Args:
        task: ``det`` or ``seg``.
        channels: of the backbone's maps by name, see ``map_channels``.
        classes: labels run from 0 to ``classes - 1``.
        seed: of the weights; None takes torch's generator as it is.

    Raises:
        BadHead: a task without a head of this kind, no class, or too few maps.
    """
    _check(task, classes)
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        head = HEADS[task](channels, classes)
        _initialize(head)
    return head


def head_ops(task: Task, channels: Mapping[str, int], classes: int, height_px: int, width_px: int) -> tuple[OpKey, ...]:
    """The blocks of a head for an input of this size, decoding included; arguments and errors as ``make_head``."""
    _check(task, classes)
    levels = levels_of(channels)
    low, high = levels[0], levels[-1]

    def key(kind: str, level: Level, c_in: int, c_out: int, kernel: int) -> OpKey:
        height, width = -(-height_px // level.stride), -(-width_px // level.stride)
        return OpKey(kind=kind, c_in=c_in, c_out=c_out, kernel=kernel, height_px=height, width_px=width)

    if task is Task.SEG:
        return key("seg_high", high, high.channels, WIDTH, 1), key("seg_predict", low, low.channels, classes, 3)
    return (
        *(key("det_lateral", level, level.channels, WIDTH, 1) for level in levels),
        *(key("det_up", level, WIDTH, WIDTH, 1) for level in levels[1:]),
        *(key("det_predict", level, WIDTH, classes, 3) for level in levels),
    )


def build_head_op(key: OpKey) -> nn.Module:
    """The module that a head's block stands for: [B, c_in, height_px, width_px] in, one map out.

    Raises:
        BadHead: it is no block of a head.
    """
    match key.kind:
        case "det_lateral":
            return ConvNorm(_PLAIN, key.c_in, key.c_out, 1)
        case "det_up":
            return Up()
        case "det_predict":
            return DetPredict(key.c_in, key.c_out)
        case "seg_high":
            return SegHigh(key.c_in, key.c_out)
        case "seg_predict":
            return SegPredict(key.c_in, key.c_out)
    raise BadHead(f"no head has a block of kind {key.kind!r}; there are {', '.join(HEAD_KINDS)}")


HEAD_KINDS = ("det_lateral", "det_up", "det_predict", "seg_high", "seg_predict")


def levels_of(channels: Mapping[str, int]) -> tuple[Level, ...]:
    """The maps that a head reads, finest first: the three coarsest.

    Raises:
        BadHead: the backbone has fewer.
    """
    names = sorted(channels, key=lambda name: int(name[1:]))[-_LEVELS:]
    if len(names) < _LEVELS:
        raise BadHead(f"the backbone has {len(names)} map(s), a head reads {_LEVELS}; take a net such as resnet-photo")
    return tuple(Level(name=name, channels=channels[name]) for name in names)


def _check(task: Task, classes: int) -> None:
    if task not in HEADS:
        raise BadHead(f"task {task} has no head of blocks; det and seg have one")
    if not 1 <= classes <= MOST_CLASSES:
        raise BadHead(f"{classes} classes; a head has 1 to {MOST_CLASSES}")


def _rows(maps: list[Tensor]) -> Tensor:
    """[N, K, h, w] of each level -> [N, A, K], level by level, row by row."""
    return torch.cat([map_NKhw.flatten(2) for map_NKhw in maps], 2).transpose(1, 2)


def _initialize(head: nn.Module) -> None:
    """Kaiming as the nets, by fan-in; predictions start near 0, and rare classes at a probability of 1 %."""
    for part in head.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_in", nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    for part in head.modules():
        if isinstance(part, DetPredict):
            assert part.predict.bias is not None
            nn.init.normal_(part.predict.weight, std=0.01)
            # RetinaNet, section 4.1: a prior of .01 keeps the many empty positions from ruling the first steps.
            nn.init.constant_(part.predict.bias[: part.classes], -4.595)
