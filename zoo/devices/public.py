"""Public: cost models of devices from published files of whole-network times, of two formats.

``qai_hub_models.csv`` (quic/ai-hub-models; many devices, runtimes and precisions) and timm's ``results`` (one device a
file). The networks are built with random weights by torchvision or timm, for what they compute is counted on shapes.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from hardware_profiles.errors import BadTimes, MissingRuntime
from hardware_profiles.fit.count import Layer, count_layers
from hardware_profiles.fit.public import Timed, error_percent, fit_costs
from hardware_profiles.types import CostModel, DeviceProfile, Kind, Precision
from zoo.devices.times import above_zero, csv_text
from zoo.names import nearest, shown
from zoo.types import Progress, no_progress

Library = Literal["torchvision", "timm"]

_HUB_COLUMNS = ("model", "device", "runtime", "precision", "latency_ms", "compute_unit", "layers", "layers_cpu")
_TIMM_COLUMNS = ("model", "infer_img_size", "infer_step_time", "infer_batch_size")
_HUB_PRECISIONS: Mapping[str, Precision] = {"float": "fp16", "w8a8": "int8"}
_HUB_RUNTIMES = {"onnx": "onnxruntime-qnn", "qnn_dlc": "qnn"}
# Classifiers of that collection take 224 px.
_HUB_PX = 224
# An int8 graph with this many times the operations of the float one is not that network: it converts back and
# forth. So does one that is no faster.
_MOST_OPERATIONS = 2.0
# MobileNet-like, as our networks are: a fifth of the layers with weights depthwise, below a billion
# multiply-accumulates.
_MOBILE_SHARE, _MOBILE_MACS = 0.2, 1e9
# What a fit should reach; one that does not says so.
_GOOD_MEDIAN, _GOOD_TAU = 12.0, 0.88
# Below these a table would mislead more than it tells.
_WORST_MEDIAN, _WORST_TAU = 15.0, 0.7
# Networks with more parameters than this are bound by other things than ours, which have 10 million at most.
_MOST_PARAMS = 150e6
# More than this many operations are unrolled loops (Sequencer's LSTM), which no layer count describes.
_MOST_LAYERS = 2000

# What that collection calls torchvision's and timm's models; other names are tried as they are.
_HUB_NAMES: Mapping[Library, Mapping[str, str]] = {
    "torchvision": {
        "mnasnet05": "mnasnet0_5",
        "regnet": "regnet_x_3_2gf",
        "resnext101": "resnext101_32x8d",
        "resnext50": "resnext50_32x4d",
        "shufflenet_v2": "shufflenet_v2_x1_0",
        "wideresnet50": "wide_resnet50_2",
        "vit": "vit_b_16",
    },
    "timm": {"mobile_vit": "mobilevit_s", "levit": "levit_256", "beit": "beit_base_patch16_224"},
}


@dataclass(frozen=True, kw_only=True)
class Known:
    """A device of a published file: what it is called here and what it is."""

    id: str
    kind: Kind
    chip: str


KNOWN: Mapping[str, Known] = {
    "Samsung Galaxy S25": Known(id="galaxy-s25", kind="mobile", chip="Samsung Galaxy S25, NPU of Snapdragon 8 Elite"),
    "Samsung Galaxy S24": Known(id="galaxy-s24", kind="mobile", chip="Samsung Galaxy S24, NPU of Snapdragon 8 Gen 3"),
    "Snapdragon 8 Elite Gen 5 QRD": Known(
        id="snapdragon-8-elite-gen5", kind="mobile", chip="Snapdragon 8 Elite Gen 5 development phone, NPU"
    ),
    "Snapdragon 7 Gen 4 QRD": Known(
        id="snapdragon-7-gen4", kind="mobile", chip="Snapdragon 7 Gen 4 development phone, NPU"
    ),
    "QCS8550 (Proxy)": Known(id="qcs8550", kind="edge", chip="QCS8550 board, timed on a proxy, NPU"),
    "QCS8275 (Proxy)": Known(id="qcs8275", kind="edge", chip="QCS8275 board, timed on a proxy, NPU"),
    "Dragonwing IQ-9075 EVK": Known(id="iq-9075", kind="edge", chip="Dragonwing IQ-9075 evaluation kit, NPU"),
    "Dragonwing Q-6690 MTP": Known(id="q-6690", kind="point", chip="Dragonwing Q-6690 test platform, NPU"),
    "Dragonwing RB3 Gen 2 Vision Kit": Known(id="rb3-gen2", kind="edge", chip="Dragonwing RB3 Gen 2 vision kit, NPU"),
    "SA8295P ADP": Known(id="sa8295p", kind="edge", chip="SA8295P automotive development platform, NPU"),
    "SA8775P ADP": Known(id="sa8775p", kind="edge", chip="SA8775P automotive development platform, NPU"),
    "i9_10940x": Known(id="i9-10940x", kind="cloud", chip="Intel Core i9-10940X"),
    "rtx3090": Known(id="rtx-3090", kind="cloud", chip="NVIDIA GeForce RTX 3090"),
    "rtx5090": Known(id="rtx-5090", kind="cloud", chip="NVIDIA GeForce RTX 5090"),
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One published time: ``latency_ms`` of one pass over ``batch`` images of ``size_px``."""

    model: str
    size_px: int
    latency_ms: float
    batch: int
    params: float = 0
    operations: int = 0
    on_cpu: bool = False
    version: str = ""


