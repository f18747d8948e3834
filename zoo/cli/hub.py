"""``zoo push`` and ``zoo pull``."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.cli.console import Json, Quiet, Talk, columns, size_text

if TYPE_CHECKING:
    from zoo.catalogue.cache import Kept


def push_command(
    package: Annotated[Path, typer.Argument(help="A package's folder.")],
    repo: Annotated[str, typer.Argument(metavar="ORG/NAME", help="Where to publish it.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show files, sizes and card; no token is needed.")] = False,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    revision: Annotated[str, typer.Option(help="The branch to commit to.")] = "main",
    message: Annotated[str | None, typer.Option("--message", "-m", help="Of the commit.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Publish a package on the Hub: one commit and the next tag, v1, v2, ..."""
    talk = Talk(as_json=as_json, quiet=quiet)
    _no_bars()
    from zoo.hub.push import push

    pushed = push(package, repo, private=private, revision=revision, message=message, dry_run=dry_run, say=talk.say)
    rows = columns([("file", "size"), *((file, size_text(size)) for file, size in pushed.sizes_bytes.items())])
    fields = {"repo": repo, "url": pushed.url, "commit": pushed.commit, "files": dict(pushed.sizes_bytes)}
    if dry_run:
        talk.data({**fields, "tag": None, "readme": pushed.readme}, [*rows, "", pushed.readme.rstrip()])
        talk.next(f"zoo push {package} {repo}")
        return
    talk.data({**fields, "tag": pushed.address.revision}, [*rows, "", f"{pushed.url}/tree/{pushed.address.revision}"])
    talk.next(f"zoo pull {pushed.address}", f"python -c \"import zoo; print(zoo.get('{pushed.address}'))\"")


def pull_command(
    address: Annotated[str, typer.Argument(metavar="ORG/NAME[@REVISION]", help="A package on the Hub.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Copy it into this folder, too.")] = None,
    target: Annotated[str | None, typer.Option(help="Only artefacts for point, edge or cloud.")] = None,
    precision: Annotated[str | None, typer.Option(help="Only artefacts in fp32, fp16 or int8.")] = None,
    device: Annotated[str | None, typer.Option(help="Only artefacts that were made for this device.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Replay the package's golden tensors.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a package at --out.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fetch a package from the Hub, or only what a target or a device needs of it."""
    talk = Talk(as_json=as_json, quiet=quiet)
    _no_bars()
    from zoo.hub.pull import pull_folder
    from zoo.package.manifest import Wanted

    wanted = Wanted(target=target, precision=precision, device=device)
    with talk.progress() as progress:
        folder = pull_folder(
            address, out, wanted=wanted, overwrite=overwrite, verify=verify, progress=progress, say=talk.say
        )
    talk.data({"address": address, "path": str(folder)}, [str(folder)])
    talk.next(f"zoo info {out or address}", f"python -c \"import zoo; print(zoo.get('{out or address}'))\"")


def _no_bars() -> None:
    """The client reads this at its first import; its bars would be drawn over ours."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def list_command(as_json: Json = False, quiet: Quiet = False) -> None:
    """Packages made for a name, packages from the Hub, and what killed processes left."""
    from zoo.catalogue.cache import list_cache
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
    from zoo.catalogue.cache import clean

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
