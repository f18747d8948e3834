"""Judge an artefact's outputs by torch's: relative measures, because an untrained net's 1e-9 passes any atol.

Detections' scores alone have a size that means something, from 0 to 1: there a difference may be too small to matter.

Shapes: N images; an output of any rank is taken as N vectors of D numbers (``x_ND``).
"""

# ruff: noqa: N803, N806 - a tensor's name ends in its shape.

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from export.types import Comparison, OutputComparison, Tolerance
from export.verify.detections import DETECTIONS, agreement, select, with_detections

Array = npt.NDArray[Any]

# Cosines closer than this are a tie: which of two twin images is "nearest" is then rounding, not a difference.
_TIE = 1e-6
# Of scores from 0 to 1: a five-thousandth of the smallest that counts (``MIN_SCORE``). A runtime's sigmoid is off by
# 1e-7, of which the root makes a thousandth of a score near 0; a detector that has learnt little has no others.
_SCORES, _NEGLIGIBLE = "scores", 1e-5
# Two boxes that overlap by just the limit may be one or two, by rounding.
_MIN_SELECTED = 0.99


def compare_outputs(reference: Mapping[str, Array], candidate: Mapping[str, Array], tolerance: Tolerance) -> Comparison:
    """Compare every output of an artefact with torch's.

    An output that is missing, unexpected, of another shape, or that holds NaN or infinity on either side gets the
    worst value of each measure (cosine -1, relative L2 and atol infinite, PSNR minus infinite), and so fails.

    Args:
        reference: torch fp32 outputs by name, each ``[N, ...]``, the same N images in the same order.
        candidate: the artefact's outputs by name, each ``[N, ...]``.
        tolerance: what each output must reach.

    Returns:
        Per output: the smallest cosine over images, ``||c - r|| / ||r||`` over all, PSNR in dB against the
        reference's largest magnitude, and the absolute tolerance that would have been needed. And what the task sees
        in ``embedding`` (3 images or more), ``logits``, ``boxes`` with ``scores``, and ``masks``, where there are
        such outputs. ``detections`` are judged by that alone: two scores that differ by rounding change their order.
    """
    names = (*reference, *(name for name in candidate if name not in reference))
    judged = [name for name in names if name != DETECTIONS]
    comparison = Comparison(
        outputs=tuple(_compare_output(name, reference.get(name), candidate.get(name)) for name in judged),
        images=len(next(iter(reference.values()))),
        neighbour_agreement=_agreement_on("embedding", reference, candidate),
        passed=False,
        top1_agreement=_same_class("logits", reference, candidate),
        box_agreement=_same_boxes(reference, candidate),
        mask_agreement=_same_class("masks", reference, candidate),
    )
    return replace(comparison, passed=_passes(comparison, tolerance) and _selects_well(candidate))


def neighbour_agreement(reference_ND: Array, candidate_ND: Array) -> float:
    """Return the share of images whose nearest other image, by cosine, is the same in both embeddings (0 to 1)."""
    reference_NN, candidate_NN = _cosines_to_others(reference_ND), _cosines_to_others(candidate_ND)
    chosen_N1 = candidate_NN.argmax(axis=1, keepdims=True)
    is_nearest_N1 = np.take_along_axis(reference_NN, chosen_N1, axis=1) >= reference_NN.max(1, keepdims=True) - _TIE
    return float(is_nearest_N1.mean())


def _passes(comparison: Comparison, tolerance: Tolerance) -> bool:
    seen = comparison.agreement
    return all(_meets(output, tolerance) for output in comparison.outputs) and (
        seen is None or seen >= tolerance.min_agreement
    )


def _meets(output: OutputComparison, tolerance: Tolerance) -> bool:
    if output.output == _SCORES and output.needed_atol <= _NEGLIGIBLE:
        return True
    return output.min_cosine >= tolerance.min_cosine and output.relative_l2 <= tolerance.max_relative_l2


