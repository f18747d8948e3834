"""The pages of ``zoo report``: whole, harmless, and honest about what is missing."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search.nets import Backbone
from search.types import Candidate, SearchResult
from zoo.errors import BadPackage, BadRequest, OutputExists
from zoo.package.folder import Attachment, write_package
from zoo.package.history import HISTORY, history_text, read_history
from zoo.report.beside import write_beside
from zoo.report.catalogue import report_catalogue
from zoo.report.page import cut
from zoo.report.write import report
from zoo.types import ModelCard

MOST_BYTES = 3_000_000
NASTY = "<script>alert(1)</script>\"'&\N{PILE OF POO}"


def searched(card: ModelCard, count: int = 20) -> SearchResult:
    seen = tuple(
        Candidate(
            architecture=card.architecture,
            score=0.9 + i / (10 * count),
            predicted_ms=1 + i / count,
            macs=10**6,
            params=10**5,
            peak_memory_bytes=10**6,
        )
        for i in range(count)
    )
    return SearchResult(best=seen[-1], front=seen, evaluated=seen, seed=0, seconds=1, device_id="quick")


@pytest.fixture
def package(card: ModelCard, backbone: Backbone, tmp_path: Path) -> Callable[..., Path]:
    def make(folder: str = "package", count: int = 20, **changes: object) -> Path:
        history = tmp_path / f"{folder}.json"
        history.write_text(history_text(searched(card, count), budget_ms=2.5))
        out = tmp_path / folder
        changed = replace(card, **changes)  # type: ignore[arg-type]
        attachments = [Attachment(path=HISTORY, source=history)]
        write_package(out, card=changed, backbone=backbone, attachments=attachments)
        return out

    return make


def without_library(page: str) -> str:
    """What the page itself says, in front of the library and behind it."""
    return page.split("<script>")[0] + page.rsplit("<script>", 1)[1]


def test_a_page_is_one_small_file_that_names_its_network_and_asks_for_nothing(package: Callable[..., Path]) -> None:
    folder = package()
    file = report(folder)
    text = file.read_text("utf-8")
    assert file == folder / "report.html" and file.stat().st_size < MOST_BYTES
    assert not re.search(r"(src|href)=\"?(https?:)?//", text)
    assert "default-src 'none'" in text
    assert 'id="front1"' in text and 'at: "front1"' in text


def test_words_of_strangers_are_shown_and_never_run(package: Callable[..., Path]) -> None:
    folder = package(license=NASTY, name=NASTY * 100)
    text = without_library(report(folder).read_text("utf-8"))
    assert "alert(1)</script>" not in text and "&lt;script&gt;alert(1)" in text
    assert len(max(re.findall(r"<h1>(.*)</h1>", text), key=len)) < 1000
    assert len(cut("x" * 3000)) == 120


def test_a_package_without_history_or_evaluation_says_which_command_fills_the_sections(pristine: Path) -> None:
    text = report(pristine, out=pristine.parent / "page.html", overwrite=True).read_text("utf-8")
    assert "keeps no history" in text and "zoo search --images" in text
    assert "Int8, fp16" in text and "zoo export" in text and "--images photos" in text


def test_ten_thousand_candidates_fit(package: Callable[..., Path]) -> None:
    file = report(package(count=10_000))
    assert file.stat().st_size < MOST_BYTES
    assert "the first 200 of 10000 networks" in file.read_text("utf-8")


def test_several_packages_are_compared(package: Callable[..., Path], tmp_path: Path) -> None:
    text = report(package("a"), package("b"), out=tmp_path / "both.html").read_text("utf-8")
    assert "2 networks compared" in text and 'at: "front2"' in text


def test_an_evaluation_and_images_fill_their_sections(package: Callable[..., Path], tmp_path: Path) -> None:
    for i in range(12):
        pixels = np.random.default_rng(i).integers(0, 255, (40, 40, 3), dtype=np.uint8)
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i}.png")
    figures = {"classes": 3, "train": 30, "test": 10, "networks": [{"trained": {"knn": 0.625, "linear": 0.75}}]}
    (tmp_path / "e.json").write_text(json.dumps(figures))
    text = report(package(), images=tmp_path / "photos", evaluation=tmp_path / "e.json").read_text("utf-8")
    assert "62.5 %" in text and "75.0 %" in text
    assert text.count("data:image/jpeg") == 36


def test_what_cannot_be_written_or_read_is_refused_in_one_line(package: Callable[..., Path], tmp_path: Path) -> None:
    folder = package()
    first = report(folder).read_bytes()
    with pytest.raises(OutputExists, match="--overwrite"):
        report(folder)
    with pytest.raises(OutputExists, match="is a folder"):
        report(folder, out=tmp_path)
    with pytest.raises(OutputExists, match="is no folder"):
        report(folder, out=tmp_path / "absent" / "page.html")
    with pytest.raises(BadRequest, match="0 packages"):
        report()
    (tmp_path / "e.json").write_text("[]")
    with pytest.raises(BadRequest, match="zoo evaluate"):
        report(folder, out=tmp_path / "page.html", evaluation=tmp_path / "e.json")
    with pytest.raises(BadPackage):
        read_history(b'{"schema": 2}')
    assert (folder / "report.html").read_bytes() == first
    assert not list(tmp_path.rglob("*.partial"))


def test_a_page_that_fails_does_not_cost_the_package(package: Callable[..., Path]) -> None:
    folder, said = package(), []
    shutil.copy(folder / "config.json", folder / "kept")
    (folder / "config.json").write_text("{}")
    write_beside(folder, say=said.append)
    assert len(said) == 1 and said[0].startswith("no report page")


def test_the_catalogue_is_a_page_with_every_entry(tmp_path: Path) -> None:
    text = report_catalogue(tmp_path / "zoo.html").read_text("utf-8")
    assert text.count("<tr data-task=") > 10 and 'id="device"' in text


def test_a_page_does_not_tell_where_on_this_machine_its_package_lies(package: Callable[..., Path]) -> None:
    folder = package()
    text = report(folder).read_text("utf-8")
    assert str(folder.parent) not in text and "zoo export package " in text
