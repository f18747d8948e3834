"""Where a classifier's head begins: at a linear classifier of what the backbone already sees."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from search.finetune.head import fit_head
from search.labels.arrays import decode
from search.labels.inputs import Input
from search.labels.read import untold
from search.labels.samples import Sample, Samples
from search.labels.views import Views
from search.nets import Backbone
from search.types import Task

COLORS = ((220, 40, 40), (40, 220, 40), (40, 40, 220))
HOW = Input(size_px=(12, 12), mean=(0.5,) * 3, std=(0.3,) * 3, fit="crop")


class Colors(Backbone):
    """A picture's mean color, normalized over the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding_dim, self.norm = 3, nn.BatchNorm1d(3)

    def features(self, x: Tensor) -> dict[str, Tensor]:
        return {"p0": x}

    def embed(self, x: Tensor) -> Tensor:
        return self.norm(x.mean((2, 3)))  # type: ignore[no-any-return]


def colored(folder: Path, labels: list[int], classes: int) -> Views:
    """Pictures of their class's color, with noise."""
    rng = np.random.default_rng(0)
    samples = []
    for i, label in enumerate(labels):
        path = folder / f"{i}.png"
        noisy = np.clip(rng.normal(COLORS[label], 20, (12, 12, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(path)
        samples.append(Sample(path=path, size_px=(12, 12), label=label))
    known = Samples(task=Task.CLS, classes=tuple("abcd"[:classes]), samples=tuple(samples))
    return Views(decode(known, HOW, folder, "train", told=untold), HOW, seed=3)


def begun(views: Views, classes: int) -> tuple[Colors, nn.Linear, nn.Linear]:
    """The backbone, the head, and the head as it was."""
    torch.manual_seed(0)
    backbone, head = Colors(), nn.Linear(3, classes)
    before = nn.Linear(3, classes)
    before.load_state_dict(head.state_dict())
    fit_head(backbone, head, views, seed=0)
    return backbone, head, before


@pytest.mark.parametrize("classes", [2, 3])
def test_the_head_begins_by_knowing_what_the_features_tell(classes: int, tmp_path: Path) -> None:
    labels = [i % classes for i in range(36)]
    views = colored(tmp_path, labels, classes)
    backbone, head, _ = begun(views, classes)
    x, targets = views.batch(1, range(36))  # other views than it was fitted to
    logits = head(backbone.train()(x))
    assert bool((logits.argmax(1) == targets.labels_N).all())
    assert float(nn.functional.cross_entropy(logits.detach(), targets.labels_N)) < 0.9 * np.log(classes)
    assert head.weight.requires_grad


def test_a_class_without_a_picture_stays_as_it_was_and_so_does_all_where_there_is_one(tmp_path: Path) -> None:
    for name in ("some", "one", "single"):
        (tmp_path / name).mkdir()
    _, head, before = begun(colored(tmp_path / "some", [0, 2] * 12, 4), 4)
    assert torch.equal(head.weight[[1, 3]], before.weight[[1, 3]]) and torch.equal(
        head.bias[[1, 3]], before.bias[[1, 3]]
    )
    assert not torch.equal(head.weight[[0, 2]], before.weight[[0, 2]])
    for folder, labels in (("one", [1] * 8), ("single", [1])):
        _, head, before = begun(colored(tmp_path / folder, labels, 4), 4)
        assert torch.equal(head.weight, before.weight)


def test_features_that_are_no_numbers_leave_the_head_to_the_loss(tmp_path: Path) -> None:
    backbone, head = Colors(), nn.Linear(3, 3)
    before = head.weight.detach().clone()
    nn.init.constant_(backbone.norm.weight, torch.nan)
    fit_head(backbone, head, colored(tmp_path, [0, 1, 2] * 4, 3), seed=0)
    assert torch.equal(head.weight, before)


def test_the_same_pictures_and_seed_make_the_same_head(tmp_path: Path) -> None:
    views = colored(tmp_path, [0, 1, 2] * 10, 3)
    assert torch.equal(begun(views, 3)[1].weight, begun(views, 3)[1].weight)
