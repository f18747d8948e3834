"""RESULTS.md: made of what the benchmarks keep, and of nothing else."""

import json
import re
from dataclasses import asdict
from pathlib import Path
from tempfile import gettempdir

import pytest

from benchmarks.results import MOST_BYTES, RESULTS, RUNS, Section, Table, page, read_section

ROOT = RUNS.parent.parent
SECTION = Section(title="T", order=1, command="make demo", machine="m", date="2026-11-28", text="", tables=[])


def test_the_results_are_what_the_kept_runs_make() -> None:
    assert RESULTS.read_text("utf-8") == page()


@pytest.mark.parametrize("file", sorted(RUNS.glob("*.json")), ids=lambda file: file.stem)
def test_a_kept_run_names_a_command_of_this_repository_its_machine_and_its_day(file: Path) -> None:
    section = read_section(file)
    assert section.title and section.machine and re.fullmatch(r"20\d\d-\d\d-\d\d", section.date)
    for line in section.command.splitlines():
        script = re.search(r"benchmarks/\w+\.py", line)
        assert script is None or (ROOT / script[0]).exists(), line
        assert script or re.match(r"(make|zoo|python -m zoo|pip) ?", line), line
    assert not any(f"{folder}/" in file.read_text("utf-8") for folder in (ROOT, Path.home(), Path(gettempdir())))


def test_single_runs_are_small_and_named_by_a_section() -> None:
    for file in RUNS.glob("*.jsonl"):
        assert file.stat().st_size <= MOST_BYTES and file.with_suffix(".json").exists(), file.name


def test_sections_stand_in_their_order_with_every_cell_in_its_column(tmp_path: Path) -> None:
    table = Table(caption="c", columns=["a", "b"], rows=[["x|y", None], [1, 2.5]])
    for name, order in (("first", 2), ("second", 1)):
        section = Section(**{**asdict(SECTION), "title": name, "order": order, "tables": [table]})
        (tmp_path / f"{name}.json").write_text(json.dumps(asdict(section)))
    text = page(tmp_path)
    assert text.index("## second") < text.index("## first")
    assert "| x\\|y |  |\n| 1 | 2.5 |" in text


def test_a_kept_run_of_another_form_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "odd.json"
    file.write_text(json.dumps({**asdict(SECTION), "note": ""}))
    with pytest.raises(ValueError, match=r"odd\.json.*note"):
        read_section(file)
    file.write_text(" " * (MOST_BYTES + 1))
    with pytest.raises(ValueError, match="keep a summary"):
        read_section(file)
    with pytest.raises(ValueError, match="2 columns"):
        Table(caption="", columns=["a", "b"], rows=[["x"]])
