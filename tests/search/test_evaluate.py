"""Laws of what judges features and labelled pictures: two classifiers, and the scores that people compare with."""

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from search.errors import BadLabels, NotEnoughImages
from search.evaluate import knn_accuracy, linear_accuracy, read_labelled
from search.evaluate.classifiers import DECAYS, accuracy, best_decay, fit_linear
from search.evaluate.scores import MaskCounts, score_boxes, score_classes
from tests.conftest import structured_image


def clusters(n: int, seed: int, *, noise: float = 1.5, classes: int = 5, size: int = 12) -> tuple[Tensor, Tensor]:
    """Strongly correlated features, as pooled ones are, with scales and offsets of their own."""
    g, fixed = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(99)
    y = torch.arange(n) % classes
    x = torch.randn(classes, size, generator=fixed)[y] + noise * torch.randn(n, size, generator=g)
    mixing = torch.ones(size, size) + 0.3 * torch.randn(size, size, generator=fixed)
    return x @ mixing * torch.linspace(0.01, 100, size) + 7, y


def vote(train: Tensor, train_y: Tensor, x: Tensor, k: int, tau: float) -> int:
    """The definition, for one sample."""
    near = torch.cosine_similarity(x[None], train).topk(min(k, len(train)))
    votes = torch.zeros(10).scatter_add_(0, train_y[near.indices], (near.values / tau).exp())
    return int(votes.argmax())


@pytest.mark.parametrize(("k", "tau"), [(1, 0.1), (7, 0.05), (200, 1.0)])
def test_neighbors_vote_by_their_cosine(k: int, tau: float) -> None:
    (train, train_y), (test, test_y) = clusters(120, 0), clusters(40, 1)
    expected = sum(vote(train, train_y, x, k, tau) == int(y) for x, y in zip(test, test_y, strict=True)) / 40
    assert knn_accuracy(train, train_y, test, test_y, k=k, temperature=tau) == pytest.approx(expected)
    assert knn_accuracy(1000 * train, train_y, test, test_y, k=k, temperature=tau) == pytest.approx(expected)


def test_a_tiny_temperature_is_the_nearest_neighbor_and_overflows_nothing() -> None:
    data = (*clusters(120, 0), *clusters(40, 1))
    assert knn_accuracy(*data, temperature=1e-6) == knn_accuracy(*data, k=1)


def test_a_linear_classifier_tells_what_a_plane_parts_whatever_the_scales_and_does_not_guess() -> None:
    (x, y), (asked, labels) = clusters(200, 0, noise=0.02), clusters(100, 1, noise=0.02)
    five = torch.full((200, 4), 5.0)
    still = [torch.cat((part * torch.linspace(0.1, 30, 12) - 3, five[: len(part)]), 1) for part in (x, asked)]
    assert linear_accuracy(x, y, asked, labels) == linear_accuracy(still[0], y, still[1], labels) == 1
    guessed = torch.randint(5, (200,), generator=torch.Generator().manual_seed(0))
    assert linear_accuracy(x, guessed, asked, labels) < 0.6


def test_more_features_than_samples_are_no_problem() -> None:
    (x, y), (asked, labels) = clusters(40, 0, noise=0.1, size=90), clusters(40, 1, noise=0.1, size=90)
    assert linear_accuracy(x, y, asked, labels) > 0.9


def test_the_penalty_is_the_one_that_does_best_on_the_validation_samples() -> None:
    train, validation = clusters(60, 0, noise=3), clusters(200, 1, noise=3)
    each = {decay: accuracy(fit_linear(train, decay), validation) for decay in DECAYS}
    chosen = best_decay(train, validation)
    assert each[chosen] == max(each.values())
    assert best_decay(train, train) < chosen  # where it can learn them by heart


def test_the_same_seed_gives_the_same_accuracy() -> None:
    data = (*clusters(100, 0), *clusters(50, 1))
    assert linear_accuracy(*data, seed=3) == linear_accuracy(*data, seed=3)


@pytest.mark.parametrize("judge", [linear_accuracy, knn_accuracy])
def test_a_class_that_training_never_saw_counts_as_wrong(judge) -> None:
    x = torch.eye(4)
    assert judge(x, torch.zeros(4, dtype=torch.long), x, torch.tensor([0, 0, 0, 9])) == 0.75


