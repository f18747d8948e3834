from pathlib import Path

import pytest

from search.errors import BadLabels, NotEnoughImages
from search.evaluate import read_labelled
from tests.conftest import structured_image


def folder_of(root: Path, **classes: int) -> Path:
    for name, count in classes.items():
        (root / name / "deeper").mkdir(parents=True)
        for i in range(count):
            structured_image(i).save(root / name / ("deeper" if i % 2 else ".") / f"{i}.png")
    return root


def test_a_sub_folder_is_a_class_at_any_depth(tmp_path: Path) -> None:
    read = read_labelled(folder_of(tmp_path, dog=3, cat=2), size_px=16)
    assert read.classes == ("cat", "dog") and sorted(read.labels.tolist()) == [0, 0, 1, 1, 1]
    assert read.pixels.shape == (5, 3, 16, 16) and read.skipped == ()


def test_labels_count_in_the_order_of_given_classes(tmp_path: Path) -> None:
    read = read_labelled(folder_of(tmp_path, cat=2), size_px=16, classes=("dog", "cat", "emu"))
    assert read.labels.tolist() == [1, 1] and read.classes == ("dog", "cat", "emu")


def test_what_has_no_label_or_cannot_be_read_is_skipped_and_named(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, cat=2, dog=2)
    structured_image(9).save(folder / "stray.png")
    (folder / "cat" / "bad.png").write_bytes(b"no image")
    read = read_labelled(folder, size_px=16)
    assert len(read.labels) == len(read.pixels) == 4
    assert {skip.path.name: skip.reason for skip in read.skipped} == {
        "bad.png": "not an image",
        "stray.png": "in no class's sub-folder",
    }


def test_a_limit_takes_images_of_all_classes(tmp_path: Path) -> None:
    read = read_labelled(folder_of(tmp_path, a=6, b=6, c=6), size_px=16, limit=6)
    assert read.labels.bincount().tolist() == [2, 2, 2]


def test_folders_that_say_no_class_are_refused_in_one_line(tmp_path: Path, image_folder: Path) -> None:
    with pytest.raises(BadLabels, match="no sub-folder with images; labelled images lie in one sub-folder a class"):
        read_labelled(image_folder, size_px=16)
    with pytest.raises(BadLabels, match="has one class, cat; accuracy needs at least 2"):
        read_labelled(folder_of(tmp_path / "one", cat=2), size_px=16)
    with pytest.raises(BadLabels, match=r"1 classes that the training images have not \(emu\)"):
        read_labelled(folder_of(tmp_path / "other", cat=2, emu=1), size_px=16, classes=("cat", "dog"))
    with pytest.raises(NotEnoughImages, match="is not a folder"):
        read_labelled(tmp_path / "none", size_px=16)
