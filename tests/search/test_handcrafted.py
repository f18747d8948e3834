"""The variants of the study of architectures: as many as the paper has, no two alike, torchvision's among them."""

import pytest
import torch
import torchvision.models as published

from search.errors import BadArchitecture
from search.nets import HANDCRAFTED, NETS, TRAINED, Backbone, Handcrafted
from search.nets.handcrafted import MOBILES, RESNETS, ResNetShape

BOTH = pytest.mark.parametrize("net", [RESNETS, MOBILES], ids=lambda net: net.name)


def built(net: Handcrafted, shape: str, px: int = 224, divisor: int = 1) -> Backbone:
    with torch.device("meta"):
        return net.build(net.architecture(shape, width_divisor=divisor, resolution_px=px)).eval()


def params(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_there_are_94_resnets_and_42_mobilenets_and_no_two_are_the_same() -> None:
    assert len(RESNETS.shapes) == len(set(RESNETS.shapes.values())) == 94
    assert len(MOBILES.shapes) == len(set(MOBILES.shapes.values())) == 42
    assert list(RESNETS.shapes) == ["resnet18", "resnet34", "resnet50", *(f"v{i}" for i in range(1, 92))]
    deep = [shape for name, shape in RESNETS.shapes.items() if name[1:].isdigit() and int(name[1:]) >= 12]
    assert len({shape.depths for shape in deep if isinstance(shape, ResNetShape)}) == 80


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "mobilenet_v2"])
def test_those_that_are_published_have_the_published_parameters_less_the_classifier(name: str) -> None:
    theirs = published.get_model(name)
    theirs.classifier = theirs.fc = torch.nn.Identity()
    ours = built(MOBILES, "mobilenetv2") if name == "mobilenet_v2" else built(RESNETS, name)
    assert params(ours) == params(theirs)
    assert ours.embedding_dim == theirs(torch.zeros(2, 3, 64, 64)).shape[1]


def test_widths_and_groups_are_torchvision_s_too() -> None:
    wide = published.resnet50(width_per_group=128, replace_stride_with_dilation=None)
    wide.fc = torch.nn.Identity()
    grouped = published.ResNet(published.resnet.Bottleneck, [2, 2, 2, 2], groups=8, width_per_group=32, num_classes=1)
    grouped.fc = torch.nn.Identity()
    assert params(built(RESNETS, "v10")) == params(grouped)
    mobile = published.mobilenet_v2(width_mult=1.4)
    mobile.classifier = torch.nn.Identity()
    assert params(built(MOBILES, "mobilenetv2-1.4x")) == params(mobile)


@BOTH
def test_a_small_network_has_the_maps_of_its_form_for_photos_of_four_times_the_side(net: Handcrafted) -> None:
    for shape in list(net.shapes)[::13]:
        small = built(net, shape, 32, 4).features(torch.empty(2, 3, 32, 32, device="meta"))
        large = built(net, shape, 128, 4).features(torch.empty(2, 3, 128, 128, device="meta"))
        assert [m.shape for m in small.values()] == [m.shape for m in large.values()]
        assert list(small) == ["p0", "p1", "p2", "p3"] and list(large) == ["p2", "p3", "p4", "p5"]
        assert [m.shape[-1] for m in small.values()] == [32, 16, 8, 4]


@BOTH
@pytest.mark.parametrize("divisor", [8, 4, 2, 1])
def test_every_variant_can_be_built_at_every_share_of_its_width(net: Handcrafted, divisor: int) -> None:
    sizes = {shape: params(built(net, shape, 64, divisor)) for shape in net.shapes}
    assert len(set(sizes.values())) > 0.5 * len(sizes)  # depths that trade places between stages differ in place alone
    if divisor > 1:
        assert all(size < params(built(net, shape, 64, divisor // 2)) for shape, size in sizes.items())


@BOTH
def test_a_fresh_network_tells_images_apart(net: Handcrafted) -> None:
    name = next(iter(net.shapes))
    backbone = net.build(net.architecture(name, width_divisor=8, resolution_px=32))
    with torch.no_grad():
        out = backbone(torch.randn(4, 3, 32, 32))
    assert out.shape == (4, backbone.embedding_dim) and bool(out.isfinite().all()) and float(out.std(0).max()) > 0


def test_they_are_trained_alone_and_no_table_or_search_holds_them() -> None:
    assert not HANDCRAFTED.keys() & NETS.keys() and set(TRAINED) == HANDCRAFTED.keys() | NETS.keys()
    with pytest.raises(BadArchitecture, match="no table of blocks"):
        RESNETS.op_keys(32)
    with pytest.raises(BadArchitecture, match="shape is 'resnet19'"):
        RESNETS.build(RESNETS.architecture("resnet19", width_divisor=1, resolution_px=32))
