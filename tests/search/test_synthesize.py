"""Statistics of images, and images made from them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from search.errors import BadSupernet, WriteFailed
from search.images.statistics import ImageStatistics, load_statistics, measure_statistics, save_statistics
from search.images.synthesize import dead_leaves, synthesize
from tests.conftest import refused
from tests.search.small_supernets import no_file_above

PX = 32


def blue_blurs(count: int = 96) -> Tensor:
    """Dark, smooth, bluish images of many contrasts: not at all like dead leaves."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(count, 3, 5, 5, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=PX, mode="bicubic")
    contrast = torch.exp(0.5 * torch.randn(count, 1, 1, 1, generator=generator))
    mean = torch.tensor([0.2, 0.3, 0.45])[:, None, None]
    x = mean + 0.04 * contrast * smooth * torch.tensor([0.5, 0.7, 1.0])[:, None, None]
    return (x.clamp(0, 1) * 255).to(torch.uint8)


@pytest.fixture(scope="module")
def statistics() -> ImageStatistics:
    return measure_statistics(blue_blurs())


def distance(a: ImageStatistics, b: ImageStatistics) -> float:
    """Mean difference of logarithmic power along the strongest axis, of the low frequencies."""
    pairs = list(zip(a.power[0], b.power[0], strict=True))[:6]
    return float(np.mean([abs(np.log(p / q)) for p, q in pairs]))


def test_synthesized_images_have_the_statistics_they_were_made_from(statistics: ImageStatistics) -> None:
    made = measure_statistics(synthesize(statistics, 256, PX))
    leaves = measure_statistics(dead_leaves(256, PX))
    assert made.mean == pytest.approx(statistics.mean, abs=0.02)
    assert made.contrast == pytest.approx(statistics.contrast, abs=0.15)
    assert abs(np.dot(made.axes[0], statistics.axes[0])) > 0.99
    assert np.allclose(made.mean_covariance, statistics.mean_covariance, atol=1e-3)
    assert distance(made, statistics) < 0.25 < 1 < distance(leaves, statistics)


def test_measuring_does_not_depend_on_the_order_of_the_images(statistics: ImageStatistics) -> None:
    assert measure_statistics(blue_blurs().flip(0)) == statistics


def test_power_adds_up_to_the_variance_within_the_images() -> None:
    pixels = blue_blurs()
    x = pixels.double() / 255
    variance = float((x - x.mean((2, 3), keepdim=True)).square().mean((0, 2, 3)).sum())
    cycles = np.hypot(*np.meshgrid(np.fft.fftfreq(PX) * PX, np.fft.fftfreq(PX) * PX)).round()
    places = [(cycles == f).sum() for f in range(1, PX // 2 + 1)]
    total = sum(float(np.dot(row, places)) for row in measure_statistics(pixels).power)
    assert total == pytest.approx(variance, rel=0.02)


def test_same_arguments_give_the_same_images_and_another_seed_gives_others(statistics: ImageStatistics) -> None:
    first = synthesize(statistics, 8, PX)
    assert first.dtype == torch.uint8 and first.shape == (8, 3, PX, PX)
    assert torch.equal(first, synthesize(statistics, 8, PX)) and not torch.equal(
        first, synthesize(statistics, 8, PX, seed=1)
    )


@pytest.mark.parametrize("size_px", [8, 12, 48])
def test_other_sizes_keep_colors_and_contrasts(statistics: ImageStatistics, size_px: int) -> None:
    made = synthesize(statistics, 64, size_px)
    assert made.shape == (64, 3, size_px, size_px)
    assert made.float().mean((0, 2, 3)).div(255).tolist() == pytest.approx(statistics.mean, abs=0.03)
    assert measure_statistics(made).contrast[0] == pytest.approx(statistics.contrast[0], abs=0.2)


def test_statistics_survive_their_file_and_are_rounded_to_it(statistics: ImageStatistics, tmp_path: Path) -> None:
    assert load_statistics(tmp_path) is None
    path = save_statistics(statistics, tmp_path)
    assert load_statistics(tmp_path) == statistics and path.stat().st_size < 10_000
    assert [p.name for p in tmp_path.iterdir()] == ["statistics.json"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:100],
        lambda text: text.replace('"schema": 1', '"schema": 2'),
        lambda text: text.replace('"images"', '"pictures"'),
        lambda text: text.replace('"size_px": 32', '"size_px": 64'),
        lambda text: text.replace('"contrast": [', '"contrast": [NaN, '),
        lambda text: "\x00",
    ],
)
def test_a_damaged_file_is_one_line(statistics: ImageStatistics, tmp_path: Path, damage: object) -> None:
    path = save_statistics(statistics, tmp_path)
    path.write_text(damage(path.read_text()))  # type: ignore[operator]
    with refused(BadSupernet) as caught:
        load_statistics(tmp_path)
    assert "statistics.json" in str(caught.value)


def test_a_full_disk_leaves_the_statistics_of_before(statistics: ImageStatistics, tmp_path: Path) -> None:
    save_statistics(statistics, tmp_path)
    with no_file_above(100), pytest.raises(WriteFailed):
        save_statistics(replace(statistics, images=7), tmp_path)
    assert load_statistics(tmp_path) == statistics
    assert [p.name for p in tmp_path.iterdir()] == ["statistics.json"]


def test_too_few_images_have_no_statistics() -> None:
    for pixels in (blue_blurs()[:1], blue_blurs()[:, :, :2, :2]):
        with pytest.raises(ValueError, match="have no statistics"):
            measure_statistics(pixels)
