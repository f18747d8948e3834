"""The reference pages, generated from the code, and the results, when the documentation is built."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import typer
from mkdocs.structure.files import File, Files
from typer.cli import get_docs_for_click

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
from results import page

import zoo
from zoo.cli.app import program


def on_files(files: Files, config: Any) -> Files:
    """Add ``cli.md``, ``api.md`` and ``results.md``."""
    command = typer.main.get_command(program())
    context = command.make_context("zoo", [], resilient_parsing=True)
    cli = get_docs_for_click(obj=command, ctx=context, name="zoo", title="Commands")
    rows = [f"::: {where}\n" for name, where in sorted(zoo._WHERE.items()) if name != "__version__"]
    api = "\n".join(["# Python\n", "All of it is `zoo.NAME`; what the command line does, these do.\n", *rows])
    # The kept runs are no part of the site.
    results = re.sub(r"\[([^]]+)\]\(runs[^)]*\)", r"`benchmarks/runs/\1`", page()).replace("runs/runs/", "runs/")
    for name, text in (("cli.md", cli), ("api.md", api), ("results.md", results)):
        files.append(File.generated(config, name, content=text))
    return files
