"""Public: a cost model of a device from published times of well-known networks, which prices any block at any size.

A network's time is a constant plus non-negative costs of what its layers do (``TERMS``), so that a block's time is the
same sum over its own layers. The fit makes relative errors small and lets outliers count less (Huber 1964, solved by
reweighting). Which terms a device is described by is decided by leaving one model out after the other: rich
descriptions where many networks were timed, lean ones where few were.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hardware_profiles.errors import BadTimes
from hardware_profiles.fit.calibrate import validate
from hardware_profiles.fit.count import Layer
from hardware_profiles.fit.work import Numbers, checked_times, checks_of, solve_nonnegative
from hardware_profiles.types import CostModel, DeviceProfile

MIN_MODELS = 8  # one more than the kinds of work that a fit prices
# Reweighting settles in about five steps on all published files.
_STEPS = 8
# Errors up to 1.5 times the median one count in full; Huber's constant, 1.345 sigma, is about twice the median.
_FULL_WEIGHT, _LEAST_SCALE = 1.5, 0.01
# Processors of matrices work on channels in groups; 32 fits the published NPUs better than 16 or 64.
_CHANNEL_GROUP = 32

_WEIGHTED = frozenset({"dense", "pointwise", "depthwise", "grouped", "linear"})


def _traffic(*operations: str) -> Callable[[Layer], float]:
    return lambda layer: float(layer.reads + layer.writes) if layer.operation in operations else 0.0


def _macs(*operations: str) -> Callable[[Layer], float]:
    return lambda layer: float(layer.macs) if layer.operation in operations else 0.0


def _padded_macs(layer: Layer) -> float:
    if layer.operation not in ("dense", "pointwise", "linear"):
        return 0.0
    c_in, c_out = (-(-c // _CHANNEL_GROUP) * _CHANNEL_GROUP for c in (layer.c_in, layer.c_out))
    return layer.macs / (layer.c_in * layer.c_out) * c_in * c_out


# What a layer may cost. Traffic is elements read and written; padded multiply-accumulates fill groups of 32 channels.
TERMS: Mapping[str, Callable[[Layer], float]] = {
    "calls": lambda layer: float(layer.operation in _WEIGHTED),
    "other_calls": lambda layer: float(layer.operation not in _WEIGHTED),
    "weights": lambda layer: float(layer.weights),
    "macs": _macs("dense", "pointwise", "grouped", "linear"),
    "padded_macs": _padded_macs,
    "dense_macs": _macs("dense"),
    "pointwise_macs": _macs("pointwise", "linear"),
    "depthwise_macs": _macs("depthwise"),
    "grouped_macs": _macs("grouped"),
    "traffic": lambda layer: float(layer.reads + layer.writes),
    "convolution_traffic": _traffic("dense", "pointwise", "grouped", "linear"),
    "depthwise_traffic": _traffic("depthwise"),
    "grouped_traffic": _traffic("grouped"),
    "elementwise_traffic": _traffic("elementwise"),
    "curve_traffic": _traffic("curve"),
    "pool_traffic": _traffic("pool"),
}

# Descriptions of a device, from lean to rich; leaving models out chooses one.
DESCRIPTIONS: tuple[tuple[str, ...], ...] = (
    ("calls", "macs", "grouped_macs", "traffic", "weights"),
    ("calls", "padded_macs", "grouped_traffic", "traffic", "weights"),
    (
        *("calls", "padded_macs", "depthwise_traffic", "grouped_traffic", "convolution_traffic"),
        *("elementwise_traffic", "curve_traffic", "pool_traffic", "weights"),
    ),
    (
        *("calls", "macs", "depthwise_macs", "grouped_macs", "convolution_traffic", "depthwise_traffic"),
        *("elementwise_traffic", "curve_traffic", "weights"),
    ),
)
# All kinds apart; few networks would fit it by chance, and say little of blocks that are in none of them.
RICH = tuple(term for term in TERMS if term not in ("macs", "traffic"))
_RICH_MODELS = 100


@dataclass(frozen=True, kw_only=True)
class Timed:
    """A network, what it computes and how long it took.

    Args:
        model: its name; the sizes of one model share it, and are left out together.
        layers: of one image.
        latency_ms: of one forward pass.
        mobile: it is made of depthwise convolutions, as our networks are.
    """

    model: str
    layers: tuple[Layer, ...]
    latency_ms: float
    mobile: bool


def fit_costs(networks: Sequence[Timed], *, device: DeviceProfile, made_by: str, measured_at: str) -> CostModel:
    """Fit a cost model and validate it on models left out of the fit, one after the other.

    Args:
        networks: those that were timed.
        device: what they ran on; its ``source`` becomes ``fitted``.
        made_by: the command that makes this, for people.
        measured_at: when the times were taken, for people.

    Raises:
        BadTimes: impossible times, or fewer than 8 models.
    """
    models = [network.model for network in networks]
    if len(set(models)) < MIN_MODELS:
        raise BadTimes(f"{len(set(models))} models are too few to fit the costs of a device; it takes {MIN_MODELS}")
    times = checked_times([network.latency_ms for network in networks], networks=len(networks))
    work = work_of([network.layers for network in networks])
    mobile = np.array([network.mobile for network in networks])
    found = []
    for terms in (*DESCRIPTIONS, *([RICH] if len(set(models)) >= _RICH_MODELS else [])):
        rows = _rows(work, terms)
        predicted = _leave_models_out(rows, times, models)
        overhead_ms, *costs = (float(f"{value:.6g}") for value in robust_costs(rows, times))
        found.append(
            CostModel(
                device=replace(device, source="fitted"),
                net="any",
                resolution_px=0,
                overhead_ms=overhead_ms,
                scale=1.0,
                validation=validate(predicted, times),
                mobile_validation=validate(predicted[mobile], times[mobile]) if mobile.any() else None,
                measured_at=measured_at,
                made_by=made_by,
                terms={term: cost for term, cost in zip(terms, costs, strict=True) if cost > 0},
                checks=checks_of(predicted, times),
            )
        )
    return min(found, key=error_percent)


def error_percent(model: CostModel) -> float:
    """What a model is chosen by: its mean error, averaged with that of MobileNet-like networks, as ours are."""
    figures = [one.mape_percent for one in (model.validation, model.mobile_validation) if one is not None]
    return float(np.mean(figures))


def work_of(networks: Sequence[Sequence[Layer]]) -> dict[str, Numbers]:
    """How much of each term each of N networks or blocks has, [N] each."""
    return {
        term: np.array([sum(map(amount, layers)) for layers in networks], dtype=np.float64)
        for term, amount in TERMS.items()
    }


def robust_costs(rows: Numbers, times_ms: Numbers) -> Numbers:
    """Non-negative costs [T] of the columns of ``rows`` [N, T], so that ``times_ms`` [N] are predicted well."""
    relative = rows / times_ms[:, None]
    weights = np.ones(len(times_ms))
    for _ in range(_STEPS):
        costs = solve_nonnegative(relative * weights[:, None], weights)
        errors = np.abs(relative @ costs - 1)
        full = _FULL_WEIGHT * float(np.median(errors)) + _LEAST_SCALE
        weights = np.sqrt(np.minimum(1.0, full / np.maximum(errors, 1e-12)))
    return costs


def _rows(work: Mapping[str, Numbers], terms: Sequence[str]) -> Numbers:
    return np.column_stack([np.ones(len(work["calls"])), *(work[term] for term in terms)])


def _leave_models_out(rows: Numbers, times_ms: Numbers, models: Sequence[str]) -> Numbers:
    """Each network's time as predicted by a fit to all other models, [N]."""
    predicted = np.empty(len(times_ms))
    names = np.array(models)
    for model in dict.fromkeys(models):
        mine = names == model
        predicted[mine] = rows[mine] @ robust_costs(rows[~mine], times_ms[~mine])
    return predicted
