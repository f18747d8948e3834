from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch import nn

from hardware_profiles import MissingRuntime, TorchRunner, probe_device
from hardware_profiles.measure.runtimes import find_runtime

SHAPE = (2, 3, 8, 8)


@pytest.fixture(scope="module")
def module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1)).eval()


def apart(name: str, module: nn.Module, precision: str, tmp_path) -> float:
    """Relative distance of what a runtime answers from what torch answers."""
    inputs = {"input": np.random.default_rng(0).standard_normal(SHAPE, dtype=np.float32)}
    prepare = find_runtime(name, precision=precision).prepare(precision, 1)
    with prepare(module, inputs, tmp_path / "model")() as runner, TorchRunner(module) as reference:
        expected = reference.run(inputs)["output"]
        return float(np.linalg.norm(runner.run(inputs)["output"] - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize(("precision", "limit"), [("fp32", 1e-5), ("int8", 0.1)])
def test_onnxruntime_answers_as_torch_does(module, precision, limit, tmp_path):
    assert apart("onnxruntime", module, precision, tmp_path) < limit


@pytest.mark.skipif(find_spec("openvino") is None, reason="needs openvino")
@pytest.mark.parametrize(("precision", "limit"), [("fp32", 1e-5), ("int8", 0.1)])
def test_openvino_answers_as_torch_does(module, precision, limit, tmp_path):
    assert apart("openvino", module, precision, tmp_path) < limit


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
def test_tensorrt_answers_as_torch_does(module, precision, limit):
    from hardware_profiles import to_onnx_bytes
    from hardware_profiles.measure.precision import to_precision
    from hardware_profiles.runners.tensorrt import TensorRtRunner

    inputs = {"input": np.random.default_rng(0).standard_normal(SHAPE, dtype=np.float32)}
    model = to_precision(to_onnx_bytes(module, SHAPE), precision, inputs, style="symmetric")
    with TensorRtRunner(model) as runner, TorchRunner(module) as reference:
        expected = reference.run(inputs)["output"]
        assert np.linalg.norm(runner.run(inputs)["output"] - expected) < limit * np.linalg.norm(expected)


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