@dataclass(frozen=True, kw_only=True)
class Published:
    """The times of one device, runtime and precision."""

    device: Known
    runtime: str
    precision: Precision
    rows: tuple[Row, ...]
    source: str
    license: str

    @property
    def id(self) -> str:
        """Of the device as it is used: ``galaxy-s24``, ``galaxy-s24-int8``."""
        return self.device.id + ("-int8" if self.precision == "int8" else "")


def read_published(path: Path) -> list[Published]:
    """All devices, runtimes and precisions that a published file has times of.

    Raises:
        BadTimes: the file cannot be read, lacks a column, or a time is no number; names the line.
    """
    rows = list(_lines(path))
    if not rows:
        raise BadTimes(f"{path}: holds no time; it takes one network a line")
    columns = rows[0][1].keys()
    if {"device", "runtime"} & columns:
        return _read_hub(path, rows)
    return [_read_timm(path, rows)]


def fit_published(
    published: Sequence[Published],
    library: Library,
    device_id: str,
    *,
    batch: int = 1,
    made_by: str = "",
    progress: Progress = no_progress,
    counts: dict[tuple[str, int], tuple[Layer, ...] | None] | None = None,
) -> tuple[CostModel, Counter[str]]:
    """The cost model of one device; where several runtimes were timed, of the one whose models it predicts best.

    Args:
        published: of one file.
        library: that builds the networks.
        device_id: an ``id`` of them.
        batch: images of one pass; a time published for a larger batch is taken to grow with it.
        made_by: the command, for people.
        progress: called with (stage, done, all).
        counts: networks counted so far, which several devices of one file share.

    Returns:
        The model, and how many rows each rule left out.

    Raises:
        BadTimes: no such device, or too few networks that the library can build.
        MissingRuntime: timm is not installed.
    """
    if library == "timm" and find_spec("timm") is None:
        raise MissingRuntime("timm is not installed: pip install 'subnet-zoo[public]'")
    mine = [one for one in published if one.id == device_id]
    if not mine:
        ids = sorted({one.id for one in published})
        raise BadTimes(f"the file has no device {shown(device_id)}; nearest: {', '.join(nearest(device_id, ids))}")
    counts = {} if counts is None else counts
    found: list[tuple[CostModel, Counter[str]]] = []
    refused = BadTimes("")
    for one in mine:
        networks, left_out = _networks(one, published, library, batch, counts, progress)
        profile = _profile(one, batch, library, left_out)
        try:
            model = fit_costs(networks, device=profile, made_by=made_by, measured_at=_today())
        except BadTimes as error:
            refused = error
        else:
            found.append((model, left_out))
    if not found:
        raise refused
    model, left_out = min(found, key=lambda pair: error_percent(pair[0]))
    reference = f"{model.device.reference}; {_said(model)}"[:500]
    return replace(model, device=replace(model.device, reference=reference)), left_out


