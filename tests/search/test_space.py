from collections.abc import Iterator
from dataclasses import replace

import nni
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from search.nets import NETS, Backbone, Net
from search.nets.layers import projector_of
from search.oneshot.space import NniLayers, SupernetSpace, plain_key, sample_of
from search.oneshot.ssl import SSL
from search.oneshot.strategy import Sandwich, SandwichModule
from search.recipes import Recipe, quick
from search.supernet import load_slices, slice_to
from search.types import Architecture
from tests.search.small_supernets import randomize_norms, stripes

PX = 16


def supernet_of(net: str) -> SandwichModule:
    """As training makes it, with scales and shifts that leave no block the identity."""
    recipe = replace(quick(Recipe(net=net)), hidden_dim=16, projection_dim=8)
    module = SandwichModule(SSL(recipe, stripes(16, PX)))
    space = Sandwich().mutate_model(SupernetSpace(NETS[net], hidden_dim=16, projection_dim=8))
    module.set_model(space)
    randomize_norms(space)
    return module


@pytest.fixture(scope="module", params=["mobile", "resnet"])
def module(request: pytest.FixtureRequest) -> Iterator[SandwichModule]:
    yield supernet_of(request.param)


def some_of(net: Net, count: int = 3) -> list[Architecture]:
    rng = np.random.default_rng(0)
    return [net.largest(PX), net.smallest(PX), *(net.random(PX, rng) for _ in range(count))]


def images(count: int, px: int) -> Tensor:
    x_BCHW = torch.randn(count, 3, px, px, generator=torch.Generator().manual_seed(0))  # noqa: N806
    return x_BCHW.contiguous(memory_format=torch.channels_last)  # as training feeds them


def plain(module: nn.Module, net: Net, architecture: Architecture) -> tuple[Backbone, nn.Sequential]:
    """The architecture in plain torch, with the supernet's slices, running statistics included."""
    tensors = {plain_key(name): tensor.detach() for name, tensor in module.state_dict().items()}
    with torch.device("meta"):
        backbone = net.build(architecture)
        projector = projector_of(backbone.embedding_dim, 16, 8)
    for part, made in (("backbone", backbone), ("projector", projector)):
        made.to_empty(device="cpu")
        own = {name.removeprefix(f"{part}."): tensor for name, tensor in tensors.items()}
        load_slices(made, own)
        for name, buffer in made.named_buffers():
            buffer.copy_(slice_to(own[name], buffer.shape))
    return backbone.to(memory_format=torch.channels_last), projector


@pytest.mark.parametrize("training", [True, False])
def test_every_plain_network_computes_what_the_supernet_s_path_does_bit_for_bit(
    module: SandwichModule, training: bool
) -> None:
    net, space = module.training_module.net, module.model
    x = images(4, PX)
    space.train(training)
    for architecture in some_of(net):
        module.choose(architecture)
        backbone, projector = plain(space, net, architecture)
        backbone.train(training)
        projector.train(training)
        with torch.no_grad():
            maps, mine = space.backbone.features(x), backbone.features(x)
            assert maps.keys() == mine.keys()
            assert all(torch.equal(maps[name], mine[name]) for name in maps)
            assert torch.equal(space(x), projector(backbone(x)))


def test_so_does_one_of_the_paper_s_space() -> None:
    net = NETS["resnet-ar50to101"]
    with torch.device("meta"):
        space = Sandwich().mutate_model(SupernetSpace(net, hidden_dim=16, projection_dim=8))
    space.to_empty(device="cpu").to(memory_format=torch.channels_last)
    with torch.no_grad():
        for i, tensor in enumerate(space.state_dict().values()):
            values = torch.linspace(0.5, 1.5, 997 + i)  # as good as random, and quicker to make
            filled = values.repeat(-(-tensor.numel() // len(values)))[: tensor.numel()].view(tensor.shape)
            tensor.copy_(filled if tensor.ndim <= 1 else (filled - 1) / tensor[0].numel() ** 0.5)
        module = SandwichModule(SSL(quick(Recipe()), stripes(16, PX)))
        module.training_module._model, module.training_module.net = space, net
        architecture = net.smallest(32)
        module.choose(architecture)
        backbone, projector = plain(space, net, architecture)
        x = images(2, 32)
        assert torch.equal(space.train()(x), projector(backbone.train()(x)))


def test_the_supernet_s_tensors_have_the_largest_network_s_names_and_shapes(module: SandwichModule) -> None:
    net = module.training_module.net
    with torch.device("meta"):
        largest = net.build(net.largest(PX))
    wanted = {f"backbone.{name}": p.shape for name, p in largest.named_parameters()}
    found = {name: p.shape for name, p in module.training_module.student.items() if name.startswith("backbone.")}
    assert found == wanted
    assert {name for name in module.training_module.student if name not in found} == {
        "projector.0.weight",
        *(f"projector.{i}.{kind}" for i in (1, 3) for kind in ("weight", "bias")),
    }


def test_a_network_s_gradient_stays_inside_its_slices(module: SandwichModule) -> None:
    net, ssl = module.training_module.net, module.training_module
    architecture = net.smallest(PX)
    module.choose(architecture)
    module.model.train().zero_grad()
    module.model(torch.randn(4, 3, PX, PX)).square().sum().backward()
    with torch.device("meta"):
        shapes = {f"backbone.{name}": p.shape for name, p in net.build(architecture).named_parameters()}
    for name, parameter in ssl.student.items():
        if name.startswith("backbone."):
            grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
            if name in shapes:
                inside: Tensor = slice_to(grad, shapes[name])
                assert inside.isfinite().all()
                inside.zero_()
            assert not grad.any(), name
    module.model.zero_grad()


def test_a_sample_has_a_value_for_every_label() -> None:
    net = NETS["mobile"]
    for architecture in some_of(net):
        sample = sample_of(net, architecture)
        assert sample.keys() == net.labels().keys()
        assert {v for k, v in sample.items() if k.endswith(".used")} <= {"skip", "block"}
        for i, option in enumerate(architecture.choices):
            assert (sample.get(f"layer{i}.used") == "skip") == (option == "skip")


def test_a_label_with_one_option_is_that_number() -> None:
    layers = NniLayers({"width": [8], "depth": [1, 2]})
    assert layers.value("width") == 8
    assert isinstance(layers.value("depth"), type(nni.choice("other", [1, 2])))


def test_the_level_that_nni_s_containers_add_is_not_in_plain_names() -> None:
    assert plain_key("backbone.layers.3.block.expand.0.weight") == "backbone.layers.3.expand.0.weight"
    assert plain_key("backbone.stages.0.blocks.1.conv.0.weight") == "backbone.stages.0.1.conv.0.weight"
    assert plain_key("projector.0.bias") == "projector.0.bias"
