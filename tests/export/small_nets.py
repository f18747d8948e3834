"""Small seeded nets with everything that export must survive, graphs of them, and images with structure."""

from __future__ import annotations

import functools
import math

import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from export import Preprocess, make_onnx, target_at
from export.formats.onnx_file import metadata_props


class ConvNet(nn.Module):
    """Convolution, batch norm with statistics that matter, ReLU, a depthwise residual block, pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, stride=2, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(12)
        self.stem_act = nn.ReLU(inplace=True)
        self.depthwise = nn.Conv2d(12, 12, 5, padding=2, groups=12, bias=False)
        self.depthwise_norm = nn.BatchNorm2d(12)
        self.project = nn.Conv2d(12, 12, 1)
        self.head = nn.Conv2d(12, 20, 3, stride=2, padding=1)

    def maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        stem = self.stem_act(self.stem_norm(self.stem(images)))
        block = stem + self.project(torch.relu(self.depthwise_norm(self.depthwise(stem))))
        return block, torch.relu(self.head(block))

    def forward(self, images: Tensor) -> Tensor:
        return self.maps(images)[1].mean((2, 3))


class PyramidNet(ConvNet):
    """The same with its maps by name."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        p2, p3 = self.maps(images)
        return {"p2": p2, "p3": p3}


def seeded(net: nn.Module, seed: int = 1) -> nn.Module:
    """Give every parameter and statistic a value that shows when it is lost; eval mode."""
    generator = torch.Generator().manual_seed(seed)
    for part in net.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, generator=generator)
            if part.bias is not None:
                nn.init.uniform_(part.bias, -0.5, 0.5, generator=generator)
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean = torch.randn(part.num_features, generator=generator) * 0.5
            part.running_var = torch.rand(part.num_features, generator=generator) + 0.5
            nn.init.uniform_(part.weight, 0.5, 1.5, generator=generator)
            nn.init.uniform_(part.bias, -0.5, 0.5, generator=generator)
    return net.eval()


def structured_images(count: int, size_px: int = 32, seed: int = 2) -> Tensor:
    """Colored waves of random direction and frequency with some noise, roughly normalized: [count, 3, px, px]."""
    generator = torch.Generator().manual_seed(seed)
    side = torch.linspace(0, 2 * math.pi, size_px)
    frequency = torch.rand(count, 3, 2, generator=generator) * 4
    color = torch.randn(count, 3, generator=generator)[:, :, None, None]
    phase = frequency[:, :, 0, None, None] * side[:, None] + frequency[:, :, 1, None, None] * side
    return torch.sin(phase) + color + 0.1 * torch.randn(count, 3, size_px, size_px, generator=generator)


_NETS = {"embedding": ConvNet, "maps": PyramidNet}


@functools.cache
def onnx_bytes(target: str, outputs: str = "embedding") -> bytes:
    """``edge`` (a fixed batch of 1) or ``cloud`` (dynamic), with one ``embedding`` or with ``maps``."""
    preprocess = Preprocess(size_px=(32, 32), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    metadata = metadata_props(preprocess, name="small", net="small", architecture="{}")
    return make_onnx(seeded(_NETS[outputs]()), target_at(target, 32), metadata).SerializeToString()


def unknown_operator() -> bytes:
    """A graph with an operator that nobody has."""
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 4, 4]) for name in ("input", "output")]
    graph = helper.make_graph([helper.make_node("Nonsense", ["input"], ["output"], "odd")], "g", value[:1], value[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
