"""Runs: what a long benchmark keeps in its ``--out``, so that the same command goes on where it stopped."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

R = TypeVar("R")


def read_runs(out: Path, settings: Mapping[str, Any], kind: type[R]) -> list[R]:
    """The runs in ``out``, each a line of JSON and a dataclass ``kind``.

    A new file begins with ``settings``, all that a run depends on besides its own fields; only the same ones go on.
    """
    if not out.exists():
        out.write_text(json.dumps(settings) + "\n", "utf-8")
    text = out.read_text("utf-8")
    whole = text[: text.rfind("\n") + 1]  # a last line without an end was being written when the process ended
    out.write_text(whole, "utf-8")
    first, *lines = whole.splitlines()
    if json.loads(first) != settings:
        raise SystemExit(f"{out} is of other settings; name another file, or delete it")
    return [kind(**json.loads(line)) for line in lines]


def add_run(out: Path, run: Any) -> None:
    """Append ``run`` and print it."""
    line = json.dumps(asdict(run))
    with out.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    print(line, flush=True)
