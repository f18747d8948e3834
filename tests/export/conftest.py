from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import tensorrt_double
import torch
from small_nets import structured_images
from torch import Tensor, nn

import export.artefact
import export.tensorrt.build
import export.tensorrt.engine_file
import export.tensorrt.runner
import export.tensorrt.try_engine
from export import ExportReport, Preprocess, target_at
from export.formats.onnx_file import metadata_props


@pytest.fixture(autouse=True)
def one_thread_and_a_seed():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def images() -> Tensor:
    """11 different preprocessed images, [11, 3, 32, 32]."""
    return structured_images(11)


@pytest.fixture
def preprocess() -> Preprocess:
    return Preprocess(size_px=(32, 32), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


@pytest.fixture
def metadata(preprocess: Preprocess) -> dict[str, str]:
    return metadata_props(preprocess, name="small-cls-1ms", net="small", architecture='{"choices": [1, 2]}')


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.onnx"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a graph's bytes to a file."""

    def call(content: bytes, name: str = "source.onnx") -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return call


@pytest.fixture
def go(images: Tensor, metadata: dict[str, str], path: Path) -> Callable[..., ExportReport]:
    """Export with everything that a test does not say itself."""

    def call(module: nn.Module, *, name: str = "edge", images: Tensor = images, **changes) -> ExportReport:
        arguments = {
            "target": target_at(name, 32),
            "path": path,
            "metadata": metadata,
            "predicted_ms": 0.5,
            "device": "this",
            "threads": 1,
            "time": False,
        }
        return export.artefact.export(module, images, **{**arguments, **changes})

    return call


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch):
    """A machine with a GPU and ``tensorrt``, whose device memory is the host's."""
    for module in (export.tensorrt.build, export.tensorrt.runner, export.tensorrt.try_engine):
        monkeypatch.setattr(module, "find_gpu", lambda: tensorrt_double.GPU)
    monkeypatch.setattr(export.tensorrt.build, "find_spec", lambda name: object() if name == "tensorrt" else None)
    monkeypatch.setattr(export.tensorrt.build.importlib, "import_module", lambda name: tensorrt_double)
    monkeypatch.setattr(tensorrt_double.Runtime, "loaded", [])
    monkeypatch.setattr(tensorrt_double.Builder, "refuses", "")
    monkeypatch.setattr(export.tensorrt.runner, "_DEVICE", "cpu")
    stream = SimpleNamespace(cuda_stream=7, synchronize=lambda: None)
    monkeypatch.setattr(torch.cuda, "Stream", lambda: stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    return tensorrt_double
