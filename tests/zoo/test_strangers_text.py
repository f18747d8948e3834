"""What a stranger wrote into a package or a supernet's card reaches no terminal as commands; nor do his other files."""

import contextlib
import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import zoo
import zoo.package.card
from search.errors import BadSupernet
from search.supernet import load_card, load_supernet
from zoo.cli.app import program
from zoo.cli.facts import supernet_facts
from zoo.errors import BadPackage
from zoo.package.card import NUMERICS, PERF, read_card, read_config, read_reports
from zoo.package.readme import render_readme
from zoo.report.write import report

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e"


def poisoned(value: Any, evil: str) -> Any:
    """Every free text of a document with control characters behind it."""
    if isinstance(value, dict):
        return {k: v + evil if k in TEXTS and isinstance(v, str) else poisoned(v, evil) for k, v in value.items()}
    return [poisoned(v, evil) for v in value] if isinstance(value, list) else value


TEXTS = {"name", "license", "chip", "supernet", "terms", "reference"}


def poison(package: Path, evil: str = EVIL) -> Path:
    """The package, sealed anew as its author would."""
    body = json.loads((package / "config.json").read_text("utf-8"))
    body.pop("sha256")
    body = {**poisoned({**body, "manifest": {}}, evil), "manifest": body["manifest"]}
    (package / "config.json").write_text(zoo.package.card._sealed(body), "utf-8")
    return package


@pytest.mark.parametrize("command", [["info"], ["info", "--json"], ["get"]])
def test_no_control_character_of_a_package_reaches_the_terminal(
    command: list[str], pristine: Path, home: Path, tmp_path: Path
) -> None:
    package = poison(Path(shutil.copytree(pristine, tmp_path / "evil")))
    result = CliRunner().invoke(program(), [*command, str(package)])
    assert result.exit_code == 0, result.stderr
    shown = result.stdout + result.stderr
    assert not {c for c in shown if not c.isprintable()} - {"\n"}
    assert "info" not in command or "owned" in shown  # spelled out, not hidden
    assert "\x1b" not in repr(zoo.get(package)) + repr(zoo.get(package).card)


def test_no_control_character_and_no_markup_of_a_package_reaches_its_page_or_its_readme(
    pristine: Path, tmp_path: Path
) -> None:
    package = poison(Path(shutil.copytree(pristine, tmp_path / "evil")), EVIL + "<script>")
    page = report(package, out=tmp_path / "page.html").read_text("utf-8")
    head, _, readme = render_readme(read_card(package), params=1, embedding_dim=1).partition("\n---\n")
    for text in (page.split("<script>")[0] + page.rsplit("<script>", 1)[1], head, readme):
        assert "owned" in text and not {c for c in text if not c.isprintable()} - {"\n"}
    assert "<script>" not in readme.replace("\\<script\\>", "")


def test_no_control_character_of_a_supernets_card_is_read(supernet: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(supernet, tmp_path / "evil"))
    fields = json.loads((folder / "card.json").read_text())
    fields["name"] += EVIL
    fields["data"] = {"terms": EVIL}
    (folder / "card.json").write_text(json.dumps(fields))
    card = load_card(folder)
    assert "owned" in card.name and card.name.isprintable() and str(card.data).isprintable()


@pytest.mark.parametrize("levels", [30, 400, 100_000])
def test_documents_nested_deeper_than_ours_are_refused_in_one_line(levels: int, supernet: Path, tmp_path: Path) -> None:
    deep = "[" * levels + "]" * levels
    with pytest.raises(BadPackage, match="not a package's"):
        read_config(f'{{"schema": 1, "name": {deep}}}')
    (tmp_path / "card.json").write_text(f'{{"schema": 1, "name": {deep}}}')
    with pytest.raises(BadSupernet, match="no supernet's card"):
        load_card(tmp_path)


ODD: list[Any] = [None, True, -1, 10**400, "x", [], [[]], {}, {"x": []}, float("nan"), float("inf")]


