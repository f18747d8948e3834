from pathlib import Path

import pytest
from typer.testing import CliRunner

from zoo.cli.app import program
from zoo.errors import BadName
from zoo.plots import check_plot, new_figure, save_figure

pytest.importorskip("matplotlib")


@pytest.mark.parametrize(
    ("name", "why"), [("plot.mp3", "does not end in"), ("plot", "does not end in"), ("no/p.png", "is no folder")]
)
def test_what_cannot_be_drawn_is_refused_before_the_work(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(BadName, match=why):
        check_plot(tmp_path / name)
    ended = CliRunner().invoke(program("benchmark"), ["benchmark", "no-package", "--plot", str(tmp_path / name)])
    assert ended.exit_code == 2 and why in ended.stderr


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
