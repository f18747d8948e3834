import itertools
from functools import cache

import numpy as np
import pytest
import torch
from torch import fx
from torch.utils.flop_counter import FlopCounterMode

from hardware_profiles import Compute, OpKey, count_compute
from search.errors import BadArchitecture
from search.nets import NETS, Backbone, Net, PlainLayers
from search.nets.counts import count_block
from search.types import Architecture
from tests.conftest import refused
from tests.search.small_supernets import TINY

AR50TO101 = NETS["resnet-ar50to101"]
every_net = pytest.mark.parametrize("net", [*NETS.values(), TINY], ids=lambda net: net.name)
# A cell's blocks are the edges of a graph, not the links of a chain.
every_chain = pytest.mark.parametrize("net", [net for net in (*NETS.values(), TINY) if net.name != "cell"])
SMALL_NETS = [NETS["mobile"], NETS["mobile-photo"], NETS["resnet"], NETS["resnet-photo"], TINY]
every_small_net = pytest.mark.parametrize("net", SMALL_NETS, ids=lambda net: net.name)


def some_of(net: Net, px: int, count: int = 2) -> list[Architecture]:
    rng = np.random.default_rng(0)
    return [net.largest(px), net.smallest(px), *(net.random(px, rng) for _ in range(count))]


def shapes_only(net: Net, architecture: Architecture) -> Backbone:
    with torch.device("meta"):
        return net.build(architecture)


@cache
def block(net: Net, key: OpKey) -> tuple[torch.nn.Module, tuple[int, int, int, int]]:
    """Shapes alone, and the input's shape."""
    with torch.device("meta"):
        return net.build_op(key).eval(), (2, key.c_in, key.height_px, key.width_px)


@cache
def cost(net: Net, key: OpKey) -> Compute:
    module, (_, *chw) = block(net, key)
    return count_compute(module, (1, *chw))


