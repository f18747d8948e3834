"""ResNet-18 for small images, of any width: the reference that benchmarks hold other networks against."""

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet

from hardware_profiles import OpKey
from search.nets import Backbone, Layers, Net, Part
from search.types import Architecture

NAME = "resnet18"


class ThinResNet18(Backbone):
    """Stem of 3x3 without a pool, four stages; ``width`` 64 is the usual one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embedding_dim = 8 * width
        whole = _Thin(width)
        self.stem = nn.Sequential(whole.conv1, whole.bn1, whole.relu)
        self.stages = nn.ModuleList([whole.layer1, whole.layer2, whole.layer3, whole.layer4])
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    def features(self, x_BCHW: Tensor) -> dict[str, Tensor]:
        x_BCHW = self.stem(x_BCHW)
        maps = {}
        for level, stage in enumerate(self.stages):
            x_BCHW = maps[f"p{level}"] = stage(x_BCHW)
        return maps

    def embed(self, map_BCHW: Tensor) -> Tensor:
        return map_BCHW.mean((2, 3))


class ThinResNet18Net(Net):
    """The family that holds it alone, for what trains a family; it has no parts that a latency table prices."""

    name, space = NAME, ()

    def __init__(self, width: int) -> None:
        self._width = width

    def values(self, architecture: Architecture) -> dict[str, int]:
        return {}

    def labels(self) -> dict[str, tuple[int, ...]]:
        return {}

    def make(self, layers: Layers) -> Backbone:
        return ThinResNet18(self._width)

    def initialize(self, module: nn.Module) -> None:
        """It has been, as its authors do."""

    def parts(self, resolution_px: int) -> tuple[Part, ...]:
        return ()

    def build_op(self, key: OpKey) -> nn.Module:
        raise LookupError(f"{key} is no part of {NAME}")


class _Thin(ResNet):
    def __init__(self, width: int) -> None:
        super().__init__(BasicBlock, [2, 2, 2, 2])
        self.inplanes = width
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        for i in range(4):
            setattr(self, f"layer{i + 1}", self._make_layer(BasicBlock, width << i, 2, stride=1 if i == 0 else 2))
