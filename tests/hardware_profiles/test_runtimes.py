import numpy as np
import onnx
import pytest
import torch
from torch import nn

from hardware_profiles import (
    MissingRuntime,
    OnnxRunner,
    ScriptedClock,
    ScriptedRunner,
    TorchRunner,
    probe_device,
    to_onnx_bytes,
)
from hardware_profiles.measure.runtimes import find_runtime

SHAPE = (2, 3, 8, 8)


@pytest.fixture(scope="module")
def module() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1))
    with torch.no_grad():
        net(torch.randn(16, 3, 8, 8))  # statistics to fold
    return net.eval()


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).standard_normal(SHAPE, dtype=np.float32)


def apart(runner, module: nn.Module, inputs) -> float:
    """Relative distance of what a runtime answers from what torch answers."""
    with runner, TorchRunner(module) as reference:
        expected = reference.run(inputs)["output"]
        return float(np.linalg.norm(runner.run(inputs)["output"] - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(("precision", "limit"), [("fp32", 1e-5), ("int8", 0.1)])
def test_a_runtime_of_processors_answers_as_torch_does(name, module, images, precision, limit, tmp_path):
    pytest.importorskip(name)
    prepare = find_runtime(name, precision=precision).prepare(precision, 1)
    assert apart(prepare(module, {"input": images}, tmp_path / "model")(), module, {"input": images}) < limit


@pytest.mark.gpu
@pytest.mark.parametrize(("precision", "limit"), [("fp32", 1e-4), ("fp16", 0.01)])
def test_a_recorded_cuda_graph_answers_as_torch_does_for_every_input(module, precision, limit):
    from hardware_profiles.runners.torch_runners import TorchCudaRunner

    rng = np.random.default_rng(0)
    with TorchCudaRunner(module, precision=precision) as runner, TorchRunner(module) as reference:
        for _ in range(3):
            inputs = {"input": rng.standard_normal(SHAPE, dtype=np.float32)}
            expected = reference.run(inputs)["output"]
            assert np.linalg.norm(runner.run(inputs)["output"] - expected) < limit * np.linalg.norm(expected)


@pytest.mark.gpu
@pytest.mark.tensorrt
@pytest.mark.parametrize(("precision", "limit"), [("fp32", 1e-2), ("fp16", 0.02), ("int8", 0.1)])
def test_tensorrt_answers_as_torch_does(module, images, precision, limit):
    from hardware_profiles import to_onnx_bytes
    from hardware_profiles.measure.precision import to_precision
    from hardware_profiles.runners.tensorrt import TensorRtRunner

    inputs = {"input": images}
    model = to_precision(to_onnx_bytes(module, SHAPE), precision, inputs, style="symmetric")
    assert apart(TensorRtRunner(model), module, inputs) < limit


def test_an_unknown_runtime_names_those_there_are():
    with pytest.raises(MissingRuntime, match=r"no runtime is called 'tflite' here; there are onnxruntime, openvino"):
        find_runtime("tflite")


def test_a_precision_that_is_only_emulated_is_refused(monkeypatch):
    monkeypatch.setattr("hardware_profiles.measure.runtimes._arm_features", set)
    with pytest.raises(MissingRuntime, match="does not compute in fp16 on this machine; measure one of fp32, int8"):
        find_runtime("onnxruntime", precision="fp16")
    monkeypatch.setattr("hardware_profiles.measure.runtimes._arm_features", lambda: {"asimdhp"})
    assert "fp16" in find_runtime("onnxruntime", precision="fp16").precisions


@pytest.mark.parametrize("name", ["torch-cuda", "tensorrt"])
def test_without_a_gpu_its_runtimes_say_so(monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("hardware_profiles.measure.runtimes.find_spec", lambda module: object())
    with pytest.raises(MissingRuntime, match="CUDA device"):
        find_runtime(name)


def test_a_library_that_is_not_installed_is_named_with_the_command(monkeypatch):
    monkeypatch.setattr("hardware_profiles.measure.runtimes.find_spec", lambda module: None)
    for name in ("openvino", "tensorrt"):
        with pytest.raises(MissingRuntime, match=rf"{name} is not installed: pip install 'subnet-zoo\[{name}\]'"):
            find_runtime(name)


def test_an_execution_provider_that_is_there_is_a_runtime_of_its_own(monkeypatch):
    import onnxruntime

    names = ["CUDAExecutionProvider", "AzureExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)
    monkeypatch.setattr("hardware_profiles.measure.runtimes.gpu_chip", lambda: ("NVIDIA H200", 10**9))
    device = probe_device(threads=1, precision="fp16", runtime="onnxruntime-cuda")
    assert device.id == "nvidia-h200-onnxruntime-cuda-fp16" and device.kind == "cloud"
    assert (device.runtime, device.memory_bytes) == ("onnxruntime-cuda", 10**9)
    with pytest.raises(MissingRuntime):
        find_runtime("onnxruntime-azure")


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
