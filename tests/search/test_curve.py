import csv
from pathlib import Path

import pytest

from search.curve import loss_curve


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
