from pathlib import Path

import torch
from PIL import Image

from search.images.read import read_images
from zoo.demo import IMAGES, SIDE_PX, write_demo_images


def test_the_demo_writes_varied_images_that_a_search_can_read(tmp_path: Path) -> None:
    assert write_demo_images(tmp_path / "new" / "images") == IMAGES
    images = read_images(tmp_path / "new" / "images", size_px=SIDE_PX)
    assert len(images.paths) == IMAGES and not images.skipped
    assert len(torch.unique(images.pixels.flatten(1), dim=0)) == IMAGES
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["images"]


def test_the_same_seed_writes_the_same_images(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_demo_images(tmp_path / name, seed=seed)
    a, b, c = (read_images(tmp_path / name, size_px=SIDE_PX).pixels for name in "abc")
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_a_folder_with_files_is_left_as_it_is(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "mine.png")
    assert write_demo_images(tmp_path) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["mine.png"]