def params_of(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def macs_of(module: torch.nn.Module, px: int) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.eval()(torch.empty(1, 3, px, px, device="meta"))
    return counter.get_total_flops() // 2


@every_net
def test_the_blocks_of_a_network_have_all_its_parameters_and_multiplications(net: Net) -> None:
    for architecture in some_of(net, 33):
        whole = shapes_only(net, architecture)
        counts = [cost(net, key) for key in net.ops(architecture)]
        assert sum(c.params for c in counts) == params_of(whole)
        assert sum(c.macs for c in counts) == macs_of(whole, 33)


@every_net
@pytest.mark.parametrize("px", [32, 33])
def test_maps_are_named_by_the_log2_of_their_stride_and_the_embedding_has_its_width(net: Net, px: int) -> None:
    for architecture in some_of(net, px, 1):
        backbone = shapes_only(net, architecture).eval()
        maps = backbone.features(torch.empty(2, 3, px, px, device="meta"))
        sides = {name: -(-px // 2 ** int(name[1:])) for name in maps}
        assert {name: tuple(m.shape[-2:]) for name, m in maps.items()} == {name: (s, s) for name, s in sides.items()}
        assert list(sides.values()) == sorted(sides.values(), reverse=True)
        assert backbone.embed(list(maps.values())[-1]).shape == (2, backbone.embedding_dim)


def test_the_documented_maps_exist() -> None:
    wanted = {
        "mobile": "p0 p1 p2 p3",
        "mobile-photo": "p2 p3 p4 p5",
        "resnet": "p0 p1 p2 p3",
        "resnet-photo": "p2 p3 p4 p5",
        "resnet-ar50to101": "p2 p3 p4 p5",
    }
    for name, maps in wanted.items():
        backbone = shapes_only(NETS[name], NETS[name].smallest(32))
        assert list(backbone.features(torch.empty(2, 3, 32, 32, device="meta"))) == maps.split()
    for name in ("mobile", "mobile-photo"):
        mobile = shapes_only(NETS[name], NETS[name].largest(32))
        channels = [m.shape[1] for m in mobile.features(torch.empty(2, 3, 32, 32, device="meta")).values()]
        assert channels == [24, 32, 112, 352]


def test_the_photo_net_is_the_small_one_with_other_strides() -> None:
    small, photo = (NETS[name].largest(32) for name in ("mobile", "mobile-photo"))
    shapes = [{k: v.shape for k, v in shapes_only(NETS[a.net], a).state_dict().items()} for a in (small, photo)]
    assert shapes[0] == shapes[1]
    # Both see 16x16 maps and smaller from the second stage on, so four times the side costs about as much.
    pair = (NETS["mobile"].largest(16), NETS["mobile-photo"].largest(64))
    macs = [sum(count_block(op).macs for op in NETS[a.net].ops(a)) for a in pair]
    assert 1 < macs[1] / macs[0] < 1.2


@every_small_net
def test_features_are_not_changed_by_what_is_computed_from_them(net: Net) -> None:
    backbone = net.build(net.smallest(32)).eval()
    with torch.no_grad():
        maps = backbone.features(torch.randn(2, 3, 32, 32))
        before = {name: m.clone() for name, m in maps.items()}
        backbone.embed(list(maps.values())[-1])
    assert all(torch.equal(maps[name], before[name]) for name in maps)


@every_small_net
def test_forward_embeds_the_coarsest_map(net: Net) -> None:
    backbone = net.build(net.smallest(32)).eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(backbone(x), backbone.embed(list(backbone.features(x).values())[-1]))


@every_net
def test_decoding_what_was_encoded_gives_the_architectures_back(net: Net) -> None:
    architectures = some_of(net, 32, 20)
    rows = net.encode(architectures)
    assert rows.shape == (22, len(net.space)) and rows.dtype == np.int64
    assert net.decode(rows, 32) == architectures
    assert net.encode([]).shape == (0, len(net.space))


@every_net
def test_the_largest_holds_the_last_options_and_the_smallest_the_first(net: Net) -> None:
    assert net.largest(32).choices == tuple(choice.options[-1] for choice in net.space)
    assert net.smallest(32).choices == tuple(choice.options[0] for choice in net.space)
    assert params_of(shapes_only(net, net.smallest(32))) < params_of(shapes_only(net, net.largest(32)))


@every_net
def test_a_random_network_is_its_generator_s_and_every_option_is_drawn(net: Net) -> None:
    def draw(seed: int, count: int) -> list[Architecture]:
        rng = np.random.default_rng(seed)
        return [net.random(32, rng) for _ in range(count)]

    assert draw(0, 5) == draw(0, 5) != draw(1, 5)
    drawn = net.encode(draw(0, 300))
    assert [len(np.unique(column)) for column in drawn.T] == [len(choice.options) for choice in net.space]


@every_net
def test_every_number_of_an_architecture_is_one_of_its_label_s(net: Net) -> None:
    labels = net.labels()
    for architecture in some_of(net, 32):
        values = net.values(architecture)
        assert values.keys() == labels.keys()
        assert all(value in labels[label] for label, value in values.items())
    assert all(list(options) == sorted(options) for options in labels.values())


@every_net
def test_op_keys_are_the_distinct_blocks_of_all_networks(net: Net) -> None:
    keys = net.op_keys(32)
    assert len(set(keys)) == len(keys)
    assert all(set(net.ops(architecture)) <= set(keys) for architecture in some_of(net, 32, 10))


@every_chain
def test_a_block_s_output_is_the_next_block_s_input(net: Net) -> None:
    for architecture in some_of(net, 33):
        blocks = {key: block(net, key) for key in net.ops(architecture)}
        out = {key: tuple(module(torch.empty(shape, device="meta")).shape) for key, (module, shape) in blocks.items()}
        assert all(out[a] == blocks[b][1] for a, b in itertools.pairwise(net.ops(architecture)))


@every_net
def test_an_unknown_block_is_refused(net: Net) -> None:
    with pytest.raises(ValueError, match="no block of kind 'attention'"):
        net.build_op(OpKey(kind="attention", c_in=3, c_out=3, height_px=8, width_px=8))


@every_net
@pytest.mark.parametrize("ask", ["build", "encode", "ops"])
def test_an_architecture_that_the_net_does_not_have_is_refused(net: Net, ask: str) -> None:
    good = net.smallest(32).choices
    ask_net = {"build": net.build, "encode": lambda a: net.encode([a]), "ops": net.ops}[ask]
    for name, choices, message in (
        ("other", good, f"'other', not '{net.name}'"),
        (net.name, good[:-1], f"needs {len(good)} choices, got {len(good) - 1}"),
        (net.name, (999, *good[1:]), f"{net.space[0].name} is 999; {net.name} has"),
    ):
        with refused(BadArchitecture, match=message):
            ask_net(Architecture(net=name, choices=choices, resolution_px=32))


def test_a_skipped_layer_leaves_its_input_as_it_is() -> None:
    net = NETS["mobile"]
    backbone = net.build(net.smallest(32)).eval()
    x = torch.randn(1, 24, 8, 8)
    assert net.space[2].options[0] == "skip" and torch.equal(backbone.layers[2](x), x)


def test_residual_blocks_start_as_the_identity() -> None:
    for name, depth_matters in (("mobile", False), ("resnet", True)):
        net = NETS[name]
        norms = [part for key, part in net.build(net.largest(32)).named_modules() if key.endswith("project.1")]
        zero = [not norm.weight.any() for norm in norms]
        assert all(zero) if depth_matters else any(zero) and not all(zero)


def test_the_largest_space_has_the_paper_s_numbers() -> None:
    assert AR50TO101.size == 85_293
    sizes = {
        name: params_of(shapes_only(AR50TO101, a)) / 1e6
        for name, a in (("min", AR50TO101.smallest(224)), ("max", AR50TO101.largest(224)))
    }
    assert sizes["min"] == pytest.approx(9.7, abs=0.05) and sizes["max"] == pytest.approx(84.8, abs=0.05)
    macs = [macs_of(shapes_only(AR50TO101, a), 224) / 1e9 for a in (AR50TO101.smallest(224), AR50TO101.largest(224))]
    assert macs == [pytest.approx(1.67, abs=0.005), pytest.approx(15.5, abs=0.05)]


def test_resnet_50_written_in_our_layers_is_resnet_50() -> None:
    depths = {"stage0.depth": 3, "stage1.depth": 4, "stage2.depth": 6, "stage3.depth": 3}
    widths = {"stem.width": 64, "stage0.width": 64, "stage1.width": 128, "stage2.width": 256, "stage3.width": 512}
    with torch.device("meta"):
        r50 = AR50TO101.make(PlainLayers(depths | widths))
    assert params_of(r50) == 23_508_032  # torchvision's resnet50 without its classifier
    assert macs_of(r50, 224) / 1e9 == pytest.approx(4.09, abs=0.005)


def test_mobile_has_the_published_macro_structure() -> None:
    net = NETS["mobile"]
    assert len(net.space) == 22 and net.size == 7**16 * 6**6
    assert len(net.op_keys(32)) == 2 + 12 * 6  # stem, head, six blocks at twelve shapes


@pytest.fixture(scope="module", params=sorted(NETS))
def backbone(request: pytest.FixtureRequest) -> Backbone:
    net = NETS[request.param]
    torch.manual_seed(0)
    return net.build(net.smallest(32)).eval()


@pytest.fixture
def image(backbone: Backbone) -> torch.Tensor:
    return torch.randn(2, 3, 32, 32)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # tracing is old, and still in use
def test_it_is_traced_with_gradients_on(backbone: Backbone, image: torch.Tensor) -> None:
    traced = torch.jit.trace(backbone, image)  # type: ignore[no-untyped-call]
    torch.testing.assert_close(traced(image), backbone(image))


def test_its_graph_is_recorded(backbone: Backbone, image: torch.Tensor) -> None:
    recorded = fx.symbolic_trace(backbone)
    torch.testing.assert_close(recorded(image), backbone(image))


def test_it_is_mapped_over_a_batch(backbone: Backbone, image: torch.Tensor) -> None:
    mapped = torch.vmap(lambda one: backbone(one[None])[0])(image)
    torch.testing.assert_close(mapped, backbone(image), rtol=1e-4, atol=1e-5)
