"""Analysis: whether the best network of one set wins on the others, and where a network's parameters belong.

Intervals are of 95 %. Those of correlations come from drawing the networks anew with replacement (percentile
bootstrap), those of accuracies from the number of test images (Wilson); neither holds the chance of another training.

Symbols: B draws, N networks.
"""

# ruff: noqa: N803, N806 - an array's name ends in its shape.

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata  # type: ignore[import-untyped]

from search.study.plan import SEARCHED, Row

Array = NDArray[Any]
Metric = Literal["knn", "linear"]
BOTH = "both"
_DRAWS = 2000
LEAST = 4  # networks that a correlation is said of
_Z = 1.96  # of 95 %
_SAME_MS = 1.05  # times a network's milliseconds are the same


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A value and what it may be."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """``0.61 (0.12 to 0.88)``; a dash where networks that are all alike leave nothing to say."""
        if math.isnan(self.value):
            return "-"
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"

    def percent(self) -> str:
        """``61.0 % (58.1 to 63.8)``."""
        return f"{100 * self.value:.1f} % ({100 * self.low:.1f} to {100 * self.high:.1f})"


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How accuracy on one set goes with that on the source, over the networks of a family.

    ``real`` is the share of the variance of accuracies that is more than the chance of so few test images: where it is
    small no correlation can be large.
    """

    family: str
    set: str
    networks: int
    real: float
    spearman: Interval
    kendall: Interval
    pearson: Interval


@dataclass(frozen=True, kw_only=True)
class Winner:
    """The best variant of a set.

    Args:
        set: the labelled set.
        variant: the best one; of equal ones the faster.
        accuracy: its.
        ms: predicted for it.
        level: other variants whose accuracy is within what the test images tell apart.
        place_of_source: where the variant that is best on the source stands here, from 1.
        searched: the best searched network that is no slower, if there is one.
        gain: how much better that is, a share.
    """

    set: str
    variant: str
    accuracy: Interval
    ms: float
    level: int
    place_of_source: int | None
    searched: str | None
    gain: Interval | None


@dataclass(frozen=True, kw_only=True)
class Size:
    """Over a family and all sets, mean of rank correlations with accuracy.

    Args:
        family: of the networks.
        networks: how many.
        params: of the number of parameters.
        ms: of the predicted milliseconds.
        early_at_params: of the share of parameters in the first two stages, the number of all held equal.
        early_at_ms: the same, milliseconds held equal.
    """

    family: str
    networks: int
    params: Interval
    ms: Interval
    early_at_params: Interval
    early_at_ms: Interval


class Study:
    """A table's answers.

    Args:
        rows: of ``search.study.plan``; those without an answer are left out, and networks that lack one with them.
        metric: by what networks are judged.
    """

    def __init__(self, rows: Sequence[Row], metric: Metric = "linear") -> None:
        answered = [row for row in rows if not row.reason]
        self.metric: Metric = metric
        self.sets = sorted({row.set for row in answered if not row.source})
        self.source = next((row.set for row in answered if row.source), None)
        self._rows = {(row.variant, row.set): row for row in answered}
        names = dict.fromkeys(row.variant for row in answered)
        wanted = [*self.sets, *([self.source] if self.source else [])]
        whole = [name for name in names if all((name, one) in self._rows for one in wanted)]
        self.variants = [name for name in whole if self._any(name).family != SEARCHED]
        self.searched = [name for name in whole if self._any(name).family == SEARCHED]
        self.left_out = [name for name in names if name not in whole]

    @property
    def families(self) -> dict[str, list[str]]:
        """Variants of each family, and of both."""
        found: dict[str, list[str]] = {}
        for name in self.variants:
            found.setdefault(self._any(name).family, []).append(name)
        return {**found, **({BOTH: self.variants} if len(found) > 1 else {})}

    def row(self, name: str, one: str) -> Row:
        """A network's answer on a set."""
        return self._rows[name, one]

    def accuracies(self, names: Sequence[str], one: str) -> Array:
        """Of networks on a set, [N]."""
        return np.array([getattr(self._rows[name, one], self.metric) for name in names], dtype=np.float64)

    def reference(self, names: Sequence[str], but: str) -> Array:
        """What a set is compared with, [N]: accuracy on the source; without one, the mean over the other sets."""
        others = [self.source] if self.source else [one for one in self.sets if one != but]
        return np.asarray(np.mean([self.accuracies(names, one) for one in others], axis=0))

    def agreements(self) -> list[Agreement]:
        """Of every family with four networks at least, on every set."""
        found = []
        for family, names in self.families.items():
            if len(names) < LEAST or len(self.sets) + bool(self.source) < 2:
                continue
            for one in self.sets:
                x_N, y_N = self.reference(names, one), self.accuracies(names, one)
                spearman, kendall, pearson = (
                    _interval(len(names), lambda rows, f=f, x=x_N, y=y_N: f(x[rows], y[rows]))  # type: ignore[misc]
                    for f in (_spearman, _kendall, _pearson)
                )
                found.append(
                    Agreement(
                        family=family,
                        set=one,
                        networks=len(names),
                        real=_real(y_N, self._rows[names[0], one].test or 1),
                        spearman=spearman,
                        kendall=kendall,
                        pearson=pearson,
                    )
                )
        return found

    def mean_agreement(self, family: str) -> Interval:
        """Spearman's correlation with the source, mean over all sets."""
        names = self.families[family]
        pairs = [(self.reference(names, one), self.accuracies(names, one)) for one in self.sets]
        return _interval(len(names), lambda rows: np.mean([_spearman(x[rows], y[rows]) for x, y in pairs], axis=0))

    def winners(self) -> list[Winner]:
        """Of every set."""
        return [self._winner(one) for one in self.sets] if self.variants else []

    def sizes(self) -> list[Size]:
        """Of every family with four networks at least."""
        return [self._size(family, names) for family, names in self.families.items() if len(names) >= LEAST]

    def _any(self, name: str) -> Row:
        return next(row for (variant, _), row in self._rows.items() if variant == name)

    def _winner(self, one: str) -> Winner:
        rows = sorted((self._rows[name, one] for name in self.variants), key=lambda r: (-self._accuracy(r), r.ms))
        best, accuracy = rows[0], self._accuracy(rows[0])
        test = best.test or 1
        place = None
        if self.source:
            top = max(self.variants, key=lambda name: self._accuracy(self._rows[name, self.source]))  # type: ignore[index]
            place = 1 + sum(self._accuracy(row) > self._accuracy(self._rows[top, one]) for row in rows)
        found = [self._rows[name, one] for name in self.searched]
        as_fast = [row for row in found if (row.ms or math.inf) <= _SAME_MS * (best.ms or 0)]
        rival = max(as_fast, key=self._accuracy, default=None)
        return Winner(
            set=one,
            variant=best.variant,
            accuracy=_wilson(accuracy, test),
            ms=best.ms or math.nan,
            level=sum(_difference(accuracy, self._accuracy(row), test).low <= 0 for row in rows[1:]),
            place_of_source=place,
            searched=None if rival is None else rival.variant,
            gain=None if rival is None else _difference(self._accuracy(rival), accuracy, test),
        )

    def _accuracy(self, row: Row) -> float:
        return float(getattr(row, self.metric))

    def _size(self, family: str, names: list[str]) -> Size:
        rows = [self._any(name) for name in names]
        params_N, ms_N = (np.array([getattr(row, what) for row in rows], dtype=np.float64) for what in ("params", "ms"))
        early_N = np.array([row.early_params for row in rows]) / params_N
        ys = [self.accuracies(names, one) for one in self.sets]

        def mean(of: Callable[[Array, Array], Array]) -> Interval:
            return _interval(len(names), lambda rows: np.mean([of(rows, y_N[rows]) for y_N in ys], axis=0))

        return Size(
            family=family,
            networks=len(names),
            params=mean(lambda rows, y: _spearman(params_N[rows], y)),
            ms=mean(lambda rows, y: _spearman(ms_N[rows], y)),
            early_at_params=mean(lambda rows, y: _partial(early_N[rows], y, params_N[rows])),
            early_at_ms=mean(lambda rows, y: _partial(early_N[rows], y, ms_N[rows])),
        )


