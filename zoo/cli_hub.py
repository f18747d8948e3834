"""``zoo push`` and ``zoo pull``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from zoo.cli_talk import Json, Quiet, Talk, columns, size_text


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
    from zoo.push import push

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
    from zoo.pull import pull_folder
    from zoo.wanted import Wanted

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
