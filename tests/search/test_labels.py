"""Labelled data: every format gives the same samples, and what is wrong is named before anything trains."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from search.errors import BadLabels
from search.finetune.losses import assign, box_loss
from search.labels.arrays import Targets, decode
from search.labels.inputs import Input
from search.labels.read import cut, judged_folder, read_samples, read_split, untold
from search.labels.samples import IGNORED, Sample, Samples
from search.labels.views import Views
from search.types import Task
from tests.conftest import refused

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


def test_a_box_of_a_picture_that_is_not_there_is_named_with_its_file(tmp_path: Path) -> None:
    with refused(BadLabels, r"boxes\.json: .*image 9"):
        read_samples(coco(tmp_path / "data", image_id=9), Task.DET)


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


def scene(folder: Path, task: Task, fit: str = "letterbox") -> Views:
    """Pictures with one bright rectangle, decoded; its box or its mask says where it is."""
    rng = np.random.default_rng(0)
    samples = []
    for i in range(8):
        pixels = np.zeros((WIDTH, 2 * WIDTH, 3), np.uint8)
        x, y = rng.integers(4, 2 * WIDTH - 30), rng.integers(4, WIDTH - 24)
        pixels[y : y + 20, x : x + 26] = 255
        Image.fromarray(pixels).save(folder / f"{i}.png")
        Image.fromarray((pixels[..., 0] // 255).astype(np.uint8)).save(folder / f"{i}.mask.png")
        box = np.array([[x, y, x + 26, y + 20]], np.float32)
        kinds = {"boxes_M4": box, "labels_M": np.array([0])} if task is Task.DET else {"label": i % 2}
        kinds = {"mask": folder / f"{i}.mask.png"} if task is Task.SEG else kinds
        samples.append(Sample(path=folder / f"{i}.png", size_px=(2 * WIDTH, WIDTH), **kinds))  # type: ignore[arg-type]
    known = Samples(task=task, classes=("a", "b"), samples=tuple(samples))
    how = Input(size_px=(64, 64), mean=(0.0,) * 3, std=(1.0,) * 3, fit=fit)
    larger = replace(how, size_px=(80, 80))
    return Views(decode(known, larger, folder, "train", placed_masks=True, told=untold), how)


def test_boxes_go_with_what_they_are_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.labels.views._COLORED", 0.0)
    views = scene(tmp_path, Task.DET)
    for epoch in range(5):
        x_NCHW, targets = views.batch(epoch, range(8))  # noqa: N806
        assert x_NCHW.shape == (8, 3, 64, 64)
        assert targets.boxes_NM4 is not None and targets.labels_NM is not None
        assert targets.boxes_NM4.min() >= 0 and targets.boxes_NM4.max() <= 64
        for x_CHW, box, label in zip(x_NCHW, targets.boxes_NM4[:, 0], targets.labels_NM[:, 0], strict=True):  # noqa: N806
            y, x = (x_CHW.mean(0) > 0.7).nonzero(as_tuple=True)  # grey beside the picture is .45
            if label == 0 and len(x):
                seen = torch.tensor([x.min(), y.min(), x.max() + 1, y.max() + 1])
                assert (seen - box).abs().max() <= 2.5
    assert (targets.labels_NM >= 0).any()


def test_masks_go_with_what_they_cover(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.labels.views._COLORED", 0.0)
    x_NCHW, targets = scene(tmp_path, Task.SEG).batch(0, range(8))  # noqa: N806
    assert targets.masks_NHW is not None
    bright, dark = (x_NCHW.mean(1)[targets.masks_NHW == k] for k in (1, 0))
    assert bright.mean() > 0.6 and dark.mean() < 0.1
    grey = x_NCHW.mean(1)[targets.masks_NHW == IGNORED]
    assert ((grey > 0.2) & (grey < 0.7)).float().mean() > 0.95


@pytest.mark.parametrize("task", list(Task))
def test_a_part_of_a_batch_is_what_the_whole_has_there(task: Task, tmp_path: Path) -> None:
    views = scene(tmp_path, task)
    (whole_x, whole), (x, part) = views.batch(2, range(8)), views.batch(2, range(8), slice(2, 5))
    torch.testing.assert_close(x, whole_x[2:5])
    for name, known in vars(part).items():
        assert known is None or torch.equal(known, vars(whole)[name][2:5]), name


def test_views_depend_on_seed_epoch_and_pictures_alone(tmp_path: Path) -> None:
    views = scene(tmp_path, Task.CLS, "crop")
    first = views.batch(3, [5, 1])[0]
    views.batch(0, [0, 1, 2])
    assert torch.equal(first, views.batch(3, [5, 1])[0])
    assert not torch.equal(first, views.batch(4, [5, 1])[0])


def test_a_picture_that_changes_once_it_was_checked_is_named(tmp_path: Path) -> None:
    known = read_samples(voc(tmp_path / "data"), Task.DET)
    known.samples[0].path.write_bytes(b"no picture any more")
    how = Input(size_px=(32, 32), mean=(0.0,) * 3, std=(1.0,) * 3, fit="letterbox")
    with pytest.raises(BadLabels, match=r"a\.png changed since it was checked"):
        decode(known, how, tmp_path, "train", told=untold)


def test_a_picture_held_sideways_is_labelled_as_people_see_it(tmp_path: Path) -> None:
    folder = coco(tmp_path / "data")
    with Image.open(folder / "a.png") as image:
        sideways = image.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    sideways.save(folder / "a.png", exif=exif)
    assert [one.size_px for one in read_samples(folder, Task.DET).samples] == [(WIDTH, HEIGHT)] * 2


def test_every_object_gets_a_position_however_small() -> None:
    y, x = torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")
    points = torch.stack([8.0 * x + 4, 8.0 * y + 4, torch.full_like(x, 8).float()], -1).reshape(-1, 3)
    boxes = torch.cat([points[:, :2] - 8, points[:, :2] + 8], 1)
    known = torch.tensor([[0.5, 0.5, 2.5, 2.5], [4.0, 4.0, 30.0, 30.0]])
    targets = Targets(labels_N=torch.zeros(1), boxes_NM4=known[None], labels_NM=torch.tensor([[0, 2]]))
    owner, quality = assign(torch.zeros(1, 16, 3), boxes[None], points, targets)
    assert set(owner[0].tolist()) == {-1, 0, 1}
    assert ((quality > 0) <= (owner >= 0)).all()


def test_the_loss_of_boxes_does_not_see_what_a_batch_is_padded_with() -> None:
    torch.manual_seed(0)
    points = torch.tensor([[4.0 * i + 2, 4.0 * j + 2, 4.0] for j in range(4) for i in range(4)])
    found = torch.rand(2, 16, 2) * 8
    outputs = {
        "boxes": torch.cat([found, found + 1 + torch.rand(2, 16, 2) * 7], -1),
        "logits": torch.randn(2, 16, 3),
        "centerness": torch.randn(2, 16, 1),
    }
    known = torch.tensor([[[1.0, 1.0, 9.0, 9.0], [4.0, 2.0, 14.0, 8.0]], [[2.0, 3.0, 9.0, 12.0], [0.0, 0.0, 0.0, 0.0]]])
    labels = torch.tensor([[0, 2], [1, -1]])
    wide = torch.cat([known, torch.zeros(2, 3, 4)], 1), torch.cat([labels, torch.full((2, 3), -1)], 1)
    losses = [
        box_loss(outputs, points, Targets(labels_N=labels[:, 0], boxes_NM4=boxes, labels_NM=names))
        for boxes, names in ((known, labels), wide)
    ]
    assert losses[0] == losses[1] and losses[0].isfinite()
    empty = Targets(labels_N=labels[:, 0], boxes_NM4=torch.zeros(2, 1, 4), labels_NM=torch.full((2, 1), -1))
    assert box_loss(outputs, points, empty).isfinite()


@pytest.mark.parametrize("folders", [("train", "test"), ("train", "val"), ("train", "val", "test")])
def test_test_pictures_never_choose_the_weights(folders: tuple[str, ...], tmp_path: Path) -> None:
    for part in folders:
        for name in ("cat", "dog"):
            for i in range(5):
                picture(tmp_path / part / name / f"{i}.png", (8, 8))
    split = read_split(tmp_path, Task.CLS)
    assert {one.path.parts[-3] for one in split.val.samples} == {"val" if "val" in folders else "train"}
    tested = set() if split.test is None else {one.path.parts[-3] for one in split.test.samples}
    assert tested == {"test"} & set(folders)
    assert (split.note is None) == ("val" in folders)
    assert judged_folder(tmp_path).name == folders[-1]
    assert not {one.path for one in split.train.samples} & {one.path for one in split.val.samples}
