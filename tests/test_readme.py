"""README and docs: short, in step with the results, and made of commands that exist."""

import contextlib
import re
import shlex
from pathlib import Path

import pytest
import typer

from zoo.cli.app import program

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
RESULTS = (ROOT / "benchmarks" / "RESULTS.md").read_text("utf-8")
GENERATED = ("api.md", "cli.md", "results.md")  # by docs/hooks.py
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_readme_is_read_in_two_minutes() -> None:
    assert len(README.splitlines()) <= 150


def test_every_number_of_the_readme_s_results_is_in_the_results() -> None:
    table = README.split("## Results")[1].split("## More")[0]
    numbers = re.findall(r"(?<![\w.])\d[\d,.]*(?:e-\d+)?(?![\w-])", table)
    missing = [number for number in numbers if number.rstrip(".,") not in RESULTS]
    assert len(numbers) > 10 and missing == []


def lines_to_type(page: Path) -> list[str]:
    """The ``zoo ...`` lines of a page's blocks."""
    text = page.read_text("utf-8")
    fenced = "\n".join(re.findall(r"^```(?:sh|console)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    return re.findall(r"^(?:srun |.* -m )?(zoo [a-z].*)$", fenced.replace("\\\n", ""), re.MULTILINE)


def commands(page: Path) -> list[str]:
    """Every ``zoo ...`` of a page: lines of blocks, and code in a sentence or a table."""
    return lines_to_type(page) + re.findall(r"`(zoo [a-z][^`\n]*)`", page.read_text("utf-8"))


def test_commands_stand_in_blocks_that_say_whether_they_are_run() -> None:
    for page in PAGES:
        assert not re.search(r"^    zoo ", page.read_text("utf-8"), re.MULTILINE), page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_option_on_a_page_exists(page: Path) -> None:
    root = typer.main.get_command(program())
    for line in commands(page):
        words = [word for word in shlex.split(line.replace("...", ""), comments=True)[1:] if word not in ("|", ">")]
        command = root
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]  # type: ignore[attr-defined]
        assert command is not root, f"{page.name}: {line}"
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        options = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert options <= known | {"--help"}, f"{page.name}: {line}: {options - known}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_line_that_is_to_be_typed_has_what_its_command_needs(page: Path) -> None:
    for line in lines_to_type(page):
        words = shlex.split(re.split(r" [|>] ", line.replace("$resume ", ""))[0], comments=True)[1:]
        command, name = typer.main.get_command(program()), "zoo"
        while words and words[0] in getattr(command, "commands", {}):
            name = words.pop(0)
            command = command.commands[name]  # type: ignore[attr-defined]
        with contextlib.suppress(typer.Exit):
            command.make_context(name, words)  # a usage error names what is missing


def test_every_file_that_a_page_links_to_is_there() -> None:
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8")):
            assert target in GENERATED or (page.parent / target).exists(), f"{page.name}: {target}"
