"""Laws of the scores that compare feature maps."""

# ruff: noqa: N803 - a tensor's name ends in its shape.

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from search.scores.maps import gram_rows, layout, layout_agreement, palette, palette_agreement, row_agreement

Compare = Callable[[Tensor, Tensor], float]


def by_layout(student_BCHW: Tensor, teacher_BCHW: Tensor) -> float:
    return layout_agreement([layout(student_BCHW)], [layout(teacher_BCHW)])


def by_palette(student_BCHW: Tensor, teacher_BCHW: Tensor) -> float:
    return palette_agreement([palette(student_BCHW)], [palette(teacher_BCHW)])


both = pytest.mark.parametrize("compare", [by_layout, by_palette])


def maps(seed: int, channels: int = 12, side: int = 6, images: int = 10) -> Tensor:
    """Post-ReLU maps with a few blobs each: not centered, neighbors alike."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(images, channels, 3, 3, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=side, mode="bilinear").relu() + 0.1


def rotation(channels: int, seed: int = 0) -> Tensor:
    return torch.linalg.qr(torch.randn(channels, channels, generator=torch.Generator().manual_seed(seed))).Q


@both
def test_a_copy_scores_1_and_nothing_scores_more(compare: Compare) -> None:
    teacher = maps(0)
    assert compare(teacher, teacher) == pytest.approx(1)
    others = [maps(1), teacher + 0.1 * maps(2), teacher.square(), teacher.flip(0), teacher[:, :3]]
    assert all(0 <= compare(other, teacher) < 1 for other in others)


@both
def test_a_collapsed_map_scores_0_the_least_there_is(compare: Compare) -> None:
    teacher = maps(0)
    constant = torch.rand(1, 12, 1, 1, generator=torch.Generator().manual_seed(3)).expand_as(teacher)
    for collapsed in (constant, constant * (1 + 1e-7 * maps(1)), torch.zeros_like(teacher), torch.ones_like(teacher)):
        assert compare(collapsed, teacher) == compare(teacher, collapsed) == 0
    assert compare(maps(1), teacher) > 0


@both
def test_rotating_and_scaling_the_channels_changes_nothing(compare: Compare) -> None:
    student, teacher = maps(0) + maps(1), maps(0)
    score = compare(student, teacher)
    turned = torch.einsum("bchw,cd->bdhw", student, rotation(12))
    assert compare(1000 * turned, teacher) == pytest.approx(score, rel=1e-5)
    assert compare(student, 0.001 * teacher) == pytest.approx(score, rel=1e-5)
    assert compare(turned, student) == pytest.approx(1)


@both
def test_networks_of_different_widths_are_compared(compare: Compare) -> None:
    teacher = maps(0)
    assert compare(torch.cat([teacher, teacher], dim=1), teacher) == pytest.approx(1)
    assert 0 < compare(maps(0, channels=5), teacher) < 1


@both
def test_moved_positions_and_mixed_up_images_lower_the_score(compare: Compare) -> None:
    teacher, generator = maps(0, images=40), torch.Generator().manual_seed(1)
    moved = teacher.flatten(2)[..., torch.randperm(36, generator=generator)].unflatten(2, (6, 6))
    mixed = teacher[torch.randperm(40, generator=generator)]
    assert compare(moved, teacher) < 0.7 and compare(mixed, teacher) < 0.7


@both
def test_the_order_of_the_images_does_not_matter_and_the_score_is_symmetric(compare: Compare) -> None:
    student, teacher = maps(0) + maps(1), maps(0)
    assert compare(student.flip(0), teacher.flip(0)) == pytest.approx(compare(student, teacher))
    assert compare(teacher, student) == pytest.approx(compare(student, teacher))


@both
def test_the_score_falls_with_noise(compare: Compare) -> None:
    teacher = maps(0)
    noise = torch.randn(teacher.shape, generator=torch.Generator().manual_seed(5))
    scores = [compare(teacher + level * noise, teacher) for level in (0, 0.1, 0.3, 1, 3)]
    assert scores == sorted(scores, reverse=True)


def test_both_equal_centered_kernel_alignment_written_out() -> None:
    student, teacher = maps(1, side=4), maps(0, side=4)

    def aligned(x_PC: Tensor, y_PC: Tensor) -> float:
        h = torch.eye(len(x_PC)) - 1 / len(x_PC)
        a, b = (h @ z @ z.T @ h for z in (x_PC, y_PC))
        return float((a * b).sum() / (a.norm() * b.norm()))

    rows = [torch.nn.functional.normalize(m, dim=1).permute(0, 2, 3, 1).flatten(1, 2) for m in (student, teacher)]
    each = [aligned(x, y) for x, y in zip(*rows, strict=True)]
    assert by_layout(student, teacher) == pytest.approx(sum(each) / len(each), rel=1e-4)
    assert by_palette(student, teacher) == pytest.approx(aligned(*(x.flatten(0, 1) for x in rows)), rel=1e-4)


def test_layout_is_blind_to_what_only_differs_between_images_and_palette_sees_it() -> None:
    teacher = maps(0)
    shifted = [torch.einsum("chw,cd->dhw", image, rotation(12, seed)) for seed, image in enumerate(teacher)]
    turned_image_by_image = torch.stack(shifted)
    assert by_layout(turned_image_by_image, teacher) == pytest.approx(1)
    assert by_palette(turned_image_by_image, teacher) < 0.9


def test_large_maps_are_pooled_and_all_levels_count_alike() -> None:
    assert layout(maps(0, side=40)).shape == (10, 64 * 64)
    assert palette(maps(0, side=40)).shape == (640, 12)
    good, bad = maps(0), maps(1)
    mixed = layout_agreement([layout(good), layout(bad)], [layout(good), layout(good)])
    assert mixed == pytest.approx((1 + by_layout(bad, good)) / 2)


def test_rows_of_a_copy_agree_wholly_and_those_of_a_collapsed_map_not_at_all() -> None:
    teacher = gram_rows(maps(0))
    assert row_agreement(teacher, teacher) == pytest.approx(1)
    assert row_agreement(gram_rows(torch.ones(10, 12, 6, 6)), teacher) == pytest.approx(0, abs=1e-6)
    assert row_agreement(gram_rows(maps(1)), teacher) < row_agreement(gram_rows(maps(0) + 0.2 * maps(1)), teacher) < 1


def test_no_level_and_other_levels_are_refused() -> None:
    with pytest.raises(ValueError, match="levels cannot be compared"):
        layout_agreement([], [])
    with pytest.raises(ValueError, match="1 and 2 levels"):
        palette_agreement([maps(0)], [maps(0), maps(0)])