def _said(model: CostModel) -> str:
    """What a card says of a fit beyond its figures."""
    figures, mobile = model.validation, model.mobile_validation
    assert figures is not None and figures.median_percent is not None, "a fit is validated"
    said = "each model left out in turn"
    if mobile is not None:
        said += f", {mobile.networks} MobileNet-like ones {mobile.mape_percent:.1f} % off on average"
    if figures.median_percent > _GOOD_MEDIAN or figures.kendall_tau < _GOOD_TAU:
        said += f"; short of 12 % and .88: median {figures.median_percent:.1f} %, Kendall tau {figures.kendall_tau:.2f}"
    return said


def good_enough(model: CostModel) -> bool:
    """Whether a fit is worth shipping: half the unseen models within 15 %, most pairs in the right order."""
    figures = model.validation
    return figures is not None and (figures.median_percent or 0) <= _WORST_MEDIAN and figures.kendall_tau >= _WORST_TAU


def _networks(
    one: Published,
    published: Sequence[Published],
    library: Library,
    batch: int,
    counts: dict[tuple[str, int], tuple[Layer, ...] | None],
    progress: Progress,
) -> tuple[list[Timed], Counter[str]]:
    """The networks to fit, and how many rows each rule leaves out."""
    floats = {
        (row.model, other.device.id): row
        for other in published
        if (other.runtime, other.precision) == (one.runtime, "fp16")
        for row in other.rows
    }
    operations = {model: row.operations for (model, _), row in floats.items()}
    networks: list[Timed] = []
    left_out: Counter[str] = Counter()
    for i, row in enumerate(one.rows):
        progress("count", i, len(one.rows))
        if row.params > _MOST_PARAMS:
            left_out["more than 150 million parameters"] += 1
            continue
        if row.on_cpu:
            left_out["runs on another unit in part"] += 1
            continue
        as_float = floats.get((row.model, one.device.id))
        if one.precision == "int8" and (
            row.operations > _MOST_OPERATIONS * operations.get(row.model, math.inf)
            or (as_float is not None and row.latency_ms >= as_float.latency_ms)
        ):
            left_out["its int8 falls back"] += 1
            continue
        key = row.model, row.size_px
        if key not in counts:
            counts[key] = _count(library, *key)
        layers = counts[key]
        if layers is None:
            left_out[f"not in {library}"] += 1
        elif len(layers) > _MOST_LAYERS or any(layer.operation == "matmul" for layer in layers):
            left_out["no convolutional network"] += 1
        else:
            ms = row.latency_ms * batch / row.batch
            networks.append(Timed(model=row.model, layers=layers, latency_ms=ms, mobile=_mobile(layers)))
    return networks, left_out


def _mobile(layers: Sequence[Layer]) -> bool:
    weighted = [layer for layer in layers if layer.weights]
    depthwise = sum(layer.operation == "depthwise" for layer in weighted)
    return depthwise >= _MOBILE_SHARE * len(weighted) and sum(layer.macs for layer in layers) < _MOBILE_MACS


def _count(library: Library, name: str, size_px: int) -> tuple[Layer, ...] | None:
    """What a network computes; None where the library has none of that name or size."""
    build = {"torchvision": _torchvision, "timm": _timm}[library]
    try:
        return count_layers(build(_HUB_NAMES[library].get(name, name), size_px), [(3, size_px, size_px)])
    except Exception:  # a thousand constructors of others, each with errors of its own
        return None


def _torchvision(name: str, size_px: int) -> nn.Module:
    from torchvision import models

    if name not in models.list_models(module=models):  # detectors and segmenters would fetch their backbones
        raise ValueError(name)
    unset = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    return models.get_model(name, weights=None, **unset).to("meta")  # type: ignore[no-any-return]


def _timm(name: str, size_px: int) -> nn.Module:
    import timm  # type: ignore[import-not-found, import-untyped, unused-ignore]

    with torch.device("meta"):
        try:
            model: nn.Module = timm.create_model(name, img_size=size_px)
        except TypeError:
            model = timm.create_model(name)
    return model