@pytest.mark.parametrize("judge", [linear_accuracy, knn_accuracy])
@pytest.mark.parametrize(
    ("train", "labels", "test", "asked"), [((4, 3), 4, (4, 2), 4), ((4, 3), 3, (4, 3), 4), ((4, 3), 4, (0, 3), 0)]
)
def test_shapes_that_do_not_fit_are_refused(judge, train, labels: int, test, asked: int) -> None:
    zeros = [torch.zeros(count, dtype=torch.long) for count in (labels, asked)]
    with pytest.raises(ValueError, match=r"must be|needed are"):
        judge(torch.rand(train), zeros[0], torch.rand(test), zeros[1])


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_is_that_of_pycocotools(seed: int) -> None:
    coco, judge = pytest.importorskip("pycocotools.coco"), pytest.importorskip("pycocotools.cocoeval")
    rng = np.random.default_rng(seed)
    known, found = [], []
    for _ in range(12):
        corner = rng.uniform(0, 60, (rng.integers(1, 6), 2))
        boxes = np.concatenate([corner, corner + rng.uniform(5, 40, corner.shape)], 1)
        labels = rng.integers(0, 3, len(boxes))
        known.append((boxes, labels))
        moved = boxes + rng.normal(0, 3, boxes.shape)
        found.append(np.concatenate([moved, rng.uniform(0.1, 1, (len(boxes), 1)), labels[:, None]], 1))
    ours = score_boxes(found, known, 3)
    truth, results = coco.COCO(), []
    truth.dataset = {"images": [{"id": i + 1} for i in range(12)], "annotations": []}
    truth.dataset["categories"] = [{"id": k} for k in range(3)]
    for i, ((boxes, labels), mine) in enumerate(zip(known, found, strict=True)):
        for box, label in zip(boxes, labels, strict=True):
            side = box[2:] - box[:2]
            row = {"image_id": i + 1, "category_id": int(label), "bbox": [*box[:2], *side], "area": side.prod()}
            truth.dataset["annotations"].append(row | {"id": len(truth.dataset["annotations"]) + 1, "iscrowd": 0})
        for one in mine:
            box = [*one[:2], *(one[2:4] - one[:2])]
            results.append({"image_id": i + 1, "category_id": int(one[5]), "bbox": box, "score": one[4]})
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        reference = judge.COCOeval(truth, truth.loadRes(results), "bbox")
        reference.evaluate()
        reference.accumulate()
        reference.summarize()
    assert ours.values["mAP"] == pytest.approx(reference.stats[0], abs=1e-3)
    assert ours.values["mAP50"] == pytest.approx(reference.stats[1], abs=1e-3)
    assert 0.1 < ours.main < 0.9


def test_accuracy_and_overlap_are_those_of_torchmetrics() -> None:
    metrics = pytest.importorskip("torchmetrics.functional.classification")
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(200, 8)), rng.integers(0, 8, 200)
    ours = score_classes(logits, labels)
    pair = torch.from_numpy(logits), torch.from_numpy(labels)
    for name, top in (("top-1", 1), ("top-5", 5)):
        theirs = metrics.multiclass_accuracy(*pair, num_classes=8, top_k=top, average="micro")
        assert ours.values[name] == pytest.approx(float(theirs), abs=1e-6)
    found, known = rng.integers(0, 4, (3, 20, 20)), rng.integers(0, 4, (3, 20, 20))
    known[:, :3] = 255
    counts = MaskCounts(4, 255)
    for one, other in zip(found, known, strict=True):
        counts.add(one, other)
    masks = torch.from_numpy(found), torch.from_numpy(known)
    theirs = metrics.multiclass_jaccard_index(*masks, num_classes=4, ignore_index=255)
    assert counts.score().values["mIoU"] == pytest.approx(float(theirs), abs=1e-6)
    theirs = metrics.multiclass_accuracy(*masks, num_classes=4, ignore_index=255, average="micro")
    assert counts.score().values["pixel accuracy"] == pytest.approx(float(theirs), abs=1e-6)


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
