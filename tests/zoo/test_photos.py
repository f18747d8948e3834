import os
from pathlib import Path

import psutil
import pytest
import torch
from PIL import Image

import zoo.make.images
from search.errors import BadSupernet, NotEnoughMemory
from search.images.read import read_images
from search.images.statistics import measure_statistics, save_statistics
from zoo.demo import IMAGES, SIDE_PX, write_demo_images
from zoo.make.images import GENERATED, fingerprint, read_photos


def test_a_folder_is_read_at_the_size_asked_for(image_folder: Path) -> None:
    (image_folder / "text.jpg").write_text("hello")
    seen: list[int] = []
    photos = read_photos(image_folder, size_px=12, beside=image_folder, progress=lambda done, total: seen.append(done))
    assert photos.pixels.shape == (64, 3, 12, 12)
    assert (photos.about.count, photos.about.skipped) == (64, 1) and "text.jpg" in photos.skipped[0]
    assert seen[-1] == 65


def test_the_fingerprint_changes_with_the_images_and_with_nothing_else(image_folder: Path) -> None:
    before = fingerprint(image_folder)
    (image_folder / "notes.txt").write_text("x")
    assert fingerprint(image_folder) == before
    os.utime(image_folder / "000.png", ns=(1, 1))
    assert fingerprint(image_folder) == before
    (image_folder / "000.png").write_bytes((image_folder / "001.png").read_bytes())
    changed = fingerprint(image_folder)
    (image_folder / "000.png").rename(image_folder / "z.png")
    assert len({before, changed, fingerprint(image_folder)}) == 3


def test_the_fingerprint_sees_what_links_lead_to(image_folder: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / f"real-{name}").mkdir()
        (tmp_path / name / "train").symlink_to(tmp_path / f"real-{name}")
    for i, name in enumerate(("a", "b")):
        (tmp_path / f"real-{name}" / "x.png").write_bytes((image_folder / f"00{i}.png").read_bytes())
    assert fingerprint(tmp_path / "a") != fingerprint(tmp_path / "b")


def test_without_a_folder_images_are_generated_the_same_each_time(tmp_path: Path) -> None:
    first, again = (read_photos(None, size_px=16, beside=tmp_path) for _ in range(2))
    assert torch.equal(first.pixels, again.pixels) and len(first.pixels) == first.about.count
    assert first.about.fingerprint.startswith(GENERATED)
    assert first.pixels.float().std((1, 2, 3)).min() > 5  # no image is blank


def test_statistics_beside_the_supernet_shape_the_generated_images(image_folder: Path, tmp_path: Path) -> None:
    plain = read_photos(None, size_px=16, beside=tmp_path)
    of = measure_statistics(read_photos(image_folder, size_px=32, beside=tmp_path).pixels)
    save_statistics(of, tmp_path)
    shaped = read_photos(None, size_px=16, beside=tmp_path)
    assert "dead leaves with the second-order statistics of 64 training images" in shaped.about.fingerprint
    assert plain.about.fingerprint != shaped.about.fingerprint and len(plain.pixels) == len(shaped.pixels)
    (tmp_path / "statistics.json").write_text("{}")
    with pytest.raises(BadSupernet, match=r"statistics\.json holds no image statistics"):
        read_photos(None, size_px=16, beside=tmp_path)


def test_larger_images_are_fewer_but_enough_to_compare(tmp_path: Path) -> None:
    counts = [read_photos(None, size_px=px, beside=tmp_path).about.count for px in (16, 48, 96)]
    assert counts == [512, 227, 128]


def test_what_nobody_looks_at_is_said(image_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_photos(image_folder, size_px=12, beside=image_folder).left_out == ()
    for path in image_folder.iterdir():
        with Image.open(path) as image:
            image.resize((40, 30)).save(path)
    monkeypatch.setattr(zoo.make.images, "MAX_IMAGES", 64)
    Image.new("RGB", (40, 30)).save(image_folder / "more.png")
    assert read_photos(image_folder, size_px=12, beside=image_folder).left_out == (
        "64 of 65 files were read, evenly spread",
        "the center square of each is looked at: 25 % of a picture is cut off on average",
    )
    assert read_images(image_folder, size_px=12, letterbox=True).left_out() == ()


def test_images_that_do_not_fit_in_memory_are_refused_with_numbers_before_any_is_read(
    image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = psutil.virtual_memory()._replace(available=10**6)
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory)
    with pytest.raises(NotEnoughMemory, match=r"64 images of 100 px need 0.0 GB .* 0.0 GB are free; take fewer with"):
        read_images(image_folder, size_px=100)


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
