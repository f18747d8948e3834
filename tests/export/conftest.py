from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_nets import structured_images
from torch import Tensor

from export import Preprocess
from export.metadata import metadata_props


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
