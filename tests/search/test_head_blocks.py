"""Heads are sums of their blocks, decode into the photo, and begin alike from one seed."""

import numpy as np
import pytest
import torch

from hardware_profiles import OpKey, estimate_ms
from hardware_profiles.measure.models import to_onnx_bytes
from search.nets import NETS
from search.nets.counts import count_block
from search.nets.heads import HEAD_KINDS, OUTPUTS, BadHead, Whole, build_head_op, head_ops, make_head
from search.nets.whole import Headed, all_head_ops
from search.subnets.costs import CostModel
from search.types import Task
from tests import small_tables

CHANNELS = {"p2": 24, "p3": 32, "p4": 112, "p5": 352}
TASKS = (Task.DET, Task.SEG)


def maps_of(height_px, width_px, seed=0):
    torch.manual_seed(seed)
    return {
        name: torch.randn(2, c, height_px >> int(name[1]), width_px >> int(name[1])) for name, c in CHANNELS.items()
    }


@pytest.mark.parametrize("task", TASKS)
def test_a_head_consists_of_its_blocks(task):
    head = make_head(task, CHANNELS, 5, seed=0)
    ops = head_ops(task, CHANNELS, 5, 96, 160)
    parameters = sum(p.numel() for p in head.parameters())
    assert parameters == sum(p.numel() for key in ops for p in build_head_op(key).parameters())
    assert {key.kind for key in ops} <= set(HEAD_KINDS)


@pytest.mark.parametrize("key", [key for task in TASKS for key in head_ops(task, CHANNELS, 3, 96, 160)], ids=str)
def test_a_block_is_counted_as_it_is_built_and_exported(key):
    module = build_head_op(key).eval()
    shape = (1, key.c_in, key.height_px, key.width_px)
    counted = count_block(key)
    assert counted.params == sum(p.numel() for p in module.parameters())
    macs = 0

    def add(layer, inputs, output):
        nonlocal macs
        macs += output[0].numel() * layer.weight[0].numel()

    for part in module.modules():
        if isinstance(part, torch.nn.Conv2d):
            part.register_forward_hook(add)
    with torch.no_grad():
        assert module(torch.zeros(shape)).ndim == 4
    assert counted.macs == macs
    assert to_onnx_bytes(module, shape)


def test_boxes_lie_in_the_input_and_grow_with_the_level():
    head = make_head(Task.DET, CHANNELS, 4, seed=0).eval()
    with torch.no_grad():
        found = head(maps_of(96, 160))
    positions = sum((96 >> i) * (160 >> i) for i in (3, 4, 5))
    assert found["boxes"].shape == (2, positions, 4) and found["scores"].shape == (2, positions, 4)
    x0, y0, x1, y1 = found["boxes"].unbind(-1)
    assert (x0 >= 0).all() and (y0 >= 0).all() and (x1 <= 160).all() and (y1 <= 96).all() and (x0 < x1).all()
    assert (found["scores"] >= 0).all() and (found["scores"] <= 1).all()


def test_decoded_boxes_are_those_of_points_and_deltas():
    head = make_head(Task.DET, CHANNELS, 4, seed=0).eval()
    with torch.no_grad():
        for predict in head.predict:
            predict.predict.weight.normal_(std=0.5)
        found = head(maps_of(96, 160))
    x, y, stride = head.points(96, 160).unbind(-1)
    left, top, right, bottom = (2 * stride * found["deltas"].clamp(max=4).exp().movedim(-1, 0)[i] for i in range(4))
    expected = [(x - left).clamp(min=0), (y - top).clamp(min=0), (x + right).clamp(max=160), (y + bottom).clamp(max=96)]
    assert torch.allclose(found["boxes"], torch.stack(expected, -1), atol=1e-3)
    score = (found["logits"].clamp(min=-10).sigmoid() * found["centerness"].sigmoid()).sqrt()
    assert torch.allclose(found["scores"], score, atol=1e-6)


def test_masks_have_the_finer_maps_size():
    head = make_head(Task.SEG, CHANNELS, 6, seed=0).eval()
    assert head(maps_of(96, 160))["logits"].shape == (2, 6, 12, 20)


@pytest.mark.parametrize("task", TASKS)
def test_one_seed_gives_one_head_and_leaves_the_generator_alone(task):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, second = (make_head(task, CHANNELS, 2, seed=7).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("task", TASKS)
def test_a_whole_model_is_the_same_in_onnx(task):
    onnxruntime = pytest.importorskip("onnxruntime")
    net = NETS["mobile-photo"]
    whole = Whole(net.build(net.smallest(96)), make_head(task, CHANNELS, 3, seed=0), task).eval()
    x = torch.randn(1, 3, 96, 128)

    class Joined(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.whole = whole

        def forward(self, x):
            return torch.cat([value.flatten(1) for value in self.whole(x).values()], 1)

    joined = Joined().eval()
    file = to_onnx_bytes(joined, (1, 3, 96, 128))
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"input": x.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(found, joined(x).numpy(), atol=2e-3, rtol=1e-3)
    assert list(whole(x)) == list(OUTPUTS[task])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: make_head(Task.DET, CHANNELS, 0), "0 classes"),
        (lambda: make_head(Task.CLS, CHANNELS, 3), "cls has no head"),
        (lambda: make_head(Task.SEG, {"p3": 8}, 3), "1 map"),
        (lambda: build_head_op(OpKey(kind="stem", c_in=3, c_out=3, height_px=8, width_px=8)), "'stem'"),
    ],
)
def test_what_no_head_can_be_is_refused_in_one_line(call, said):
    with pytest.raises(BadHead, match=said):
        call()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", ["mobile-photo", "resnet", "resnet-photo"])
def test_a_head_fits_the_maps_of_its_network_and_costs_what_its_blocks_cost(task, name):
    net, rng = NETS[name], np.random.default_rng(0)
    family = Headed(net, task, 3)
    chosen = [net.smallest(64), net.largest(64), *(net.random(64, rng) for _ in range(3))]
    keys = family.op_keys(64)
    table = small_tables.table({key: rng.uniform(0.1, 1) for key in keys}, net=name, resolution_px=64)
    costs = CostModel(family, table)(family.encode(chosen))
    for i, architecture in enumerate(chosen):
        with torch.device("meta"):
            backbone = net.build(architecture).eval()
            maps = backbone.features(torch.empty(1, 3, 64, 64))
            head = make_head(task, family.channels(architecture), 3)
            head({level: m.detach() for level, m in maps.items()})  # of the right widths
        pooling = sum(p.numel() for p in getattr(backbone, "head", torch.nn.Identity()).parameters())
        params = sum(p.numel() for module in (backbone, head) for p in module.parameters()) - pooling
        ops = family.ops(architecture)
        assert params == costs.params[i] == sum(count_block(key).params for key in ops)
        assert costs.predicted_ms[i] == pytest.approx(estimate_ms(table, ops))
        assert costs.macs[i] == sum(count_block(key).macs for key in ops)
        read = sum(m.numel() for m in list(maps.values())[-3:])  # all of these wait for the head
        assert costs.peak_memory_bytes[i] > 4 * (read + params)
    assert {key for key in keys if key.kind in HEAD_KINDS} <= set(all_head_ops(net, 64, (3,)))
