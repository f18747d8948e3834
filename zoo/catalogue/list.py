"""What there is to have: packages in the cache, the curated catalogue, the supernets, and what the Hub has.

Nothing here needs torch or reads more of a package than its ``config.json`` and the head of its weights, so that a list
comes at once.
"""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_type_hints

from hardware_profiles.plain_text import read_plain_json
from zoo.catalogue import Entry, load_entries
from zoo.checks import fits
from zoo.errors import BadName, BadRequest
from zoo.home import zoo_home
from zoo.names import nearest, parse_name
from zoo.supernets import supernet_names

CONFIG = "config.json"
Source = Literal["package", "catalogue", "supernet", "hub"]
SORTS = ("name", "ms", "device", "from")

# Of a head of weights, which has about 50 kB; and what the weights hold besides parameters.
_MOST_HEAD = 2**24 - 1
_NO_PARAMS = ("running_mean", "running_var", "num_batches_tracked", "__metadata__")
_TRAINING_ONLY = "projector."
_TASKS = ("cls", "det", "seg")
_MOST_NUMBER = 10**15  # of parameters, bytes and the like; no column has room for more
# What reading a stranger's files ends in; such a one is as good as absent.
_UNLISTED = (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError)
_BUDGET_IN_TEXT = re.compile(r"[0-9.]+(?:ms|mmacs|mb)")


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A line of the list; None where nobody knows, or where it would have to be made first.

    Args:
        name: what ``zoo get`` takes, or of a supernet.
        source: ``package`` (here, made), ``catalogue`` (made within seconds), ``supernet`` (for ``zoo search``) or
            ``hub``.
        task: ``cls``, ``det`` or ``seg``.
        objective: of the supernet.
        net: the family.
        device: the id of the device that its milliseconds hold for.
        table: where that device's latency table comes from: ``measured``, ``fitted``, ``published`` or ``estimated``.
        predicted_ms: by that table.
        measured_ms: by the clock.
        bytes: of the first ONNX artefact.
        folder: of the package or supernet.
        resolution_px: side of the input, in pixels.
        params: parameters; of a supernet, those of its largest network.
        accuracy: the first figure on labelled data that its card holds, 0..1; of a supernet, its largest network's.
        accuracy_of: which figure, and on what.
    """

    name: str
    source: Source
    task: str | None = None
    objective: str | None = None
    net: str | None = None
    device: str | None = None
    table: str | None = None
    predicted_ms: float | None = None
    measured_ms: float | None = None
    bytes: int | None = None
    folder: Path | None = None
    resolution_px: int | None = None
    params: int | None = None
    accuracy: float | None = None
    accuracy_of: str | None = None

    def __post_init__(self) -> None:
        """Refuse what a card says in another form: nobody has checked it before it is listed."""
        for name, hint in _hints().items():
            value = getattr(self, name)
            if not fits(value, hint) or (isinstance(value, int | float) and not abs(value) <= _MOST_NUMBER):
                raise TypeError(f"{name} is {value!r}")

    @property
    def ms(self) -> float | None:
        """The measured time, else the predicted one."""
        return self.measured_ms if self.measured_ms is not None else self.predicted_ms


@cache
def _hints() -> dict[str, Any]:
    return get_type_hints(Listing)


def list_models(
    pattern: str = "*",
    *,
    task: str | None = None,
    device: str | None = None,
    max_ms: float | None = None,
    objective: str | None = None,
    net: str | None = None,
    sort: str = "from",
    hub: str | None = None,
) -> list[Listing]:
    """All that matches.

    Args:
        pattern: of the name, with the wildcards of a shell, e.g. ``data-*-cls-*``.
        task: ``cls``, ``det`` or ``seg``.
        device: an id, with wildcards.
        max_ms: at most so many milliseconds, measured where they were, else predicted.
        objective: of the supernet.
        net: the family.
        sort: ``name``, ``ms``, ``device`` or ``from`` (what is here first).
        hub: an organization or user on the Hub whose packages are listed, too.

    Raises:
        BadRequest: an unknown way to sort.
        HubError: the Hub cannot be reached; without ``hub`` nobody asks it.
    """
    if sort not in SORTS:
        raise BadRequest(f"cannot sort by {sort!r}; sort by {', '.join(SORTS)}")
    sources = [_packages(), _entries(), _supernets(), _hub(hub) if hub else ()]
    wanted = {"task": task, "objective": objective, "net": net}
    found = [
        line
        for source in sources
        for line in source
        if fnmatch.fnmatchcase(line.name, pattern)
        and all(value in (None, getattr(line, field)) for field, value in wanted.items())
        and (device is None or fnmatch.fnmatchcase(line.device or "", device))
        and (max_ms is None or (line.ms is not None and line.ms <= max_ms))
    ]
    return found if sort == "from" else sorted(found, key=lambda line: _key(line, sort))


def nearest_models(text: str) -> list[str]:
    """The three names most like ``text`` that are here or could be made."""
    budget = match[0] if (match := _BUDGET_IN_TEXT.search(text[:200])) else "1ms"
    kinds = dict.fromkeys((one.method, one.objective) for one in supernet_names())
    examples = [f"{method}-{objective}-{task}-{budget}" for method, objective in kinds for task in _TASKS]
    known = [line.name for lines in (_packages(), _entries()) for line in lines]
    return nearest(text, dict.fromkeys([*examples, *known]))


def _packages() -> Iterator[Listing]:
    """Those in the cache, the newest first; what is damaged is as good as absent."""
    parent = zoo_home() / "packages"
    configs = sorted(parent.glob(f"[!.]*/{CONFIG}"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for path in configs:
        try:
            yield _of_config(read_plain_json(path.read_bytes()), path.parent)
        except _UNLISTED:
            continue


def _of_config(config: dict[str, Any], folder: Path) -> Listing:
    recipe = config["recipe"]
    tries = recipe["tries"]
    figure = next(iter(config["evaluation"]), None)
    artefacts = [digest["bytes"] for file, digest in config["manifest"].items() if file.endswith(".onnx")]
    return Listing(
        name=config["name"],
        source="package",
        task=config["task"],
        objective=recipe["supernet_recipe"].get("objective") or _objective(config["name"]),
        net=config["architecture"]["net"],
        device=recipe["device"]["id"],
        table=recipe["device"]["source"],
        predicted_ms=tries[-1]["predicted_ms"] if tries else None,
        measured_ms=tries[-1]["measured_ms"] if tries else None,
        bytes=artefacts[0] if artefacts else None,
        folder=folder,
        resolution_px=config["preprocess"]["size_px"][0],
        params=_params(folder / "model.safetensors"),
        accuracy=figure and figure["value"],
        accuracy_of=figure and f"{figure['metric']}, {figure['data']}",
    )


def _params(weights: Path) -> int | None:
    """By the head of a safetensors file; statistics of normalizations are no parameters."""
    try:
        with weights.open("rb") as file:
            head = read_plain_json(file.read(int.from_bytes(file.read(8), "little") & _MOST_HEAD))
        counted = (key for key in head if not key.endswith(_NO_PARAMS) and not key.startswith(_TRAINING_ONLY))
        return sum(int(math.prod(head[key]["shape"])) for key in counted)
    except _UNLISTED:
        return None


def _objective(name: str) -> str | None:
    try:
        return parse_name(name).objective
    except BadName:
        return None


def _entries() -> Iterator[Listing]:
    figures = {one.name: _figure(one.card) for one in supernet_names() if one.net == "cell"}
    for entry in load_entries():
        yield _of_entry(entry, figures.get(entry.supernet, {}))  # a supernet of cells is this network


def _of_entry(entry: Entry, figure: dict[str, Any]) -> Listing:
    return Listing(
        name=entry.name,
        source="catalogue",
        task=str(entry.task),
        objective=entry.question.objective,
        net=entry.net,
        device=entry.device,
        table=entry.source,
        predicted_ms=entry.predicted_ms,
        measured_ms=entry.measured_ms,
        resolution_px=entry.resolution_px,
        params=entry.params,
        **figure,
    )


def _supernets() -> Iterator[Listing]:
    for one in supernet_names():
        try:
            yield Listing(
                name=one.name,
                source="supernet",
                objective=one.objective,
                net=one.net,
                folder=one.folder,
                resolution_px=one.card.get("resolution_px"),
                params=_params(one.folder / "model.safetensors"),
                **_figure(one.card),
            )
        except _UNLISTED:
            continue


def _figure(card: dict[str, Any]) -> dict[str, Any]:
    """The linear accuracy that a supernet's card names first: of its largest network, or of its only one."""
    evaluation = card.get("evaluation")
    for data, found in evaluation.items() if isinstance(evaluation, dict) else ():
        match found:
            case {"largest": {"linear": float(value)}} | {"linear": {"trained": float(value)}}:
                return {"accuracy": value, "accuracy_of": f"linear, {data}"}
            case [{"trained": {"linear": float(value)}}, *_]:  # as `zoo evaluate --json` prints it
                return {"accuracy": value, "accuracy_of": "linear"}
    return {}


def _hub(org: str) -> Iterator[Listing]:
    from zoo.hub.client import list_hub

    for found in list_hub(org):
        yield Listing(name=found.repo, source="hub", task=found.task, device=found.device)


def _key(line: Listing, sort: str) -> tuple[bool, float | str, str]:
    """What is not known comes last."""
    value: float | str | None = {"name": line.name, "ms": line.ms, "device": line.device}[sort]
    return value is None, 0.0 if value is None else value, line.name
