import os
from pathlib import Path

import torch

from zoo.photos import GENERATED, fingerprint, read_photos


def test_a_folder_is_read_at_the_size_asked_for(image_folder: Path) -> None:
    (image_folder / "text.jpg").write_text("hello")
    seen: list[int] = []
    photos = read_photos(image_folder, size_px=12, progress=lambda done, total: seen.append(done))
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


def test_without_a_folder_images_are_generated_the_same_each_time() -> None:
    first, again = read_photos(None, size_px=16), read_photos(None, size_px=16)
    assert torch.equal(first.pixels, again.pixels) and len(first.pixels) == first.about.count
    assert first.about.fingerprint.startswith(GENERATED)
    assert first.pixels.float().std((1, 2, 3)).min() > 5  # no image is blank
