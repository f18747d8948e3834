"""Write: packages as a page - what each is, how fast, how exact, how it came about - or the catalogue as one."""

from __future__ import annotations

from pathlib import Path

from hardware_profiles.plain_text import read_plain_json
from zoo.catalogue import load_entries
from zoo.catalogue.locate import locate
from zoo.errors import BadRequest
from zoo.names import shown
from zoo.progress import Watch, watching
from zoo.report.charts import catalogue_chart
from zoo.report.page import PAGE, check_page, render, write_page
from zoo.report.sections import page_text
from zoo.types import Evaluation, Say, tell

_MOST_PACKAGES = 12  # lines that eyes can tell apart in one chart


def report(
    *packages: str | Path,
    out: str | Path | None = None,
    images: str | Path | None = None,
    evaluation: str | Path | None = None,
    overwrite: bool = False,
    progress: Watch = "auto",
    say: Say = tell,
) -> Path:
    """Write packages as one HTML page that needs no network; several are compared.

    Args:
        packages: folders or names.
        out: the file; None takes ``report.html`` in the first package's folder.
        images: a folder of which the page shows some images: with what a trained whole model sees in them, and else
            each with those that the network finds most similar.
        evaluation: what ``zoo evaluate PACKAGE --json`` printed, of a single package.
        overwrite: replace an earlier page.
        progress: ``auto`` (bars or lines, as fits), None, or a function called with (stage, done, all).
        say: receives what happens then.

    Returns:
        The file.

    Raises:
        BadRequest: no package, or too many.
        OutputExists: the file is there already, or cannot be written.
        BadPackage: a package is damaged.
        NotEnoughImages: fewer than 8 images can be read.

    Example:
        >>> zoo.report("my-model", images="photos")  # doctest: +SKIP
        PosixPath('my-model/report.html')
    """
    progress = watching(progress)
    if not 1 <= len(packages) <= _MOST_PACKAGES:
        raise BadRequest(f"{len(packages)} packages; a page shows 1 to {_MOST_PACKAGES}")
    figures = () if evaluation is None else _evaluation(Path(evaluation), len(packages))
    if out is not None:
        check_page(Path(out), overwrite=overwrite)
    folders = [locate(str(package), progress=progress, say=say) for package in packages]
    file = Path(out) if out is not None else folders[0] / PAGE
    check_page(file, overwrite=overwrite)
    pictures = []
    if images is not None:
        from zoo.report.pictures import pictures_of  # with torch, which a page without pictures does not need

        pictures = [pictures_of(folder, Path(images), progress=progress) for folder in folders]
    return write_page(page_text(folders, pictures=pictures, figures=figures), file)


def _evaluation(path: Path, packages: int) -> tuple[Evaluation, ...]:
    if packages != 1:
        raise BadRequest(f"--evaluation is of one package, not of {packages}; leave it out, or make a page for each")
    try:
        found = read_plain_json(path.read_bytes())
        network, images = found["networks"][0], f"{found['train']} training and {found['test']} test images"
        values = {"k-NN": float(network["trained"]["knn"]), "linear": float(network["trained"]["linear"])}
        return tuple(
            Evaluation(data=f"{found['classes']} classes, {images}", metric=f"top1, {how}", value=value, protocol=how)
            for how, value in values.items()
        )
    except OSError as error:
        raise BadRequest(f"{shown(str(path))} cannot be read ({error.strerror}); name a file") from None
    except (ValueError, LookupError, TypeError):
        raise BadRequest(f"{shown(str(path))} is not what `zoo evaluate PACKAGE --json` prints") from None


def report_catalogue(out: str | Path, *, overwrite: bool = False) -> Path:
    """Write the catalogue as one HTML page that needs no network; returns the file.

    Raises:
        OutputExists: the file is there already, or cannot be written.
        BadCatalogue: the catalogue's file is damaged.
    """
    out = Path(out)
    check_page(out, overwrite=overwrite)
    entries = load_entries()
    # A network of cells was not chosen among others by score.
    points = [(e.name, str(e.task), e.device, e.predicted_ms, e.score) for e in entries if e.net != "cell"]
    values = {
        "entries": entries,
        "tasks": sorted({str(entry.task) for entry in entries}),
        "devices": sorted({entry.device for entry in entries}),
        "chart": catalogue_chart(points),
    }
    return write_page(render("catalogue.html.jinja", values), out)
