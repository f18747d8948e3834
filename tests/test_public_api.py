"""What each room offers: every name exists, and ``dir`` shows these and nothing else."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import zoo
from zoo.errors import BadRequest

ROOT = Path(__file__).parent.parent
OFFER = re.compile(r"^from (\S+) import (\w+) as (\w+)$")
# DESIGN: what the command does, ``zoo.`` does.
SURFACE = {
    "get", "search", "pretrain", "darts", "evaluate", "finetune", "predict", "export", "benchmark",
    "push", "pull", "list", "devices", "Model", "ModelCard", "__version__",
}  # fmt: skip


@pytest.mark.parametrize("room", ["search", "export", "hardware_profiles"])
def test_every_name_that_a_room_offers_exists_and_dir_shows_them_alone(room: str) -> None:
    lines = (ROOT / room / "__init__.pyi").read_text("utf-8").splitlines()
    offers = [match.group(3) for line in lines if (match := OFFER.match(line)) and match[2] == match[3]]
    assert len(offers) == len(lines) == len(set(offers))
    module = importlib.import_module(room)
    assert [name for name in offers if getattr(module, name, None) is None] == []
    assert set(dir(module)) == set(offers)


def test_the_zoo_s_surface_is_the_documented_one() -> None:
    assert SURFACE <= set(zoo.__all__)
    assert set(dir(zoo)) == set(zoo.__all__)
    assert all(getattr(zoo, name) is not None for name in zoo.__all__)
    with pytest.raises(AttributeError, match="no attribute 'gte'; nearest: get"):
        zoo.gte  # noqa: B018
    assert {"list", "show", "measure"} <= set(dir(zoo.devices))
    assert all(callable(getattr(zoo.devices, name)) for name in dir(zoo.devices))


def test_the_report_can_be_called_whatever_of_its_folder_was_imported() -> None:
    import zoo.report.page

    assert zoo.report.page is sys.modules["zoo.report.page"]
    with pytest.raises(BadRequest, match="0 packages; a page shows 1 to"):
        zoo.report()


def test_importing_the_zoo_imports_next_to_nothing() -> None:
    code = "import sys; before = set(sys.modules); import zoo; print(len(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 60  # the standard library alone; torch is thousands


@pytest.mark.parametrize("room", ["search", "export", "hardware_profiles"])
def test_a_folder_that_hides_one_of_ours_is_named(room: str, tmp_path: Path) -> None:
    (tmp_path / room).mkdir()
    (tmp_path / room / "__init__.py").write_text("")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for words in (["-c", "import zoo; zoo.export"], ["-m", "zoo", "search", "--help"]):
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        told = f"{tmp_path / room} hides the zoo's own {room}; start Python in another folder, or rename that one"
        assert done.stderr.splitlines()[-1].endswith(told), done.stderr


def test_a_folder_of_the_same_name_does_not_hide_the_zoo(tmp_path: Path) -> None:
    """As many projects have one; an editable installation of setuptools' usual kind would be hidden."""
    (tmp_path / "zoo").mkdir()
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for environment in (bare, {**bare, "PYTHONPATH": str(ROOT)}):
        code = "import zoo; print(zoo.__file__, zoo.__version__)"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
