"""Laws of every label-free criterion: a copy scores best, a collapse worst, and what must not matter does not."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from search.scores import CRITERIA, LEARNED, SCORES, SIZE, Look, look
from search.scores.criteria import OF_VIEWS, SIZED, agreement, kernel_alignment
from search.scores.evidence import EVIDENCE, expectation, judged
from search.types import Task
from tests.search.small_supernets import random_supernet

ALONE = {*OF_VIEWS, "RankMe"}
AGREEMENTS = sorted(CRITERIA.keys() - ALONE)
IMAGES = 40


def a_look(*, noise: float = 0.0, collapsed: bool = False) -> Look:
    """Images that differ along six axes; a student's features are the teacher's with noise, or all the same."""
    signal = torch.randn(IMAGES, 6, generator=torch.Generator().manual_seed(0))
    other = torch.Generator().manual_seed(1)

    def mixed(width: int, seed: int) -> Tensor:
        axes = torch.randn(6, width, generator=torch.Generator().manual_seed(seed))
        return signal @ axes + noise * torch.randn(IMAGES, width, generator=other)

    jitter = 0.1 + noise
    seen = Look(
        pooled_ND=mixed(12, 2),
        projected_NP=mixed(8, 3),
        views_VNP=torch.stack([mixed(8, 3) + jitter * torch.randn(IMAGES, 8, generator=other) for _ in range(3)]),
        levels=(mixed(5 * 16, 4).reshape(IMAGES, 5, 4, 4), mixed(7 * 4, 5).reshape(IMAGES, 7, 2, 2)),
        parameters=1000,
    )
    return mapped(seen, torch.ones_like) if collapsed else seen


def mapped(seen: Look, change: Callable[[Tensor], Tensor]) -> Look:
    views = seen.views_VNP
    return Look(
        pooled_ND=change(seen.pooled_ND),
        projected_NP=change(seen.projected_NP),
        levels=tuple(change(level) for level in seen.levels),
        parameters=seen.parameters,
        views_VNP=None if views is None else torch.stack([change(view) for view in views]),
    )


@pytest.mark.parametrize("name", AGREEMENTS)
def test_a_copy_scores_above_a_noisy_student_and_that_above_a_collapsed_one(name: str) -> None:
    teacher = a_look()
    students = a_look(), a_look(noise=1.0), a_look(collapsed=True)
    copy, noisy, collapsed = (CRITERIA[name](student, teacher) for student in students)
    assert 1 + 1e-9 >= copy > noisy > collapsed
    assert copy == pytest.approx(1)
    if name != "pseudo-labels":  # one cluster of several is guessed by whoever sees nothing
        assert collapsed == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", sorted(ALONE))
def test_a_collapsed_network_is_the_worst_of_those_that_are_judged_alone(name: str) -> None:
    teacher = a_look()
    collapsed = CRITERIA[name](a_look(collapsed=True), teacher)
    assert all(collapsed < CRITERIA[name](a_look(noise=noise), teacher) for noise in (0, 0.3))


@pytest.mark.parametrize("name", ["projected CKA", "pooled CKA", "neighbors", "pseudo-labels", "RankMe", "stages CKA"])
def test_neither_scale_nor_shift_of_the_features_matters(name: str) -> None:
    teacher, student = a_look(), a_look(noise=0.5)
    score = CRITERIA[name](student, teacher)
    assert CRITERIA[name](mapped(student, lambda x: 3 * x + 7), teacher) == pytest.approx(score, abs=1e-6)
    assert CRITERIA[name](student, mapped(teacher, lambda x: 0.2 * x - 1)) == pytest.approx(score, abs=1e-6)


@pytest.mark.parametrize("name", sorted(CRITERIA))
def test_scale_alone_matters_to_none_but_where_it_is_compared_with_a_fixed_one(name: str) -> None:
    teacher, student = a_look(), a_look(noise=0.5)
    tolerance = 0.02 if name == "LiDAR" else 1e-6  # whose delta is a variance
    score = CRITERIA[name](student, teacher)
    assert CRITERIA[name](mapped(student, lambda x: 3 * x), teacher) == pytest.approx(score, abs=tolerance)


@pytest.mark.parametrize("name", sorted(CRITERIA.keys() - {"pseudo-labels"}))  # k-means starts from the first images
def test_the_order_of_the_images_does_not_matter(name: str) -> None:
    teacher, student = a_look(), a_look(noise=0.5)
    rows = torch.randperm(IMAGES, generator=torch.Generator().manual_seed(5))
    shuffled = (mapped(seen, lambda x: x[rows]) for seen in (student, teacher))
    assert CRITERIA[name](*shuffled) == pytest.approx(CRITERIA[name](student, teacher), abs=1e-6)


@pytest.mark.parametrize("name", AGREEMENTS)
def test_the_features_of_other_images_score_far_below_those_of_the_same(name: str) -> None:
    teacher, student = a_look(), a_look(noise=0.2)
    others = mapped(student, lambda x: x.roll(7, 0))
    assert CRITERIA[name](others, teacher) < CRITERIA[name](student, teacher) - 0.1


def test_alignment_is_blind_to_a_rotation_and_the_cosine_is_not() -> None:
    x = a_look().pooled_ND
    turn = torch.linalg.qr(torch.randn(12, 12, generator=torch.Generator().manual_seed(0))).Q
    assert kernel_alignment(x @ turn, x) == pytest.approx(1) and agreement(x @ turn, x) < 0.9


def test_alignment_is_hsic_of_the_centered_kernels_over_its_norms() -> None:
    x, y = a_look().pooled_ND.double(), a_look(noise=1).projected_NP.double()
    center = torch.eye(IMAGES, dtype=torch.double) - 1 / IMAGES
    k, h = (center @ z @ z.T @ center for z in (x, y))
    assert kernel_alignment(x, y) == pytest.approx(float((k * h).sum() / (k.norm() * h.norm())))


def test_the_ensemble_is_the_mean_of_its_parts_and_1_for_a_copy() -> None:
    teacher, student = a_look(), a_look(noise=1)
    parts = [CRITERIA[name](student, teacher) for name in ("projected cosine", "pooled CKA", "stages CKA")]
    assert CRITERIA["together"](student, teacher) == pytest.approx(sum(parts) / 3)


@pytest.mark.parametrize(("name", "of"), SIZED.items())
def test_of_two_networks_that_agree_alike_the_larger_one_is_preferred_and_a_copy_is_still_1(name: str, of: str) -> None:
    teacher, student = a_look(), a_look(noise=0.5)
    smaller = replace(student, parameters=500)
    assert CRITERIA[name](teacher, teacher) == pytest.approx(1)
    assert CRITERIA[name](student, teacher) == CRITERIA[of](student, teacher)
    assert CRITERIA[name](smaller, teacher) < CRITERIA[name](student, teacher)
    assert CRITERIA[name](smaller, teacher) == pytest.approx(CRITERIA[of](student, teacher) - 0.1 * math.log(2))


def test_rank_is_the_share_of_directions_that_are_used() -> None:
    axes = torch.eye(4).repeat(10, 1) - 0.25  # three dimensions, equally used, of four
    assert CRITERIA["RankMe"](replace(a_look(), pooled_ND=axes), a_look()) == pytest.approx(3 / 4, abs=1e-6)


@pytest.mark.parametrize("name", sorted(OF_VIEWS))
def test_a_criterion_of_views_is_refused_without_views(name: str) -> None:
    blind = replace(a_look(), views_VNP=None)
    with pytest.raises(ValueError, match="look at two or more"):
        CRITERIA[name](blind, blind)


def test_each_task_has_a_criterion_that_needs_no_views() -> None:
    assert SCORES.keys() == set(Task) and {*SCORES.values()} <= (CRITERIA.keys() | {SIZE}) - OF_VIEWS


def test_a_look_uses_the_batch_s_own_statistics_and_leaves_eval_mode() -> None:
    supernet = random_supernet("tiny", 16)
    backbone = supernet.subnet(supernet.net.smallest(16))
    projector = supernet.projector(backbone.embedding_dim)
    x = torch.randn(6, 3, 16, 16)
    seen = look(backbone, projector, x, views=[x, x])
    assert seen.projected_NP.shape == (6, 8) and len(seen.levels) == 2 and not backbone.training
    assert not projector.training and not seen.projected_NP.requires_grad and seen.finite
    assert seen.views_VNP is not None and torch.equal(seen.views_VNP[0], seen.projected_NP)
    for buffer in [*backbone.buffers(), *projector.buffers()]:
        buffer.fill_(7)
    again = look(backbone, projector, x)
    assert torch.equal(again.projected_NP, seen.projected_NP) and again.views_VNP is None
    assert all(torch.equal(a, b) for a, b in zip(again.levels, seen.levels, strict=True))


def kept(folder: Path, gain_points: list[float]) -> Path:
    scores = {
        "projected cosine": {"tau": [0.5, 0.4, 0.6], "gain_points": gain_points},
        "MACs": {"tau": [0.2, 0.1, 0.3], "gain_points": [0.5, 0.1, 0.9]},
    }
    path = folder / "evidence.json"
    path.write_text(json.dumps({"cls": {"supernet": "some", "networks": 48, "sets": 6, "scores": scores}}))
    return path


def test_what_was_measured_is_told_with_its_interval_and_that_of_the_baseline(tmp_path: Path) -> None:
    told = expectation(Task.CLS, "projected cosine", kept(tmp_path, [1.2, 0.3, 2.0]))
    assert told.startswith("expect better networks") and "6 sets, 48 networks of some" in told
    assert "+1.2 points" in told and "+0.3 to +2.0" in told and "MACs +0.20" in told


def test_no_gain_is_promised_where_the_interval_holds_zero(tmp_path: Path) -> None:
    assert "no surely better networks" in expectation(Task.CLS, "projected cosine", kept(tmp_path, [1.2, -0.1, 2.0]))


@pytest.mark.parametrize(("task", "criterion"), [(Task.SEG, "projected cosine"), (Task.CLS, "layouts")])
def test_what_was_not_measured_is_called_so(tmp_path: Path, task: Task, criterion: str) -> None:
    path = kept(tmp_path, [1.2, 0.3, 2.0])
    assert judged(task, criterion, path) is None and "nobody has measured" in expectation(task, criterion, path)


def test_the_kept_evidence_is_of_known_scores() -> None:
    found = json.loads(EVIDENCE.read_text("utf-8")) if EVIDENCE.exists() else {}
    gained = found.pop("search")
    assert f"a whole search gained {gained['gain_points'][0]:+.1f} points" in expectation(Task.CLS, gained["score"])
    assert found.keys() <= {"cls", "dense"}
    trivial = {"MACs", "parameters", "depth", "milliseconds"}
    assert all({*of["scores"]} <= {*CRITERIA, LEARNED, *trivial} for of in found.values())
    assert all(expectation(task, SCORES[task]) for task in Task)
