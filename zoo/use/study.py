"""Study: train many networks the same way without labels, and ask each all labelled sets; any part, at any time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

from hardware_profiles.plain_text import escape_controls
from hardware_profiles.replace_file import replace_file
from search.nets import HANDCRAFTED
from search.nets.handcrafted import DIVISORS, SMALL_PX
from search.objectives import OBJECTIVES
from search.study.plan import (
    PROTOCOL,
    SEARCHED,
    TABLE,
    Job,
    LabelledSet,
    Protocol,
    Row,
    family_of,
    gather,
    reason_file,
    spread,
    write_table,
)
from search.study.workers import ENGINES
from search.types import Architecture
from zoo.errors import BadRequest, one_line
from zoo.make.pretrain import missing_extra
from zoo.names import nearest, shown
from zoo.package.card import read_card
from zoo.supernets import PHOTO_NETS
from zoo.types import Progress, Say, no_progress, tell

_LEAST = {"images_seen": 1, "batch": 2, "resolution_px": 8, "seed": 0}


def study(
    out: Path,
    *,
    protocol: Protocol,
    variants: str,
    searched: Sequence[Path] = (),
    downstream: Sequence[Path],
    source: Path | None = None,
    engine: str = "local",
    workers: int | None = None,
    threads: int = 1,
    progress: Progress = no_progress,
    say: Say = tell,
) -> list[Row]:
    """Do what is not done yet, and write the table of all that is; what fails is told, and tried again next time.

    Args:
        out: the study's folder; one that exists is gone on with.
        protocol: what all networks share; of a folder that exists, the same.
        variants: how many, spread over both families, or names with commas between.
        searched: packages whose networks are trained in the same way beside them.
        downstream: labelled sets, each a folder with ``train`` and ``test``.
        source: another one, of images like those of the training.
        engine: ``local`` or ``ray``.
        workers: jobs at a time on ``ray``.
        threads: that each computes with.
        progress: called with (stage, done, all).
        say: receives a line for each network and set.

    Returns:
        The table: a row for each network and set, with a reason where there is no answer.

    Raises:
        BadRequest: the folder is another study's, two sets have one name, or numbers that cannot be.
        MissingExtra: the training libraries are not installed.
    """
    sets = _sets(downstream, source)
    _check(protocol)
    known, unknown = _networks(variants, searched, protocol)
    if not known:
        raise BadRequest("; ".join(f"{name}: {reason}" for name, reason in unknown.items()))
    _keep(protocol, out)
    reasons = {(name, one.name): reason for name, reason in unknown.items() for one in sets}
    for name, reason in unknown.items():
        say(f"{name}: {reason}")
    jobs = [
        Job(name=name, architecture=architecture, protocol=protocol, sets=sets, out=out.resolve(), threads=threads)
        for name, architecture in known.items()
    ]
    left = [job for job in jobs if job.missing]
    say(f"{len(jobs)} networks on {len(sets)} sets; {len(jobs) - len(left)} of them done, {len(left)} to do")
    if left and find_spec("pytorch_lightning") is None:
        raise missing_extra(ModuleNotFoundError(name="pytorch_lightning"))
    for done, (job, outcomes) in enumerate(ENGINES[engine](left, workers), start=1):
        for outcome in outcomes:
            say(f"{job.name} on {outcome.set}: {outcome.reason or outcome.told}")
            if outcome.reason:
                reasons[job.name, outcome.set] = outcome.reason
            with suppress(OSError):  # on a full disk the table of this run says it, if there is room for that
                _keep_reason(reason_file(out, job.name, outcome.set), outcome.reason)
        progress("study", done, len(left))
    rows = gather(out, [(name, one) for name in (*known, *unknown) for one in sets], reasons)
    write_table(out / TABLE, rows)
    return rows


def _keep_reason(path: Path, reason: str) -> None:
    if reason:
        replace_file(path, reason)
    else:
        path.unlink(missing_ok=True)


def _sets(downstream: Sequence[Path], source: Path | None) -> tuple[LabelledSet, ...]:
    folders = [*([source] if source is not None else []), *downstream]
    names = [folder.resolve().name for folder in folders]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise BadRequest(
            f"two labelled sets are called {twice[0]}; the table tells them apart by it, so rename a folder"
        )
    return tuple(
        LabelledSet(name=name, folder=str(folder.resolve()), source=folder is source)
        for name, folder in zip(names, folders, strict=True)
    )


def _check(protocol: Protocol) -> None:
    for name, least in _LEAST.items():
        if (value := getattr(protocol, name)) < least:
            raise BadRequest(f"{name} is {value}; it must be at least {least}")
    for name, known in (("objective", tuple(OBJECTIVES)), ("width_divisor", DIVISORS)):
        if (value := getattr(protocol, name)) not in known:
            raise BadRequest(f"{name} is {shown(str(value))}; it is one of {', '.join(map(str, known))}")


def _keep(protocol: Protocol, out: Path) -> None:
    """Write what the networks share beside their answers; refuse other numbers for the rest of them."""
    path = out / PROTOCOL
    if not path.exists():
        if out.exists() and any(out.iterdir()):
            raise BadRequest(f"{out} holds something that is no study; name an empty folder")
        replace_file(path, json.dumps(asdict(protocol), indent=1) + "\n")
        return
    before = json.loads(path.read_text("utf-8"))
    for name, value in asdict(protocol).items():
        if before.get(name) != value:
            raise BadRequest(
                f"{out} is a study with {name} {shown(str(before.get(name)))}, not {shown(str(value))}; give the"
                " same, or another folder"
            )


def _networks(
    variants: str, searched: Sequence[Path], protocol: Protocol
) -> tuple[dict[str, Architecture], dict[str, str]]:
    """Those that are asked for by name, and why the others cannot be."""
    names = spread(int(variants), protocol.seed) if variants.strip().isdecimal() else _split(variants)
    if not names and not searched:
        raise BadRequest("--variants names no network; give a number, or names with commas between")
    known: dict[str, Architecture] = {}
    unknown: dict[str, str] = {}
    for name in names:
        family = family_of(name)
        if family == SEARCHED:
            every = [shape for net in HANDCRAFTED.values() for shape in net.shapes]
            unknown[str(escape_controls(name))[:60]] = f"no such variant; nearest: {', '.join(nearest(name, every))}"
            continue
        known[name] = HANDCRAFTED[family].architecture(
            name, width_divisor=protocol.width_divisor, resolution_px=protocol.resolution_px
        )
    for package in searched:
        try:
            known[package.resolve().name] = _architecture_of(package, protocol.resolution_px)
        except Exception as error:
            unknown[str(escape_controls(package.name))[:60]] = one_line(error)
    return known, unknown


def _split(variants: str) -> list[str]:
    return list(dict.fromkeys(filter(None, (name.strip() for name in variants.split(",")))))


def _architecture_of(package: Path, resolution_px: int) -> Architecture:
    """A package's network at the size of the study, in the form for small images where those are small."""
    found = read_card(package).architecture
    net = "mobile" if found.net == "mobile-photo" and resolution_px <= SMALL_PX else found.net
    if net not in ("mobile", *PHOTO_NETS):
        raise BadRequest(
            f"{package} is of net {net}; networks of {', '.join(('mobile', *PHOTO_NETS))} can be compared with variants"
        )
    if net == "resnet-photo" and resolution_px <= SMALL_PX:
        raise BadRequest(
            f"{package} is of net {net}, which has no form for images of {resolution_px} px; ask for --resolution 96"
        )
    return Architecture(net=net, choices=found.choices, resolution_px=resolution_px)


def missing(rows: Sequence[Row]) -> Iterator[str]:
    """A line for each reason: how many answers it cost."""
    counts: dict[str, int] = {}
    for row in rows:
        if row.reason:
            counts[row.reason] = counts.get(row.reason, 0) + 1
    yield from (f"{count} missing: {reason}" for reason, count in counts.items())
