"""``zoo cache list`` and ``zoo cache clean``."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.cli_talk import Json, Quiet, Talk, columns, size_text

if TYPE_CHECKING:
    from zoo.clean import Kept


def list_command(as_json: Json = False, quiet: Quiet = False) -> None:
    """Packages made for a name, packages from the Hub, and what killed processes left."""
    from zoo.clean import list_cache
    from zoo.home import zoo_home
    from zoo.hub.settings import hub_cache

    talk = Talk(as_json=as_json, quiet=quiet)
    kept = list_cache()
    _show(talk, kept)
    talk.say(f"{_total(kept)} in {zoo_home()} and {hub_cache()}")


def clean_command(
    pattern: Annotated[
        str | None, typer.Argument(help="Names to remove, as a shell pattern: 'data-*-det-*', 'acme/*', '*'.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Remove damaged packages and leftovers, and the packages that PATTERN names.

    Tables and supernets stay.
    """
    from zoo.clean import clean

    talk = Talk(as_json=as_json, quiet=quiet)
    gone = clean(pattern, dry_run=dry_run)
    _show(talk, gone)
    talk.say(f"{_total(gone)} {'would be removed' if dry_run else 'removed'}")


def _show(talk: Talk, kept: list[Kept]) -> None:
    rows = [("kind", "name", "size", "written", "folder")]
    for one in kept:
        written = datetime.fromtimestamp(one.used).strftime("%Y-%m-%d %H:%M")
        rows.append((one.kind, one.name, size_text(one.bytes), written, str(one.folder)))
    talk.data([{**vars(one), "folder": str(one.folder)} for one in kept], columns(rows) if kept else [])


def _total(kept: list[Kept]) -> str:
    return f"{len(kept)} entries, {size_text(sum(one.bytes for one in kept))},"
