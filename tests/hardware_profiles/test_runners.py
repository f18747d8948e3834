import numpy as np
import onnx
import pytest
import torch
from torch import nn

from hardware_profiles import OnnxRunner, ScriptedClock, ScriptedRunner, TorchRunner, to_onnx_bytes

SHAPE = (2, 3, 8, 8)


@pytest.fixture(scope="module")
def module() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1))
    with torch.no_grad():
        net(torch.randn(16, 3, 8, 8))  # statistics to fold
    return net


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).standard_normal(SHAPE, dtype=np.float32)


def test_onnx_and_torch_runners_agree_from_bytes_and_from_a_file(module, images, tmp_path):
    content = to_onnx_bytes(module, SHAPE)
    (tmp_path / "m.onnx").write_bytes(content)
    with TorchRunner(module) as runner:
        expected = runner.run({"input": images})["output"]
    for model in (content, tmp_path / "m.onnx"):
        for threads in (1, 2):
            with OnnxRunner(model, threads=threads) as runner:
                np.testing.assert_allclose(runner.run({"input": images})["output"], expected, rtol=1e-4, atol=1e-5)


def test_exporting_folds_batch_norm_and_leaves_the_module_as_it_was(module):
    module.train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    graph = onnx.load_from_string(to_onnx_bytes(module, SHAPE))
    assert [node.op_type for node in graph.graph.node] == ["Conv", "Relu", "Conv"]
    assert [i.name for i in graph.graph.input] == ["input"]
    assert [o.name for o in graph.graph.output] == ["output"]
    assert all(part.training for part in module.modules())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_exporting_twice_gives_the_same_bytes(module):
    assert to_onnx_bytes(module, SHAPE) == to_onnx_bytes(module, SHAPE)


def test_a_torch_runner_leaves_the_module_as_it_was(module, images):
    module.train()
    with TorchRunner(module) as runner:
        runner.run({"input": images})
    assert module.training


def test_a_torch_runner_returns_a_dict_of_tensors_by_name(images):
    class Two(nn.Module):
        def forward(self, x):
            return {"a": x, "b": x + 1}

    with TorchRunner(Two()) as runner:
        assert set(runner.run({"x": images})) == {"a", "b"}


def test_a_runner_without_threads_is_refused():
    with pytest.raises(ValueError, match="threads is 0"):
        OnnxRunner(b"", threads=0)


def test_a_scripted_runner_moves_its_clock_by_its_script_and_returns_its_outputs():
    clock = ScriptedClock()
    with ScriptedRunner({"y": np.ones(2)}, durations_ns=[3, 5], clock=clock) as runner:
        times = [(runner.run({}), clock())[1] for _ in range(3)]
        assert runner.run({})["y"].tolist() == [1, 1]
    assert times == [3, 8, 11]
