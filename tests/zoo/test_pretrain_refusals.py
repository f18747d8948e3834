"""Images and numbers that cannot train end ``zoo pretrain`` with one line that names the fix, and leave no folder."""

import shutil
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.conftest import structured_image
from zoo.cli.app import program


def copies(folder: Path) -> None:
    for i in range(80):
        shutil.copyfile(folder / "000.png", folder / f"copy{i}.png")
    for i in range(1, 64):
        (folder / f"{i:03d}.png").unlink()


def few(folder: Path) -> None:
    for path in sorted(folder.iterdir())[20:]:
        path.unlink()


def specks(folder: Path) -> None:
    for path in folder.iterdir():
        structured_image(0, size_px=6).save(path)


def damaged(folder: Path) -> None:
    for path in sorted(folder.iterdir())[10:]:
        path.write_bytes(path.read_bytes()[:100])


def gray(folder: Path) -> None:
    for path in folder.iterdir():
        Image.new("RGB", (40, 40), "gray").save(path)


def nothing(folder: Path) -> None: ...


@pytest.mark.parametrize(
    ("change", "options", "code", "complaint"),
    [
        (few, [], 1, "holds 20 usable images; needed are at least 64: add images"),
        (damaged, [], 1, "holds 10 usable images; needed are at least 64: add images or mend the 54 skipped"),
        (specks, [], 1, "6x6 px; the shorter side must be at least 8 px"),
        (copies, [], 1, "only 1 of 81 images are not copies, fewer than a batch of 64; add others, or lower the batch"),
        (gray, [], 1, "only 1 of 64 images are not copies"),
        (nothing, ["--batch", "128"], 1, "64 images are fewer than a batch of 128; add images, or lower the batch"),
        (nothing, ["--batch", "1"], 2, "Input should be greater than or equal to 2"),
        (nothing, ["--accumulate", "5"], 2, "batch is 64; 5 parts of 1 group(s) need a multiple of 5"),
        (
            nothing,
            ["--devices", "3"],
            2,
            "3 processes share the work, and batch is 64; 1 parts of 3 group(s) need a multiple of 3",
        ),
        (nothing, ["--devices", "2", "--norm-groups", "3", "--batch", "63"], 1, "norm_groups is 3, and whole groups"),
        (nothing, ["--from", "mobile-mocov2", "--net", "resnet"], 2, "mobile-mocov2 is of net mobile"),
        (nothing, ["--max-minutes", "0"], 2, "--max-minutes is 0; it must be a finite number above 0"),
    ],
)
def test_what_cannot_train_is_one_line_with_the_fix(
    home: Path, image_folder: Path, tmp_path: Path, change: object, options: list[str], code: int, complaint: str
) -> None:
    change(image_folder)  # type: ignore[operator]
    out = tmp_path / "out"
    result = CliRunner().invoke(program(), ["pretrain", "--images", str(image_folder), "-o", str(out), "-q", *options])
    assert result.exit_code == code, result.stderr
    assert complaint in result.stderr and len(result.stderr.splitlines()) == 1, result.stderr
    assert result.stdout == "" and not out.exists()
