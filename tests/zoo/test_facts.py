"""What ``zoo info`` shows before anybody trusts a network, and the statistics that a supernet brings."""

import fcntl
import json
import os
import pty
import shutil
import struct
import subprocess
import sys
import termios
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import zoo.catalogue.entries
from hardware_profiles.types import Scaling
from search.images.statistics import load_statistics
from search.nets import Backbone
from search.scores import LEARNED, SCORES, SIZE
from search.types import Budget, Candidate, SearchResult, Task
from tests.zoo.test_listing import ENTRY
from zoo.catalogue.entries import entries_text
from zoo.cli.app import program
from zoo.cli.console import columns
from zoo.cli.facts import artefact_notes, artefact_rows, card_facts, entry_facts, limits_text
from zoo.errors import UnknownName
from zoo.make.bundle import keep_statistics
from zoo.package.folder import Attachment, write_package
from zoo.package.history import HISTORY, history_text, score_words
from zoo.types import ModelCard


def text_of(card: ModelCard) -> str:
    return "\n".join(f"{row[0]}: {row[1]}" for row in card_facts(card, Path("here")))


def test_the_facts_of_a_card_hold_where_every_number_comes_from(card: ModelCard) -> None:
    text = text_of(card)
    for fact in (
        "name: data-mocov2-cls-1ms@bench",
        "folder: here",
        "input 16x16 px",
        "mobile: skip k3_e1 ",
        "bench: A chip | with <odd> text, onnxruntime 1.0, 1 thread(s), fp32, batch 1",
        "measured; 10 unseen networks predicted within 2.5 % on average",
        "0.600 for 0.500 predicted",
        "0.9000 by agreement with the largest network on the images; 100 networks scored in 12 s, seed 7",
        "64 (1 skipped); a folder's, fingerprint ffffffffffffffff",
        "sha256 0000000000000000; epochs 1.5, seed 3",
        "terms: non-commercial: research",
        "cifar10 knn top1: 0.71 (k = 20)",
        "apache-2.0",
    ):
        assert fact in text, fact


def test_every_score_that_a_search_takes_has_words_of_its_own() -> None:
    taken = [LEARNED, SIZE, SCORES[Task.CLS]]
    assert len({score_words(criterion) for criterion in taken}) == len(taken)
    assert "learned" in score_words(LEARNED) and "size alone" in score_words(SIZE)


def test_a_scaled_table_a_missing_evaluation_and_generated_images_are_said_plainly(card: ModelCard) -> None:
    scaling = Scaling(from_px=32, mape_percent=14.2, seen_on="server")
    recipe = replace(
        card.recipe,
        device=replace(card.recipe.device, source="estimated"),
        table_validation=None,
        table_scaling=scaling,
        tries=tuple(replace(one, measured_ms=None) for one in card.recipe.tries),
        limits=Budget(latency_ms=1, max_params=500_000),
    )
    images = replace(card.images, fingerprint="generated: 512 dead leaves, seed 0")
    text = text_of(replace(card, recipe=recipe, images=images, evaluation=()))
    assert "estimated: scaled from 32 px, 14.2 % off on server" in text
    assert "evaluation: none on labelled data" in text and "generated: 512 dead leaves" in text
    assert "limits: at most 1 ms, at most 500,000 parameters" in text and "timed: not on its device" in text
    blind = replace(recipe, table_scaling=replace(scaling, mape_percent=None))
    assert "scaled from 32 px, nobody knows how far off" in text_of(replace(card, recipe=blind))
    bare = replace(recipe, table_scaling=None, limits=None)
    assert "not validated" in text_of(replace(card, recipe=bare))
    bare = replace(bare, tries=())  # no table was asked
    assert "latency table" not in text_of(replace(card, recipe=bare))
    assert "none: the network was named, not searched" in text_of(replace(card, recipe=bare))
    assert limits_text(None) == "-"


def test_every_artefact_has_a_row(card: ModelCard) -> None:
    heading, row = artefact_rows(card)
    assert len(heading) == len(row) and dict(zip(heading, row, strict=True))["predicted"] == "0.500"
    assert row[0].endswith("model.onnx") and row[1] == "fp32"
    notes = "\n".join(artefact_notes(card))
    assert "by the measured table" in notes and f"{row[-1]}: bench, 1 thread(s)" in notes