def _profile(one: Published, batch: int, library: Library, left_out: Counter[str]) -> DeviceProfile:
    without = "; ".join(f"{count} left out: {rule}" for rule, count in sorted(left_out.items()))
    rate = max(row.batch for row in one.rows)
    at_rate = f"; {batch} images at the rate of batches of {rate}" if rate != batch else ""
    versions = Counter(row.version for row in one.rows).most_common(1)[0][0]
    reference = f"{one.source}, {len(one.rows)} networks counted with {library}{at_rate}" + (
        f"; {without}" if without else ""
    )
    return DeviceProfile(
        id=one.id,
        kind=one.device.kind,
        chip=one.device.chip,
        memory_bytes=0,
        runtime=one.runtime,
        runtime_version=versions,
        precision=one.precision,
        batch=batch,
        threads=0,
        source="fitted",
        reference=reference,
        license=one.license,
    )


def _read_hub(path: Path, rows: list[tuple[int, dict[str, str]]]) -> list[Published]:
    _check_columns(path, rows[0][1], _HUB_COLUMNS)
    groups: dict[tuple[str, str, Precision], list[Row]] = {}
    for line, cells in rows:
        precision = _HUB_PRECISIONS.get(cells["precision"])
        if precision is None:
            continue
        row = Row(
            model=cells["model"],
            size_px=_HUB_PX,
            latency_ms=above_zero(cells["latency_ms"], "latency_ms", f"{path}, line {line}"),
            batch=1,
            operations=int(above_zero(cells["layers"] or "1", "layers", f"{path}, line {line}")),
            on_cpu=cells["compute_unit"] != "NPU" or bool(cells["layers_cpu"]),
            version=cells.get("tool_versions", "").replace(";", ", "),
        )
        groups.setdefault((cells["device"], cells["runtime"], precision), []).append(row)
    return [
        Published(
            device=KNOWN.get(name) or Known(id=_slug(name), kind="edge", chip=name[:100]),
            runtime=_HUB_RUNTIMES.get(runtime, runtime),
            precision=precision,
            rows=tuple(found),
            source="quic/ai-hub-models at 52c080d",
            license="BSD-3-Clause",
        )
        for (name, runtime, precision), found in groups.items()
    ]


def _read_timm(path: Path, rows: list[tuple[int, dict[str, str]]]) -> Published:
    _check_columns(path, rows[0][1], _TIMM_COLUMNS)
    name = next((known for known in KNOWN if known in path.name), path.stem)
    found = [
        Row(
            model=cells["model"],
            size_px=int(above_zero(cells["infer_img_size"], "infer_img_size", f"{path}, line {line}")),
            latency_ms=above_zero(cells["infer_step_time"], "infer_step_time", f"{path}, line {line}"),
            batch=int(above_zero(cells["infer_batch_size"], "infer_batch_size", f"{path}, line {line}")),
            params=1e6 * above_zero(cells.get("param_count") or "1", "param_count", f"{path}, line {line}"),
        )
        for line, cells in rows
    ]
    return Published(
        device=KNOWN.get(name) or Known(id=_slug(name), kind="cloud", chip=name[:100]),
        runtime="torch",
        precision="fp16" if "amp" in path.name else "fp32",
        rows=tuple(found),
        source="huggingface/pytorch-image-models, results",
        license="Apache-2.0",
    )


def _lines(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.DictReader(io.StringIO(csv_text(path), newline=""), strict=True)
    try:
        for cells in reader:
            if None in cells or None in cells.values():
                raise BadTimes(f"{path}, line {reader.line_num}: not as many columns as the heading has")
            yield reader.line_num, cells
    except csv.Error as error:
        raise BadTimes(f"{path}, line {reader.line_num}: {error}; write it as CSV") from None


def _check_columns(path: Path, cells: Mapping[str, str], wanted: Sequence[str]) -> None:
    if missing := [name for name in wanted if name not in cells]:
        has = ", ".join(shown(name) for name in list(cells)[:8])
        raise BadTimes(f"{path}: has no column {', '.join(missing)}, but {has}")


def _slug(name: str) -> str:
    from hardware_profiles.measure.probe import slug

    return slug(name)


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
