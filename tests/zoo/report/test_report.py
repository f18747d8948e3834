"""The pages of ``zoo report``: whole, harmless, and honest about what is missing."""

import errno
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hardware_profiles.estimate import estimate_ms
from hardware_profiles.types import LatencyTable
from search.nets import NETS, Backbone
from search.nets.heads import CLASSES
from search.nets.whole import Headed
from search.types import Candidate, SearchResult, Task
from zoo.errors import BadPackage, BadRequest, OutputExists
from zoo.heads.network import make_network
from zoo.make.finetune import Recipe
from zoo.package.folder import Attachment, write_package
from zoo.package.history import HISTORY, history_text, read_history
from zoo.report.facts import read_facts, shares
from zoo.report.page import cut
from zoo.report.sections import write_beside
from zoo.report.write import report, report_catalogue
from zoo.types import Evaluation, HeadCard, Images, ModelCard, Provenance
from zoo.use.export import export_package
from zoo.use.finetune import finetune

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
    return SearchResult(
        best=seen[-1], front=seen, evaluated=seen, criterion="layouts and size", seed=0, seconds=1, device_id="quick"
    )


@pytest.fixture
def package(card: ModelCard, backbone: Backbone, tmp_path: Path) -> Callable[..., Path]:
    def make(folder: str = "package", count: int = 20, **changes: object) -> Path:
        history = tmp_path / f"{folder}.json"
        history.write_text(history_text(searched(card, count), budget_ms=2.5))
        out = tmp_path / folder
        made = {key: value(card) if callable(value) else value for key, value in changes.items()}
        changed = replace(card, **made)  # type: ignore[arg-type]
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


def test_a_stranger_s_words_are_harmless_in_every_place_of_a_page(package: Callable[..., Path], tmp_path: Path) -> None:
    nasty = NASTY + "x" * 3_000
    first = Evaluation(data=nasty, metric=nasty, value=0.5, protocol=nasty)

    def device(card: ModelCard) -> Provenance:
        chip = replace(card.recipe.device, chip=nasty)
        return replace(card.recipe, device=chip, supernet=nasty, supernet_data={"name": nasty})

    folder = package("<b>\"'&`$(x)\N{PILE OF POO}", name=nasty, license=nasty, evaluation=(first,), recipe=device)
    text = without_library(report(folder, folder, out=tmp_path / "page.html").read_text("utf-8"))
    assert "<script>alert" not in text and '<b>"' not in text
    assert "x" * 200 not in text


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


def test_a_folder_that_cannot_be_written_is_one_line_and_keeps_nothing(
    package: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = package()

    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputExists, match=r"No space left.*-o"):
        report(folder)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # a superuser may write everywhere
    with pytest.raises(OutputExists, match=r"cannot be written.*-o"):
        report(folder)
    assert not list(tmp_path.rglob("*report*"))


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


def test_the_breakdown_of_a_whole_model_has_its_head_s_blocks_and_adds_up(
    card: ModelCard, backbone: Backbone, own_table: LatencyTable, home: Path, tmp_path: Path
) -> None:
    head = HeadCard(kind="fcos", task=Task.DET, classes=tuple(f"class {i}" for i in range(CLASSES)), trained=False)
    network = make_network(backbone, head, card.architecture.resolution_px)
    recipe = replace(card.recipe, device=own_table.device)
    whole = replace(card, task=Task.DET, head=head, recipe=recipe)
    write_package(tmp_path / "whole", card=whole, backbone=backbone, network=network)
    facts = read_facts(tmp_path / "whole")
    assert {block.part for block in facts.blocks} == {"backbone", "head"}
    family = Headed(NETS["mobile"], Task.DET, CLASSES)
    expected_ms = estimate_ms(own_table, family.ops(card.architecture))
    assert sum(block.ms for block in facts.blocks) + facts.overhead_ms == pytest.approx(expected_ms)
    assert {one.device for one in facts.devices} == {own_table.device.id}
    assert sum(share for _, share in shares(facts)) == pytest.approx(1)
    assert any(name == "the head" for name, _ in shares(facts))


def test_what_is_made_of_a_package_keeps_its_search_and_gets_a_page_of_its_own(
    package: Callable[..., Path], tmp_path: Path
) -> None:
    pytest.importorskip("pytorch_lightning")
    for name in ("dark", "light"):
        (tmp_path / "labelled" / name).mkdir(parents=True)
        for i in range(8):
            pixels = np.random.default_rng(i).integers(0, 80, (24, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels + (150 if name == "light" else 0)).save(tmp_path / "labelled" / name / f"{i}.png")
    said: list[str] = []
    recipe = Recipe(epochs=2, batch=4)
    made = finetune(package(), data=tmp_path / "labelled", out=tmp_path / "tuned", recipe=recipe, say=said.append)
    page = (made.path / "report.html").read_text("utf-8")
    assert any("report.html" in line for line in said)
    assert 'at: "front1"' in page and 'at: "epochs1"' in page and "How it learned" in page
    assert len(read_facts(made.path).epochs) == 2
    exported = export_package(made.path, target="cloud", out=tmp_path / "cloud", say=said.append)
    facts = read_facts(exported.path)
    assert facts.history is not None and len(facts.epochs) == 2
    text = report(made.path, images=tmp_path / "labelled", out=tmp_path / "seen.html", say=said.append).read_text(
        "utf-8"
    )
    assert text.count("data:image/jpeg") == 12 and "What it sees</h2>" in text


def test_pages_of_one_search_compare_its_fronts_and_others_do_not(package: Callable[..., Path], tmp_path: Path) -> None:
    a, b = package("a"), package("b")
    other = package("other", images=Images(count=9, skipped=0, fingerprint="of others"))
    same = report(a, b, out=tmp_path / "same.html").read_text("utf-8")
    apart = report(a, other, out=tmp_path / "apart.html").read_text("utf-8")
    assert 'id="fronts"' in same and 'id="fronts"' not in apart
