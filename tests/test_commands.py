"""What README and the tutorials tell people to type, typed: their ``sh`` and ``python`` blocks, page by page.

Blocks marked ``console`` or ``py`` need hours, another machine, an account or a GPU; test_readme checks that their
commands exist.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.readme_inputs import write_inputs

ROOT = Path(__file__).parent.parent
# What README's table has besides its quickstart, and why it is not run here.
NOT_RUN = {
    "zoo pretrain": "hours; docs/train.md has a short one that is run",
    "zoo darts": "half an hour",
    "zoo study": "hours; tests/zoo/test_study_command.py runs a small one",
    "zoo devices measure": "needs an idle machine; the searches measure the table that they need",
    "zoo push": "an account; docs/hub.md has a dry run",
}
PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]


def blocks(text: str) -> list[tuple[str, str]]:
    """(language, code) of every block of a page that is to be run, in order."""
    return [(found[1], found[2]) for found in re.finditer(r"^```(sh|python)\n(.*?)^```$", text, re.M | re.S)]


def table_commands(text: str) -> list[str]:
    """The commands of README's table that are run."""
    # Commands beside results name what was measured, not all that it was measured on.
    lines = re.findall(r"^\|.*\| `(zoo [^`]*)` \|$", text.partition("## Results")[0], re.MULTILINE)
    return [line for line in lines if not any(line.startswith(start) for start in NOT_RUN)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of the zoo and a ``zoo`` to call; the machine's tables are measured in it once."""
    folder = tmp_path_factory.mktemp("typed")
    (folder / "bin").mkdir()
    for name, module in (("zoo", "-m zoo"), ("python3", ""), ("python", "")):
        script = folder / "bin" / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
        script.chmod(0o755)
    return folder


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with what the pages take for granted."""
    write_inputs(tmp_path)
    return tmp_path


def typed(code: str, *, shell: bool, here: Path, place: Path) -> None:
    """Run a block as a person would; whatever it says is in the failure."""
    path = f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "ZOO_HOME": str(place / "home"), "PYTHONPATH": str(ROOT)}
    words = ["sh", "-ec", code] if shell else [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=here, env=environment, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, f"{code}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


def test_blocks_are_found_in_their_order_and_console_is_left_out() -> None:
    text = "a\n```sh\nzoo list\n```\n```console\nzoo pretrain\n```\n```python\nimport zoo\n```\n"
    assert blocks(text) == [("sh", "zoo list\n"), ("python", "import zoo\n")]
    assert len(table_commands((ROOT / "README.md").read_text("utf-8"))) >= 8


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_tells_people_to_type_works(page: str, here: Path, place: Path) -> None:
    text = (ROOT / page).read_text("utf-8")
    found = blocks(text)
    if not found:
        pytest.skip("nothing to type on this page")
    for language, code in found:
        typed(code, shell=language == "sh", here=here, place=place)
    if page == "README.md":
        for command in table_commands(text):
            typed(
                f"{command} --overwrite" if "-o my-model" in f"{command} " else command,
                shell=True,
                here=here,
                place=place,
            )
