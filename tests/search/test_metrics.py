import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from search.curve import loss_curve
from search.errors import WriteFailed
from search.oneshot.engine.watch import MetricsFile
from search.oneshot.step import rank_of
from tests.search.small_supernets import no_file_above


def test_a_full_disk_is_one_line_with_the_fix_from_the_first_line_on(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.csv", ("step", "loss"))
    trainer, module = (
        cast(Any, SimpleNamespace(global_step=0)),
        cast(Any, SimpleNamespace(metrics={"step": 0, "loss": 1.0})),
    )
    with (
        no_file_above(0),
        pytest.raises(WriteFailed, match=r"metrics.csv cannot be written .*; free some space, resume"),
    ):
        file.on_train_start(trainer, module)
    file.on_train_start(trainer, module)
    size = (tmp_path / "metrics.csv").stat().st_size
    with no_file_above(size), pytest.raises(WriteFailed, match=r"free some space, resume"):
        file.on_train_batch_end(trainer, module)
    file.on_train_batch_end(trainer, module)
    assert (tmp_path / "metrics.csv").read_text() == "step,loss\n0,1.0\n"


def metrics(path: Path, losses: list[tuple[float, float | None]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "lr", "loss_largest", "loss_random", "rank"])
        writer.writerows([i, 0.1, a, "" if b is None else b, ""] for i, (a, b) in enumerate(losses))
    return path


@pytest.mark.parametrize("steps", [1, 7, 40, 41, 100])
def test_stretches_cover_all_steps_once(steps: int, tmp_path: Path) -> None:
    curve = loss_curve(metrics(tmp_path / "m.csv", [(float(i), None) for i in range(steps)]))
    rows = curve["rows"]
    length = int(curve["note"].split()[2])
    assert curve["columns"] == ["step", "loss_largest", "loss_random"] and len(rows) <= 40
    assert rows[-1][0] == steps - 1 and [row[0] for row in rows[:-1]] == list(range(length - 1, steps - 1, length))
    sizes = [b - a for a, b in zip([-1, *(row[0] for row in rows)], [row[0] for row in rows], strict=False)]
    assert sum(row[1] * size for row, size in zip(rows, sizes, strict=True)) == pytest.approx(sum(range(steps)))
    assert all(row[2] is None for row in rows)


def test_a_loss_that_begins_late_is_the_mean_of_its_own_steps(tmp_path: Path) -> None:
    curve = loss_curve(metrics(tmp_path / "m.csv", [(1.0, None), (1.0, 3.0), (1.0, 5.0)]), points=1)
    assert curve["rows"] == [[2, 1.0, 4.0]]


def test_a_training_without_steps_has_an_empty_curve(tmp_path: Path) -> None:
    assert loss_curve(metrics(tmp_path / "m.csv", []))["rows"] == []


def test_one_point_has_neither_spread_nor_rank() -> None:
    rank = rank_of(torch.ones(8, 4))
    assert rank.spread == pytest.approx(0, abs=1e-6) and rank.effective == pytest.approx(1, abs=0.1)


def test_points_on_a_line_have_rank_one_and_directions_everywhere_all_there_are() -> None:
    ends = torch.tensor([[1.0, 0.2, 0], [1, -0.2, 0]]).repeat(6, 1)
    assert rank_of(ends).effective == pytest.approx(1, abs=1e-4)
    many = torch.randn(4000, 5, generator=torch.Generator().manual_seed(0))
    everywhere = rank_of(many)
    assert everywhere.effective == pytest.approx(5, abs=0.05) and everywhere.spread == pytest.approx(1, abs=0.01)


def test_neither_depends_on_lengths_order_or_rotation() -> None:
    z = torch.randn(16, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    turned = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))[0]
    lengths = torch.rand(16, 1, dtype=torch.float64) + 0.5
    for other in (z * lengths, z.flip(0), z @ turned):
        assert rank_of(other).spread == pytest.approx(rank_of(z).spread)
        assert rank_of(other).effective == pytest.approx(rank_of(z).effective, abs=1e-4)


def test_spread_is_the_root_of_one_minus_the_mean_direction_s_square() -> None:
    z = torch.nn.functional.normalize(torch.randn(32, 4, generator=torch.Generator().manual_seed(1)) + 1, dim=1)
    assert rank_of(z).spread == pytest.approx(float((1 - z.mean(0).square().sum()).sqrt()), rel=1e-5)


def test_the_corners_of_a_triangle_lie_in_a_plane() -> None:
    assert rank_of(torch.eye(3)).effective == pytest.approx(2)