def in_terminal(words: list[str], *, width: int) -> list[str]:
    """The lines that a command prints in a terminal of that width."""
    here, there = pty.openpty()
    fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    code = "import sys; from zoo.cli.app import main; main()"
    done = subprocess.Popen([sys.executable, "-c", code, *words], stdout=there, stderr=subprocess.PIPE, close_fds=True)
    os.close(there)
    text = b""
    while True:
        try:
            part = os.read(here, 65536)
        except OSError:  # Linux says so when the other side is closed
            break
        if not part:
            break
        text += part
    os.close(here)
    assert done.wait() == 0
    done.communicate()
    return text.decode().splitlines()


def test_info_fits_a_terminal_of_80_columns_and_draws_the_search(
    card: ModelCard, backbone: Backbone, tmp_path: Path
) -> None:
    seen = tuple(
        Candidate(
            architecture=card.architecture,
            score=0.9 + i / 100,
            predicted_ms=0.5 + i / 100,
            macs=1,
            params=1,
            peak_memory_bytes=1,
        )
        for i in range(5)
    )
    result = SearchResult(
        best=seen[-1], front=seen, evaluated=seen, criterion="layouts and size", seed=0, seconds=1, device_id="bench"
    )
    history = tmp_path / "history"
    history.write_text(history_text(result, budget_ms=0.6))
    attached = [Attachment(path=HISTORY, source=history)]
    write_package(tmp_path / "package", card=card, backbone=backbone, attachments=attached)
    lines = in_terminal(["info", str(tmp_path / "package")], width=80)
    assert max(map(len, lines)) <= 80
    assert any("this network" in line for line in lines) and any("┤" in line and "o" in line for line in lines)
    piped = CliRunner().invoke(program(), ["info", str(tmp_path / "package")]).stdout
    assert "┤" not in piped and any(len(line) > 80 for line in piped.splitlines())


def test_a_table_that_does_not_fit_is_wrapped_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("name", "text"), ("a", "word " * 40), ("b", "x" * 100)]
    assert columns(rows)[1].count("word") == 40
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    lines = columns(rows)
    assert max(map(len, lines)) <= 40 and sum(line.count("word") for line in lines) == 40
    assert sum(line.count("x") for line in lines) == 101


def test_an_entry_that_was_not_made_says_so_and_how(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = home / "one.json"
    path.write_text(entries_text((ENTRY,)))
    monkeypatch.setattr(zoo.catalogue.entries, "ENTRIES", path)
    shown = CliRunner().invoke(program(), ["info", ENTRY.name])
    assert shown.exit_code == 0 and "not yet; `zoo get data-mocov2-det-3ms`" in shown.stdout
    assert "zoo get data-mocov2-det-3ms" in shown.stderr
    document = json.loads(CliRunner().invoke(program(), ["info", ENTRY.name, "--json"]).stdout)
    assert document["made"] is False and document["entry"]["predicted_ms"] == ENTRY.predicted_ms
    assert dict(entry_facts(ENTRY))["score"].startswith("0.5000, the best of 64 networks")


def test_info_of_what_is_nowhere_is_one_line(home: Path) -> None:
    result = CliRunner().invoke(program(), ["info", "data-mocov2-cls-3ms"])
    assert result.exit_code == 1 and "has not been made yet" in result.stderr and result.stdout == ""


def test_the_list_command_filters_sorts_and_speaks_json(pristine: Path, home: Path) -> None:
    shutil.copytree(pristine, home / "packages" / "a")
    found = CliRunner().invoke(program(), ["list", "--task", "cls", "--max-ms", "1", "--sort", "ms", "--json"])
    (line,) = json.loads(found.stdout)
    assert line["name"] == "data-mocov2-cls-1ms@bench" and line["folder"] == str(home / "packages" / "a")
    nothing = CliRunner().invoke(program(), ["list", "--net", "cell"])
    assert nothing.stdout == "" and "nothing matches" in nothing.stderr
    refused = CliRunner().invoke(program(), ["list", "--sort", "size"])
    assert refused.exit_code == 2 and len(refused.stderr.splitlines()) == 1


def test_statistics_are_kept_beside_their_supernet(home: Path, image_folder: Path) -> None:
    path = keep_statistics(image_folder, "mobile-mocov2")
    kept = load_statistics(home / "supernets" / "mobile-mocov2")
    assert path.parent.name == "mobile-mocov2" and kept is not None and (kept.images, kept.size_px) == (64, 64)
    with pytest.raises(UnknownName, match="no supernet is called 'nothing'"):
        keep_statistics(image_folder, "nothing")


def test_the_bundled_supernet_brings_statistics() -> None:
    from zoo.catalogue.contents import SUPERNET
    from zoo.supernets import BUNDLED

    kept = load_statistics(BUNDLED / SUPERNET)
    assert kept is not None and kept.images >= 1000 and kept.size_px == 64