def _interval(count: int, statistic: Callable[[Array], Array]) -> Interval:
    """Of a statistic of networks by their numbers [B, N] -> [B]; draws without an answer (all alike) are left out."""
    draws_BN = np.random.default_rng(0).integers(count, size=(_DRAWS, count))
    with np.errstate(invalid="ignore", divide="ignore"):
        (value,), drawn_B = statistic(np.arange(count)[None]), statistic(draws_BN)
    drawn_B = drawn_B[np.isfinite(drawn_B)]
    low, high = np.percentile(drawn_B, [2.5, 97.5]) if len(drawn_B) else (math.nan, math.nan)
    return Interval(value=float(value), low=float(low), high=float(high))


def _pearson(x_BN: Array, y_BN: Array) -> Array:
    x_BN, y_BN = (v - v.mean(1, keepdims=True) for v in (x_BN, y_BN))
    return np.asarray((x_BN * y_BN).sum(1) / np.sqrt((x_BN**2).sum(1) * (y_BN**2).sum(1)))


def _spearman(x_BN: Array, y_BN: Array) -> Array:
    return _pearson(rankdata(x_BN, axis=1), rankdata(y_BN, axis=1))


def _kendall(x_BN: Array, y_BN: Array) -> Array:
    """Tau-b."""
    x, y = (np.sign(v[:, :, None] - v[:, None, :]) for v in (x_BN, y_BN))
    return np.asarray((x * y).sum((1, 2)) / np.sqrt((x**2).sum((1, 2)) * (y**2).sum((1, 2))))


def _partial(x_BN: Array, y_BN: Array, z_BN: Array) -> Array:
    """Spearman's correlation of x and y, z held equal."""
    xy, xz, yz = _spearman(x_BN, y_BN), _spearman(x_BN, z_BN), _spearman(y_BN, z_BN)
    return np.asarray((xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2)))


def _real(y_N: Array, test: int) -> float:
    """1 less what ``test`` images vary an accuracy by, in parts of how accuracies vary."""
    variance = float(y_N.var(ddof=1))
    return max(0.0, 1 - float((y_N * (1 - y_N) / test).mean()) / variance) if variance else 0.0


def _wilson(share: float, count: int) -> Interval:
    center = (share + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    half = _Z / (1 + _Z**2 / count) * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    return Interval(value=share, low=center - half, high=center + half)


def _difference(a: float, b: float, count: int) -> Interval:
    """Of two shares of ``count`` test images each; that they are the same images makes it wider than it need be."""
    half = _Z * math.sqrt((a * (1 - a) + b * (1 - b)) / count)
    return Interval(value=a - b, low=a - b - half, high=a - b + half)
