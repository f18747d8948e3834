"""What README says runs for somebody who installed a wheel: no checkout, no home, no locale, no terminal, and a working
directory that takes no files."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer

from hardware_profiles.measure.probe import probe_device
from hardware_profiles.tables.find import find_table, keep_table
from hardware_profiles.types import LatencyTable
from tests.readme_inputs import write_inputs
from zoo.cli.app import COMMANDS, GROUPS, program

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
ROOMS = ("zoo", "search", "export", "hardware_profiles")
# What only makes a command shorter: README's own words stay.
SHORTER = {
    "devices measure": ["--force", "--net", "mobile", "--resolution", "16", "--networks", "2"],  # no idle machine here
    "darts": ["--seeds", "1", "--epochs", "1"],
    "pretrain": ["--max-minutes", "1"],
    "finetune": ["--epochs", "2"],
    "push": ["--dry-run"],  # no Hub here
    "study": ["--variants", "v1", "--images-seen", "128", "--width-divisor", "8"],
}


@dataclass(frozen=True, kw_only=True)
class Installed:
    """A program that was installed from a wheel, and where it is used."""

    python: Path
    outputs: Path
    where: Path
    environment: dict[str, str]

    def run(self, *words: str | Path, timeout_s: float = 900) -> subprocess.CompletedProcess[str]:
        """As somebody without a terminal, who may not write to the working directory even where it is root."""
        bounded = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"]
        command = [*(bounded if is_root_bound() else []), *map(str, words)]
        done = subprocess.run(
            command,
            cwd=self.where,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=timeout_s,
        )
        assert list(self.where.iterdir()) == [], f"{words} wrote to the working directory"
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def zoo(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """A command."""
        return self.run(self.python.with_name("zoo"), *words)


def is_root_bound() -> bool:
    return sys.platform == "linux" and os.geteuid() == 0 and shutil.which("setpriv") is not None


@pytest.fixture(scope="session")
def installed() -> Iterator[Installed]:
    """The wheel in an environment of its own, which sees the libraries of this one."""
    pytest.importorskip("setuptools", "77")
    with tempfile.TemporaryDirectory(prefix="zoo-installed-") as folder:
        base = Path(folder)
        source = base / "source"
        for room in ROOMS:
            shutil.copytree(ROOT / room, source / room, ignore=shutil.ignore_patterns("__pycache__"))
        for file in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / file, source)
        build = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-deps"]
        subprocess.run([*build, "--no-build-isolation", "-q", "-w", base, source], check=True, capture_output=True)
        shutil.rmtree(source)
        (wheel,) = base.glob("*.whl")
        venv.create(base / "env", with_pip=False, symlinks=True)
        python = base / "env" / "bin" / "python"
        install = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python, "install", "-q"]
        subprocess.run([*install, "--no-deps", "--no-index", wheel], check=True, capture_output=True)
        site = next((base / "env").glob("lib/python*/site-packages"))
        (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")  # its own .pth files are not read
        for name in ("work", "out", "home", "tmp"):
            (base / name).mkdir()
        (base / "work").chmod(0o555)
        for net in ("mobile", "cell"):  # measuring takes minutes
            keep_table(_table(net), base / "home" / "devices")
        environment = {
            "PATH": os.environ["PATH"],
            "LC_ALL": "C",
            "OMP_NUM_THREADS": "1",
            "ZOO_HOME": str(base / "home"),
            "TMPDIR": str(base / "tmp"),
        }
        yield Installed(python=python, outputs=base / "out", where=base / "work", environment=environment)
        (base / "work").chmod(0o755)


def _table(net: str) -> LatencyTable:
    """Another machine's as this one's, three times as slow: so that what is found is in time on a busy one, too."""
    known = find_table("epyc-avx2", net=net, resolution_px=32)
    return replace(known, device=probe_device(threads=1), scale=3 * known.scale, overhead_ms=3 * known.overhead_ms)


def test_what_is_installed_is_whole_and_every_command_has_help(installed: Installed) -> None:
    done = installed.run(
        installed.python, "-c", "import zoo, sys; print(zoo.__file__); print('torch' in sys.modules, dir(zoo))"
    )
    assert str(installed.python.parents[1]) in done.stdout and "False" in done.stdout, done.stderr
    assert installed.zoo("--version").stdout.strip() == re.search(r'^version = "(.*)"', _pyproject(), re.M)[1]  # type: ignore[index]
    helped = installed.zoo("--help")
    assert all(name in helped.stdout for name in (*COMMANDS, *GROUPS))
    listed = installed.zoo("list", "--json")
    assert {"catalogue", "supernet"} <= {line["source"] for line in json.loads(listed.stdout)}
    assert "mobile-mocov2" in installed.zoo("info", "mobile-mocov2").stdout
    assert json.loads(installed.zoo("devices", "list", "--json").stdout)
    wrong = installed.zoo("info", "nothing-like-it")
    assert wrong.returncode == 1 and len(wrong.stderr.splitlines()) == 1


def test_a_name_is_answered_where_nothing_may_be_written_but_the_cache(installed: Installed) -> None:
    made = installed.zoo("get", "data-mocov2-cls-1ms", "--verify")
    assert made.returncode == 0, made.stderr
    folder = Path(made.stdout.strip())
    assert folder.is_relative_to(installed.environment["ZOO_HOME"])
    code = f"import zoo; m = zoo.get({str(folder)!r}); import torch; print(m(torch.zeros(1, 3, 32, 32)).shape)"
    assert "torch.Size([1, " in installed.run(installed.python, "-c", code).stdout
    refused = installed.zoo("get", "data-mocov2-cls-1ms", "--to", "here")
    assert refused.returncode == 2 and len(refused.stderr.splitlines()) == 1, refused.stderr


def commands() -> list[str]:
    """Every complete ``zoo ...`` of README, in its order: lines of code, and code in a table."""
    # Commands beside results name what was measured, not all that it was measured on.
    text = README.partition("## Results")[0]
    found = re.findall(r"^    (zoo .*)$|`(zoo [a-z][^`\n]*)`", text, re.MULTILINE)
    root = typer.main.get_command(program())
    return [line for line in dict.fromkeys(a or b for a, b in found) if _is_complete(root, shlex.split(line)[1:])]


def _is_complete(command: typer.main.TyperCommand | object, words: list[str]) -> bool:  # type: ignore[name-defined]
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]  # type: ignore[union-attr]
    try:
        command.make_context("zoo", words)  # type: ignore[union-attr]
    except typer.Exit:
        return False
    except Exception as error:
        return "Missing" not in str(error)
    return True


@pytest.mark.slow
@pytest.mark.skipif(find_spec("nni") is None, reason="training needs the extra `search`")
def test_every_command_and_every_line_of_python_in_the_readme_runs(installed: Installed) -> None:
    out = installed.outputs
    write_inputs(out)
    ran = [_ran(installed, line) for line in commands()]
    for code in re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL):
        code = re.sub(r'"(my-\w+|\w+\.jpg)"', lambda found: repr(str(out / found[1])), code)
        done = installed.run(installed.python, "-c", code)
        assert done.returncode == 0, f"{code}\n{done.stderr}"
        ran.append(code)
    assert len(ran) > 12


def _ran(user: Installed, line: str) -> str:
    """Run a command of README; names of files are those in the folder of outputs."""
    words = shlex.split(line)[1:]
    made = next((words[i + 1] for i, word in enumerate(words) if word in ("-o", "--out")), None)
    if made is not None and (user.outputs / made).is_dir():
        shutil.rmtree(user.outputs / made)
    full: list[str] = []
    for i, word in enumerate(words):
        path = user.outputs / word
        is_path = word.partition("/")[0] in {*(entry.name for entry in user.outputs.iterdir()), made}
        if "*" in word:
            full += map(str, sorted(user.outputs.glob(word)))
        else:
            full.append(str(path) if is_path and words[i - 1] not in ("--task", "--net") else word)
    done = user.zoo(*full, *SHORTER.get(" ".join(words[:2]), SHORTER.get(words[0], [])))
    assert done.returncode == 0, f"{line}\n{done.stderr}"
    return line


def _pyproject() -> str:
    return (ROOT / "pyproject.toml").read_text("utf-8")
