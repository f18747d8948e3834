"""Labelled data: every format gives the same samples, and what is wrong is named before anything trains."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from search.errors import BadLabels
from search.finetune.losses import assign
from search.labels.arrays import Views, collate
from search.labels.inputs import Input
from search.labels.read import cut, read_samples, read_split
from search.types import Task

BOXES = {"a": [("cat", 4, 2, 20, 12)], "b": [("dog", 0, 0, 8, 8), ("cat", 10, 4, 30, 20)]}
NAMES = ("cat", "dog")
WIDTH, HEIGHT = 40, 24


def picture(path: Path, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def coco(folder: Path, **changes: object) -> Path:
    rows = []
    for i, (stem, boxes) in enumerate(BOXES.items()):
        picture(folder / f"{stem}.png")
        for name, x0, y0, x1, y1 in boxes:
            box = [x0, y0, x1 - x0, y1 - y0]
            rows.append({"id": len(rows), "image_id": i, "category_id": NAMES.index(name), "bbox": box} | changes)
    images = [{"id": i, "file_name": f"{stem}.png"} for i, stem in enumerate(BOXES)]
    categories = [{"id": i, "name": name} for i, name in enumerate(NAMES)]
    document = {"images": images, "annotations": rows, "categories": categories}
    (folder / "boxes.json").write_text(json.dumps(document))
    return folder


def voc(folder: Path) -> Path:
    for stem, boxes in BOXES.items():
        picture(folder / "JPEGImages" / f"{stem}.png")
        objects = "".join(
            f"<object><name>{name}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
            "</bndbox></object>"
            for name, x0, y0, x1, y1 in boxes
        )
        (folder / "Annotations").mkdir(exist_ok=True)
        (folder / "Annotations" / f"{stem}.xml").write_text(f"<annotation>{objects}</annotation>")
    return folder


def yolo(folder: Path) -> Path:
    for stem, boxes in BOXES.items():
        picture(folder / "images" / f"{stem}.png")
        lines = [
            f"{NAMES.index(name)} {(x0 + x1) / 2 / WIDTH} {(y0 + y1) / 2 / HEIGHT} {(x1 - x0) / WIDTH}"
            f" {(y1 - y0) / HEIGHT}"
            for name, x0, y0, x1, y1 in boxes
        ]
        (folder / "labels").mkdir(exist_ok=True)
        (folder / "labels" / f"{stem}.txt").write_text("\n".join(lines))
    (folder / "data.yaml").write_text(f"names: {list(NAMES)}")
    return folder


@pytest.mark.parametrize("write", [coco, voc, yolo])
def test_every_format_of_boxes_gives_the_same_samples(write: object, tmp_path: Path) -> None:
    found = read_samples(write(tmp_path / "data"), Task.DET)  # type: ignore[operator]
    assert found.classes == NAMES
    for one, boxes in zip(found.samples, BOXES.values(), strict=True):
        np.testing.assert_allclose(one.boxes_M4, [box[1:] for box in boxes], atol=1e-4)
        assert [found.classes[label] for label in one.labels_M] == [box[0] for box in boxes]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bbox": [30, 2, 20, 4]}, "reaches out"),
        ({"bbox": [8, 2, -4, 4]}, "is inverted"),
        ({"bbox": [8, 2, 0, 4]}, "is empty"),
        ({"id": 7}, "annotation id 7 is there twice"),
        ({"category_id": 9}, "category 9"),
        ({"image_id": 9}, "image 9"),
        ({"category_id": 0}, "class 'dog' has no box"),
    ],
)
def test_wrong_boxes_are_named_with_their_file_or_left_out(
    changes: dict[str, object], said: str, tmp_path: Path
) -> None:
    folder = coco(tmp_path / "data", **changes)
    with pytest.raises(BadLabels, match=said) as raised:
        read_samples(folder, Task.DET)
    assert "boxes.json" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_faulty_pictures_can_be_left_out_and_are_counted(tmp_path: Path) -> None:
    folder = voc(tmp_path / "data")
    whole = (folder / "JPEGImages" / "a.png").read_bytes()
    (folder / "JPEGImages" / "a.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadLabels, match=r"a\.png: cannot be read as an image"):
        read_samples(folder, Task.DET)
    found = read_samples(folder, Task.DET, skip=True)
    assert (len(found.samples), len(found.skipped)) == (1, 1)


def test_two_formats_in_one_folder_are_refused(tmp_path: Path) -> None:
    coco(tmp_path / "data")
    yolo(tmp_path / "data")
    with pytest.raises(BadLabels, match="COCO json and YOLO txt"):
        read_samples(tmp_path / "data", Task.DET)


def test_a_mask_of_another_size_or_class_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png")
    (tmp_path / "masks").mkdir()
    (tmp_path / "classes.txt").write_text("road\nsky\n")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "masks" / "a.png")
    with pytest.raises(BadLabels, match=r"a\.png: is 4x4 px, its picture 40x24 px"):
        read_samples(tmp_path, Task.SEG)
    Image.fromarray(np.full((HEIGHT, WIDTH), 2, np.uint8)).save(tmp_path / "masks" / "a.png")
    with pytest.raises(BadLabels, match=r"has class 2; there are 2"):
        read_samples(tmp_path, Task.SEG)


def test_a_cut_takes_its_share_of_every_class(tmp_path: Path) -> None:
    for name, count in (("cat", 10), ("dog", 20)):
        for i in range(count):
            picture(tmp_path / name / f"{i}.png", (8, 8))
    split = read_split(tmp_path, Task.CLS, val_fraction=0.2, seed=1)
    assert [sum(one.label == k for one in split.val.samples) for k in (0, 1)] == [2, 4]
    whole = read_samples(tmp_path, Task.CLS)
    paths = [[one.path for one in cut(whole, 0.2, 1).val.samples] for _ in range(2)]
    assert paths[0] == paths[1]
    (tmp_path / "mouse").mkdir()
    with pytest.raises(BadLabels, match="a class without images"):
        read_samples(tmp_path, Task.CLS)


def test_views_keep_boxes_inside_the_input(tmp_path: Path) -> None:
    torch.manual_seed(0)
    how = Input(size_px=(32, 32), mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2), fit="letterbox")
    views = Views(read_samples(coco(tmp_path / "data"), Task.DET), how)
    for _ in range(10):
        x_NCHW, targets = collate([views[0], views[1]])  # noqa: N806
        assert x_NCHW.shape == (2, 3, 32, 32)
        for boxes, labels in zip(targets.boxes, targets.labels, strict=True):
            assert len(boxes) == len(labels)
            assert not len(boxes) or (boxes.min() >= 0 and boxes.max() <= 32)


def test_every_object_gets_a_position_however_small() -> None:
    y, x = torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")
    points = torch.stack([8.0 * x + 4, 8.0 * y + 4, torch.full_like(x, 8).float()], -1).reshape(-1, 3)
    boxes = torch.cat([points[:, :2] - 8, points[:, :2] + 8], 1)
    known = torch.tensor([[0.5, 0.5, 2.5, 2.5], [4.0, 4.0, 30.0, 30.0]])
    owner, quality = assign(torch.zeros(16, 3), boxes, points, known, torch.tensor([0, 2]))
    assert set(owner.tolist()) == {-1, 0, 1}
    assert ((quality > 0) <= (owner >= 0)).all()
