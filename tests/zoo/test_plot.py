from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import zoo.plots
import zoo.use.benchmark
from hardware_profiles.tables.find import find_table
from tests.zoo.small_files import run
from zoo.errors import BadName
from zoo.plots import check_plot, new_figure, plot_checks, plot_validation, save_figure
from zoo.use.benchmark import Row, plot_benchmark

pytest.importorskip("matplotlib")


@pytest.mark.parametrize(
    ("name", "why"), [("plot.mp3", "does not end in"), ("plot", "does not end in"), ("no/p.png", "is no folder")]
)
def test_what_cannot_be_drawn_is_refused_before_the_work(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(BadName, match=why):
        check_plot(tmp_path / name)
    ended = run("benchmark", "no-package", "--plot", tmp_path / name)
    assert ended.exit_code == 2 and why in ended.stderr


@pytest.mark.parametrize("alone", [False, True])
def test_accuracies_of_a_training_are_a_line_a_network_over_the_images_seen(tmp_path: Path, alone: bool) -> None:
    columns = ["step", "images", "knn_largest", "linear_largest", "knn_smallest", "linear_smallest"]
    smallest = [None, None] if alone else [0.2, 0.25]
    rows = [[99, 6400, 0.3, 0.35, *smallest], [199, 12800, 0.4, 0.45, *smallest]]
    plot_validation({"columns": columns, "rows": rows}, tmp_path / "drawn.svg", title="supernet")
    drawn = (tmp_path / "drawn.svg").read_text()
    assert drawn.count("<!-- largest -->") == 1 and drawn.count("<!-- smallest -->") == 1 - alone
    assert "<!-- images seen -->" in drawn and "<!-- 12000 -->" in drawn


def test_a_plot_that_fails_leaves_the_earlier_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure, path = new_figure(1, 1), tmp_path / "plot.svg"
    save_figure(figure, path)
    before = path.read_bytes()

    def half(partial: Path, **_: object) -> None:
        partial.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figure, "savefig", half)
    with pytest.raises(OSError, match="No space"):
        save_figure(figure, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are saved."""
    figures: list[Any] = []

    def keep(figure: Any, path: Path, **_: object) -> Path:
        figures.append(figure)
        return path

    for module in (zoo.plots, zoo.use.benchmark):
        monkeypatch.setattr(module, "save_figure", keep)
    return figures


@pytest.mark.parametrize("files", [1, 6])
def test_the_legend_of_a_benchmark_covers_nothing_that_is_drawn(drawn: list[Any], files: int) -> None:
    row = Row(
        file="onnx/model.onnx",
        format="onnx",
        precision="fp32",
        threads=1,
        batch=1,
        median_ms=2.0,
        p90_ms=3.0,
        samples=9,
        images_per_s=500.0,
        is_fastest=True,
    )
    rows = [replace(row, file=f"onnx/model_{i}.onnx", threads=threads) for i in range(files) for threads in (1, 2, 4)]
    plot_benchmark(rows, Path("plot.png"), title="a package on a chip")
    (figure,) = drawn
    figure.draw_without_rendering()
    (axes,), (legend,) = figure.axes, figure.legends
    assert axes.get_legend() is None
    assert not legend.get_window_extent().overlaps(axes.get_tightbbox())
    assert len(legend.get_texts()) == files


@pytest.mark.parametrize(
    ("device", "axis"), [("raspi4", "published ms (sums of block times)"), ("epyc-avx2", "measured ms")]
)
def test_sums_of_block_times_are_not_called_measured(drawn: list[Any], device: str, axis: str) -> None:
    plot_checks(find_table(device, net="mobile", resolution_px=32), Path("plot.png"))
    assert drawn[0].axes[0].get_xlabel() == axis
