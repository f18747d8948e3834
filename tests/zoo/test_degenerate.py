"""Images that say nothing are named for what they are before any work; an interrupted run leads to ``--resume``."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

import zoo.cli.console
from zoo.cli.app import program


def copies(folder: Path) -> Path:
    first, *others = sorted(folder.glob("*.png"))
    for path in others:
        shutil.copyfile(first, path)
    return folder


def black(folder: Path) -> Path:
    for path in folder.glob("*.png"):
        Image.new("RGB", (40, 40)).save(path)
    return folder


def sorted_into_classes(folder: Path) -> Path:
    for i, path in enumerate(sorted(folder.glob("*.png"))):
        (folder / "ab"[i % 2]).mkdir(exist_ok=True)
        path.rename(folder / "ab"[i % 2] / path.name)
    return folder


@pytest.fixture(autouse=True)
def nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of this machine takes minutes, after which nobody wants to hear of images."""
    for module in ("zoo.make.darts", "zoo.make.job"):
        monkeypatch.setattr(f"{module}.table_for", lambda *args, **options: pytest.fail("measured before it refused"))


def refused(*words: str) -> str:
    result = CliRunner().invoke(program(), [*words, "--quiet"])
    assert result.exit_code == 1 and len(result.stderr.splitlines()) == 1, result.stderr
    return result.stderr


@pytest.mark.parametrize("spoil", [copies, black])
def test_unlabelled_images_that_are_all_the_same_are_refused_at_once(
    spoil: Callable[[Path], Path], home: Path, image_folder: Path, pristine: Path, tmp_path: Path
) -> None:
    images, out = str(spoil(image_folder)), tmp_path / "out"
    for words in (
        ("search", "--images", images, "--budget", "20ms", "-o", str(out)),
        ("darts", "--images", images, "-o", str(out)),
        ("pretrain", "--images", images, "-o", str(out)),
        ("export", str(pristine), "--target", "cloud", "--calibration", images, "-o", str(out)),
    ):
        assert "only 1 of 64 images are n" in refused(*words)
        assert not out.exists()


@pytest.mark.parametrize("spoil", [copies, black])
def test_labelled_images_that_are_all_the_same_are_refused_at_once(
    spoil: Callable[[Path], Path], home: Path, image_folder: Path, pristine: Path, tmp_path: Path
) -> None:
    folder, out = str(sorted_into_classes(spoil(image_folder))), tmp_path / "out"
    assert "only 1 of 64 images are no copies" in refused(
        "evaluate", str(pristine), "--train", folder, "--test", folder
    )
    assert "are all the same" in refused("finetune", str(pristine), "--data", folder, "-o", str(out))
    assert not out.exists()


@pytest.mark.parametrize("command", ["pretrain", "darts", "finetune"])
def test_an_interrupted_run_is_told_of_and_the_same_command_leads_to_resume(
    command: str, home: Path, image_folder: Path, pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    kept = {
        "pretrain": out / "checkpoints" / "last.ckpt",
        "darts": out / "seeds" / "0" / "last.ckpt",
        "finetune": tmp_path / ".out.finetune" / "last.ckpt",
    }[command]
    words = {
        "pretrain": ["--images", str(image_folder)],
        "darts": ["--images", str(image_folder), "--device", "epyc-avx2"],
        "finetune": [str(pristine), "--data", str(image_folder)],
    }[command]
    function = {"pretrain": "zoo.make.pretrain.train", "darts": "zoo.make.darts.darts"}

    def stopped(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    def stopped_late(*args: object, **options: object) -> None:
        kept.parent.mkdir(parents=True)
        kept.write_bytes(b"")
        raise KeyboardInterrupt

    for stop, told in ((stopped, "nothing half-written was left behind"), (stopped_late, "--resume")):
        monkeypatch.setattr(zoo.cli.console, "_left", [])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(function.get(command, "zoo.use.finetune.finetune"), stop)
            result = CliRunner().invoke(program(), [command, *words, "-o", str(out), "--quiet"])
        assert result.exit_code == 130 and told in result.stderr.splitlines()[-1]
    sorted_into_classes(image_folder)
    again = CliRunner().invoke(program(), [command, *words, "-o", str(out), "--quiet"])
    assert again.exit_code == 2 and "--resume goes on with it, --overwrite begins anew" in again.stderr, again.stderr
    assert kept.exists()