def _compare_output(name: str, reference: Array | None, candidate: Array | None) -> OutputComparison:
    if reference is None or candidate is None or not _comparable(reference, candidate):
        return OutputComparison(output=name, min_cosine=-1.0, relative_l2=np.inf, psnr_db=-np.inf, needed_atol=np.inf)
    r_ND, c_ND = _vectors(reference), _vectors(candidate)
    difference_ND = np.abs(c_ND - r_ND)
    rms = float(np.sqrt(np.mean(difference_ND**2)))
    r_norm = float(np.linalg.norm(r_ND))
    return OutputComparison(
        output=name,
        min_cosine=float(_cosines(r_ND, c_ND).min()),
        # A reference of nothing but zeros proves nothing about the artefact: that fails as well.
        relative_l2=float(np.linalg.norm(difference_ND)) / r_norm if r_norm else np.inf,
        psnr_db=20 * float(np.log10(np.abs(r_ND).max() / rms)) if rms and r_norm else np.inf if r_norm else -np.inf,
        needed_atol=float(difference_ND.max()),
    )


def _agreement_on(name: str, reference: Mapping[str, Array], candidate: Mapping[str, Array]) -> float | None:
    if name not in reference or len(reference[name]) < 3:
        return None
    if name not in candidate or not _comparable(reference[name], candidate[name]):
        return 0.0
    return neighbour_agreement(_vectors(reference[name]), _vectors(candidate[name]))


def _same_class(name: str, reference: Mapping[str, Array], candidate: Mapping[str, Array]) -> float | None:
    """Share of images, or of their pixels, whose largest score along the second axis is the same class's."""
    if name not in reference or reference[name].ndim < 2:
        return None
    if name not in candidate or not _comparable(reference[name], candidate[name]):
        return 0.0
    return float((reference[name].argmax(axis=1) == candidate[name].argmax(axis=1)).mean())


def _same_boxes(reference: Mapping[str, Array], candidate: Mapping[str, Array]) -> float | None:
    """Agreement of detections; an artefact's own where it makes them, else those its dense outputs give."""
    names = ("boxes", "scores")
    if any(name not in reference for name in names):
        return None
    if any(name not in candidate or not _comparable(reference[name], candidate[name]) for name in names):
        return 0.0
    return agreement(with_detections(reference)[DETECTIONS], with_detections(candidate)[DETECTIONS])


def _selects_well(candidate: Mapping[str, Array]) -> bool:
    """Whether the boxes that a graph selects are those that torch selects of the same graph's proposals."""
    if DETECTIONS not in candidate or not {"boxes", "scores"} <= candidate.keys():
        return True
    expected = select(candidate["boxes"], candidate["scores"])
    if not _comparable(expected, candidate[DETECTIONS]):
        return False
    same = agreement(expected, candidate[DETECTIONS])
    return same is None or same >= _MIN_SELECTED


def _comparable(reference: Array, candidate: Array) -> bool:
    return reference.shape == candidate.shape and bool(np.isfinite(reference).all() and np.isfinite(candidate).all())


def _vectors(output: Array) -> Array:
    return output.reshape(len(output), -1).astype(np.float64)


def _cosines(a_ND: Array, b_ND: Array) -> Array:
    """Cosine per image; two zero vectors are equal (1), a zero vector and another are not (0)."""
    norms_N = np.linalg.norm(a_ND, axis=1) * np.linalg.norm(b_ND, axis=1)
    both_zero_N = ~a_ND.any(axis=1) & ~b_ND.any(axis=1)
    cosines_N = np.divide((a_ND * b_ND).sum(axis=1), norms_N, out=np.zeros_like(norms_N), where=norms_N > 0)
    return np.where(both_zero_N, 1.0, np.clip(cosines_N, -1.0, 1.0))


def _cosines_to_others(x_ND: Array) -> Array:
    norms_N1 = np.linalg.norm(x_ND, axis=1, keepdims=True)
    unit_ND = np.divide(x_ND, norms_N1, out=np.zeros_like(x_ND), where=norms_N1 > 0)
    cosines_NN: Array = unit_ND @ unit_ND.T
    np.fill_diagonal(cosines_NN, -np.inf)
    return cosines_NN
