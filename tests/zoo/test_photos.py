import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from zoo.errors import BadPackage, NeedsImages
from zoo.photos import SAMPLE, fingerprint, read_photos


def test_a_folder_is_read_at_the_size_asked_for(image_folder: Path, tmp_path: Path) -> None:
    (image_folder / "text.jpg").write_text("hello")
    seen: list[int] = []
    photos = read_photos(image_folder, supernet=tmp_path, size_px=12, progress=lambda done, total: seen.append(done))
    assert photos.pixels.shape == (64, 3, 12, 12)
    assert (photos.about.count, photos.about.skipped) == (64, 1) and "text.jpg" in photos.skipped[0]
    assert seen[-1] == 65


def test_the_fingerprint_changes_with_the_images_and_with_nothing_else(image_folder: Path) -> None:
    before = fingerprint(image_folder)
    (image_folder / "notes.txt").write_text("x")
    assert fingerprint(image_folder) == before
    os.utime(image_folder / "000.png", ns=(1, 1))
    touched = fingerprint(image_folder)
    (image_folder / "000.png").rename(image_folder / "z.png")
    assert len({before, touched, fingerprint(image_folder)}) == 3


def test_without_a_folder_the_supernets_sample_is_taken(tmp_path: Path) -> None:
    pixels = torch.randint(0, 256, (70, 3, 16, 16), dtype=torch.uint8)
    save_file({"pixels": pixels}, tmp_path / SAMPLE)
    photos = read_photos(None, supernet=tmp_path, size_px=16)
    assert torch.equal(photos.pixels, pixels) and photos.about.count == 70
    with pytest.raises(NeedsImages, match=r"\[N, 3, 32, 32\]"):
        read_photos(None, supernet=tmp_path, size_px=32)


def test_without_a_sample_images_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(NeedsImages, match="--images DIR"):
        read_photos(None, supernet=tmp_path, size_px=16)
    (tmp_path / SAMPLE).write_bytes(b"x" * 20)
    with pytest.raises(BadPackage, match="holds no pixels"):
        read_photos(None, supernet=tmp_path, size_px=16)