def test_a_card_with_a_field_of_another_kind_is_shown_refused_or_left_out_of_the_list(
    supernet: Path, home: Path
) -> None:
    folder = Path(shutil.copytree(supernet, home / "supernets" / "stranger"))
    card = json.loads((folder / "card.json").read_text("utf-8"))
    cases = [(field, value) for field in card for value in ODD]
    cases += [(field, [value] * len(card[field])) for field, value in cases if isinstance(card[field], list)]
    for field, value in cases:
        (folder / "card.json").write_text(json.dumps({**card, field: value}), "utf-8")
        with contextlib.suppress(BadSupernet):
            assert supernet_facts(load_card(folder), folder)
        with contextlib.suppress(BadSupernet):
            load_supernet(folder)
        assert all(isinstance(line.name, str) for line in zoo.list("*"))
    for curve in (*ODD, {"columns": [], "rows": [], "note": ""}, {"columns": ["step"], "rows": [1, 2], "note": 1}):
        (folder / "card.json").write_text(json.dumps({**card, "training": {"curve": curve}}), "utf-8")
        assert supernet_facts(load_card(folder), folder)
    for odd in (value for one in ODD for value in (one, {"x": one}, {"x": {"shape": one}}, {"x": {"shape": [one]}})):
        head = json.dumps(odd).encode()
        (folder / "model.safetensors").write_bytes(len(head).to_bytes(8, "little") + head)
        assert all(line.params is None or line.params < 10**15 for line in zoo.list("*"))


def test_a_package_with_a_field_of_another_kind_is_left_out_of_the_list_or_shown(pristine: Path, home: Path) -> None:
    folder = Path(shutil.copytree(pristine, home / "packages" / "stranger"))
    body = json.loads((folder / "config.json").read_text("utf-8"))
    for field, value in itertools.product(body, ODD):
        (folder / "config.json").write_text(json.dumps({**body, field: value}), "utf-8")
        assert all(isinstance(line.name, str) for line in zoo.list("*"))


def test_evidence_that_compares_nothing_is_refused(pristine: Path) -> None:
    speed, numerics = ((pristine / file).read_text("utf-8") for file in (PERF, NUMERICS))
    document = yaml.safe_load(numerics)
    for entry in document["artefacts"]:
        entry["comparison"]["outputs"] = []
    with pytest.raises(BadPackage, match="outputs"):
        read_reports(speed, yaml.safe_dump(document))


def test_get_copies_what_the_manifest_lists_and_nothing_else(pristine: Path, home: Path, tmp_path: Path) -> None:
    package = Path(shutil.copytree(pristine, tmp_path / "evil"))
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("private")
    (package / "notes").symlink_to(secret)
    (package / "loop").symlink_to("..")
    (package / "sitecustomize.py").write_text("print('code')\n")
    result = CliRunner().invoke(program(), ["get", str(package), "--to", str(tmp_path / "copy")])
    assert result.exit_code == 0, result.stderr
    files = {
        path.relative_to(tmp_path / "copy").as_posix() for path in (tmp_path / "copy").rglob("*") if path.is_file()
    }
    manifest = json.loads((pristine / "config.json").read_text("utf-8"))["manifest"]
    assert files == {"config.json", *manifest}


def test_whatever_a_command_prints_no_control_character_reaches_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from zoo.cli.console import Talk

    for as_json in (True, False):
        talk = Talk(as_json=as_json, quiet=False)
        talk.data({"name": "a\x1b[2J\x9bm\u202e"}, ["a\x1b[2J\x9bm\u202e", "b"])
        talk.say("c\x07")
    seen = capsys.readouterr()
    assert not set("\x1b\x07\x9b\u202e") & set(seen.out + seen.err)
    assert "\\u001b[2J\\u009bm\\u202e\nb\n" in seen.out


def test_no_control_character_of_an_argument_or_a_file_reaches_the_terminal_in_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "labels.csv").write_text(f"a{EVIL},b\n")
    for words in (["info", EVIL], [EVIL], ["list", "--sort", EVIL], ["evaluate", "x", "--data", str(tmp_path)]):
        assert program()(words, standalone_mode=False)
        shown = "".join(capsys.readouterr())
        assert shown and not {c for c in shown if not c.isprintable()} - {"\n"}
