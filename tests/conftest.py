"""What all tests share: which run where, one thread each, and a folder of small images that have structure."""

import os

# Read when torch is imported, here and in every process that a test starts: on small networks and a busy machine,
# threads that wait for each other are many times slower than one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what this machine lacks, and, unless ``-m`` asks for it, what needs the internet or patience."""
    missing = {
        "gpu": not torch.cuda.is_available(),
        "tensorrt": not (find_spec("tensorrt") or find_spec("tensorrt_rtx")),
        "network": not config.option.markexpr,
        "slow": not config.option.markexpr,
    }
    for item in items:
        for name in (mark.name for mark in item.iter_markers() if missing.get(mark.name)):
            item.add_marker(pytest.mark.skip(reason=f"needs {name}" if name != "slow" else "slow; run with -m slow"))


@contextmanager
def refused(error: type[BaseException], match: str | None = None) -> Iterator[pytest.ExceptionInfo[BaseException]]:
    """The block fails with this error, which says so in one line."""
    with pytest.raises(error, match=match) as caught:
        yield caught
    assert len(str(caught.value).splitlines()) <= 1


def structured_image(seed: int, size_px: int = 40) -> Image.Image:
    """A gradient, a disc, stripes and a little noise, all drawn from the seed."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size_px, 0:size_px] / size_px
    angle, stripes = rng.uniform(0, 2 * np.pi), rng.integers(2, 7)
    across = x * np.cos(angle) + y * np.sin(angle)
    disc = (x - rng.uniform(0.3, 0.7)) ** 2 + (y - rng.uniform(0.3, 0.7)) ** 2 < rng.uniform(0.1, 0.3) ** 2
    colors = rng.uniform(0, 255, (3, 3))
    picture = colors[0] * across[..., None] + colors[1] * (np.sin(2 * np.pi * stripes * across) > 0)[..., None] / 2
    picture = np.where(disc[..., None], colors[2], picture) + rng.normal(0, 8, (size_px, size_px, 3))
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """A folder with 64 PNG images of 40x40 px."""
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(64):
        structured_image(i).save(folder / f"{i:03d}.png")
    return folder
