"""``zoo list``, ``zoo info``, ``zoo get``, ``zoo report``, ``zoo env``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from search.types import Task
from zoo.cli.console import Json, Quiet, Talk, columns, size_text

if TYPE_CHECKING:
    from zoo.catalogue.list import Listing
from zoo.errors import BadRequest

Name = Annotated[str, typer.Argument(help="A package's folder, or a name such as data-mocov2-cls-1ms.")]
Images = Annotated[Path | None, typer.Option("--images", help="Unlabelled images to search on, where needed.")]


def list_command(
    pattern: Annotated[str, typer.Argument(help="Of the name, with wildcards, e.g. 'data-*-cls-*'.")] = "*",
    task: Annotated[Task | None, typer.Option(help="Only networks for this.")] = None,
    device: Annotated[str | None, typer.Option(help="Only for this device; wildcards.")] = None,
    max_ms: Annotated[float | None, typer.Option(help="Only those that take at most so many milliseconds.")] = None,
    objective: Annotated[str | None, typer.Option(help="Only of supernets trained so.")] = None,
    net: Annotated[str | None, typer.Option(help="Only of this family.")] = None,
    sort: Annotated[str, typer.Option(help="By from, name, ms or device.")] = "from",
    hub: Annotated[str | None, typer.Option(metavar="ORG", help="Ask the Hub what ORG has, too.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """What is here, what the catalogue has, what can be asked for, and what an organization has on the Hub."""
    from zoo.catalogue.list import list_models

    talk = Talk(as_json=as_json, quiet=quiet)
    lines = list_models(
        pattern, task=task, device=device, max_ms=max_ms, objective=objective, net=net, sort=sort, hub=hub
    )
    values = [{**vars(line), "folder": None if line.folder is None else str(line.folder)} for line in lines]
    talk.data(values, _table(lines))
    if not lines:
        talk.say("nothing matches; `zoo list` shows all")
        return
    talk.say("ms: by the device's table; timed: by the clock there; Mpar: millions of parameters; acc: see `zoo info`")
    talk.say("other budgets and devices are searched when asked for, as in: zoo get data-mocov2-cls-5ms@this")


_HEADINGS = {
    "package": "here already",
    "catalogue": "made within seconds by zoo get",
    "supernet": "to search, see zoo search --supernet",
    "hub": "on the Hub",
}
_NAME_WIDTH = 46  # with the columns beside it a line has 80 characters


def _table(lines: Sequence[Listing]) -> list[str]:
    """A line each; a name that leaves no room for its numbers is on a line of its own."""
    rows = []
    for line in lines:
        params = "-" if line.params is None else f"{line.params / 1e6:.2f}"
        accuracy = "-" if line.accuracy is None else f"{100 * line.accuracy:.1f}"
        size_px = str(line.resolution_px or "-")
        numbers = (
            size_px,
            params,
            _short(line.predicted_ms),
            _short(line.measured_ms),
            accuracy,
        )
        rows.append((line.source, line.name, numbers))
    head = ("px", "Mpar", "ms", "timed", "acc")
    widths = [max(len(row[2][i]) for row in [("", "", head), *rows]) for i in range(len(head))]
    text: list[str] = []
    for i, (source, name, numbers) in enumerate(rows):
        if i == 0 or source != rows[i - 1][0]:
            text += [*[""] * bool(text), _row(_HEADINGS[source], head, widths)]
        text.append(_row(name, numbers, widths))
    return text


def _row(name: str, numbers: Sequence[str], widths: Sequence[int]) -> str:
    cells = "  ".join(number.rjust(width) for number, width in zip(numbers, widths, strict=True))
    gap = "\n" + " " * _NAME_WIDTH if len(name) > _NAME_WIDTH else " " * (_NAME_WIDTH - len(name))
    return f"{name}{gap}  {cells}"


def _short(value_ms: float | None) -> str:
    """Four characters where that tells enough."""
    return "-" if value_ms is None else f"{value_ms:.2f}" if value_ms < 10 else f"{value_ms:.1f}"


def info_command(name: Name, as_json: Json = False, quiet: Quiet = False) -> None:
    """All that is known of a package, of org/name on the Hub, of an entry of the catalogue, or of a supernet."""
    from zoo.catalogue.locate import card_of, entry_of
    from zoo.cli.facts import artefact_notes, artefact_rows, card_facts, entry_facts, front_lines
    from zoo.errors import UnknownName
    from zoo.package.card import card_document
    from zoo.supernets import supernet_folder

    talk = Talk(as_json=as_json, quiet=quiet)
    if (folder := supernet_folder(name)) is not None:
        _supernet_info(folder, talk)
        return
    try:
        packaged = card_of(name)
    except UnknownName:
        if (entry := entry_of(name)) is None:
            raise
        talk.data({"made": False, "entry": vars(entry)}, columns(entry_facts(entry)))
        talk.next(f"zoo get {entry.name}")
        return
    card = packaged.card
    lines = [*columns(card_facts(card, packaged.folder)), "", *columns(artefact_rows(card)), *artefact_notes(card)]
    lines += front_lines(packaged)
    talk.data(card_document(card), lines)


def _supernet_info(folder: Path, talk: Talk) -> None:
    from search.supernet import load_card
    from zoo.cli.facts import supernet_facts

    card = load_card(folder)
    talk.data({**vars(card), "folder": str(folder)}, columns(supernet_facts(card, folder)))
    talk.next(f"zoo search --images photos --supernet {card.name} --budget 1ms -o my-model")


def get_command(
    name: Name,
    images: Images = None,
    to: Annotated[Path | None, typer.Option("--to", help="Copy the package into this folder.")] = None,
    supernet: Annotated[str | None, typer.Option(help="Name or folder of the supernet to search.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Replay the package's golden tensors.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a package at --to.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """The package of that name, made where it is not in the cache."""
    from zoo.catalogue.locate import locate
    from zoo.package.card import CONFIG
    from zoo.package.folder import load_package
    from zoo.package.staging import check_free

    talk = Talk(as_json=as_json, quiet=quiet)
    if to is not None:
        check_free(to, mark=CONFIG, overwrite=overwrite)
    with talk.progress() as progress:
        folder = locate(name, images=images, supernet=supernet, progress=progress, say=talk.say)
    package = load_package(folder, verify=verify)
    if to is not None:
        from zoo.catalogue.model import Model

        folder = Model(package).save_pretrained(to, overwrite=overwrite)  # what the manifest lists, and nothing else
    talk.data({"name": package.card.name, "path": str(folder)}, [str(folder)])
    talk.next(f"zoo info {folder}", f"python -c \"import zoo; print(zoo.get('{folder}'))\"")


def report_command(
    packages: Annotated[
        list[str] | None, typer.Argument(help="Packages' folders or names; several are compared.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The file; without it report.html in the first package.")
    ] = None,
    catalogue: Annotated[bool, typer.Option("--catalogue", help="The whole zoo in place of packages.")] = False,
    images: Annotated[
        Path | None, typer.Option(help="Show some images of this folder, each with its nearest others.")
    ] = None,
    evaluation: Annotated[Path | None, typer.Option(help="What `zoo evaluate PACKAGE --json` printed.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier page.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a page to look at: one HTML file that needs no network."""
    if catalogue == bool(packages):
        raise BadRequest("name one or more packages, or ask for --catalogue")
    talk = Talk(as_json=as_json, quiet=quiet)
    if catalogue:
        from zoo.report.write import report_catalogue

        file = report_catalogue(out or Path("catalogue.html"), overwrite=overwrite)
    else:
        from zoo.report.write import report

        with talk.progress() as progress:
            file = report(
                *(packages or ()),
                out=out,
                images=images,
                evaluation=evaluation,
                overwrite=overwrite,
                progress=progress,
                say=talk.say,
            )
    size = file.stat().st_size
    talk.data({"path": str(file), "bytes": size}, [f"{file}  {size_text(size)}"])


def env_command(as_json: Json = False, quiet: Quiet = False) -> None:
    """Versions, processor and folders, to paste into a report."""
    from zoo.cli.facts import environment

    facts = environment()
    lines = columns([(key, "-" if value is None else str(value)) for key, value in facts.items()])
    Talk(as_json=as_json, quiet=quiet).data(facts, lines)
