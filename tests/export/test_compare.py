from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export import Tolerance, compare_outputs
from export.verify.compare import neighbour_agreement

TOLERANCE = Tolerance(min_cosine=0.99999, max_relative_l2=1e-4)


def embeddings(count: int = 12, width: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)


def only(reference: np.ndarray, candidate: np.ndarray):
    return compare_outputs({"embedding": reference}, {"embedding": candidate}, TOLERANCE)


def test_an_output_equals_itself():
    comparison = only(embeddings(), embeddings())
    (output,) = comparison.outputs
    assert comparison.passed
    assert comparison.images == 12
    assert comparison.neighbour_agreement == 1.0
    assert (output.min_cosine, output.relative_l2, output.psnr_db, output.needed_atol) == (
        pytest.approx(1.0, abs=1e-12),
        0.0,
        math.inf,
        0.0,
    )


def test_measures_equal_a_plain_loop_over_images():
    reference, noise = embeddings(), embeddings(seed=1)
    candidate = reference + 0.01 * noise
    (output,) = only(reference, candidate).outputs
    pairs = list(zip(reference.astype(float), candidate.astype(float), strict=True))
    difference = np.concatenate([c - r for r, c in pairs])
    assert output.min_cosine == pytest.approx(min(r @ c / math.sqrt((r @ r) * (c @ c)) for r, c in pairs))
    assert output.relative_l2 == pytest.approx(math.sqrt(sum(difference**2) / sum(sum(r**2) for r, _ in pairs)))
    assert output.needed_atol == pytest.approx(max(abs(difference)))
    peak = max(max(abs(r)) for r, _ in pairs)
    assert output.psnr_db == pytest.approx(10 * math.log10(peak**2 / (sum(difference**2) / len(difference))))


@given(st.floats(1e-12, 1e12))
def test_relative_measures_do_not_change_with_the_outputs_scale(scale):
    reference, candidate = embeddings().astype(float), embeddings().astype(float) + 1e-3
    small, large = only(reference, candidate).outputs[0], only(reference * scale, candidate * scale).outputs[0]
    assert large.min_cosine == pytest.approx(small.min_cosine)
    assert large.relative_l2 == pytest.approx(small.relative_l2)
    assert large.psnr_db == pytest.approx(small.psnr_db)


def test_a_tiny_output_of_an_untrained_net_does_not_pass_by_being_tiny():
    assert not only(embeddings() * 1e-9, embeddings(seed=1) * 1e-9).passed


def test_scores_that_differ_by_less_than_counts_pass_however_small_they_are():
    torch_s = {"scores": np.full((2, 9, 3), 0.0067)}
    near, far = ({"scores": torch_s["scores"] + np.array([off, 0, 0])} for off in (9e-6, 2e-5))
    assert compare_outputs(torch_s, near, TOLERANCE).outputs[0].relative_l2 > TOLERANCE.max_relative_l2
    assert compare_outputs(torch_s, near, TOLERANCE).passed
    assert not compare_outputs(torch_s, far, TOLERANCE).passed
    assert not compare_outputs({"logits": torch_s["scores"]}, {"logits": near["scores"]}, TOLERANCE).passed
    assert not compare_outputs(torch_s, {"scores": np.full((2, 9, 3), np.nan)}, TOLERANCE).passed


def test_one_wrong_image_among_many_fails():
    candidate = embeddings(500)
    candidate[77] = -candidate[77]
    assert not only(embeddings(500), candidate).passed


def test_a_scale_that_cosine_cannot_see_fails():
    assert only(embeddings(), embeddings() * 1.01).outputs[0].min_cosine > 0.99999
    assert not only(embeddings(), embeddings() * 1.01).passed


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", ["reference", "candidate", "both"])
def test_nan_or_infinity_on_either_side_fails_with_the_worst_measures(bad, side):
    reference, candidate = embeddings(), embeddings()
    if side != "candidate":
        reference[3, 2] = bad
    if side != "reference":
        candidate[3, 2] = bad
    comparison = only(reference, candidate)
    (output,) = comparison.outputs
    assert not comparison.passed
    assert (output.min_cosine, output.relative_l2, output.psnr_db) == (-1.0, math.inf, -math.inf)
    assert output.needed_atol == math.inf
    assert comparison.neighbour_agreement == 0.0


def test_another_shape_with_the_same_numbers_fails():
    assert not only(embeddings(4, 4), embeddings(4, 4).reshape(4, 2, 2)).passed


def test_a_missing_and_an_unexpected_output_fail_by_name():
    comparison = compare_outputs({"p2": embeddings()}, {"p3": embeddings()}, TOLERANCE)
    assert [output.output for output in comparison.outputs] == ["p2", "p3"]
    assert not comparison.passed


def test_an_output_of_nothing_but_zeros_proves_nothing_and_fails():
    assert not only(np.zeros((4, 8)), np.zeros((4, 8))).passed


def test_one_image_without_any_activation_is_equal_to_itself():
    reference = embeddings()
    reference[5] = 0
    assert only(reference, reference.copy()).passed
    candidate = reference.copy()
    candidate[5, 0] = 1e-9
    assert only(reference, candidate).outputs[0].min_cosine == 0.0


def test_neighbour_agreement_is_the_share_of_images_with_the_same_nearest_one():
    reference = embeddings(40)
    candidate = reference + 0.5 * embeddings(40, seed=1)
    agree = 0
    for i in range(40):
        nearest = []
        for x in (reference, candidate):
            cosines = [-2 if j == i else x[i] @ x[j] / np.linalg.norm(x[i]) / np.linalg.norm(x[j]) for j in range(40)]
            nearest.append(int(np.argmax(cosines)))
        agree += nearest[0] == nearest[1]
    assert 0 < agree < 40
    assert neighbour_agreement(reference, candidate) == agree / 40


def test_twin_images_do_not_lower_the_neighbour_agreement():
    twins = np.concatenate([embeddings(3)] * 4).astype(np.float64)
    assert neighbour_agreement(twins, twins + 1e-9 * embeddings(12)) == 1.0


def test_neighbours_need_an_embedding_and_three_images():
    assert only(embeddings(2), embeddings(2)).neighbour_agreement is None
    assert compare_outputs({"p2": embeddings()}, {"p2": embeddings()}, TOLERANCE).neighbour_agreement is None


@pytest.mark.parametrize("shape", [(6, 5), (6, 3, 4, 4), (6, 1), (6,)])
def test_outputs_of_any_rank_are_compared(shape):
    output = np.random.default_rng(0).standard_normal(shape)
    assert only(output, output.copy()).passed
