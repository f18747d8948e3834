"""Plan: which fraction of its schedule a run has behind it at each step, also where its length is learned on the way.

A run of a given number of steps goes through its schedule evenly. A run of a given time learns how many steps fit from
those it has taken; each correction spreads what is left of the schedule over the steps that are left, without a jump,
so that learning rate, teacher and crops end as they should when the time ends. The plan is kept in the checkpoint, and
a resumed run follows it to the bit.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from search.recipes import Stage

# More steps than any run takes, where it is not known yet how many fit.
ENDLESS = 10**9
_SHARE = 0.05  # of the steps in all, between two corrections
_WARM_UP = 10  # times what the first step took must be left if it is not to count
_RESERVE = 0.01  # of the time, for the last checkpoint and the supernet's files


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A line through knots (step, progress), rising from (0, 0) to (steps, 1)."""

    knots: tuple[tuple[int, float], ...]

    @property
    def steps(self) -> int:
        """Optimizer steps in all."""
        return self.knots[-1][0]

    def progress(self, step: int) -> float:
        """Fraction of the schedule, 0..1, behind a run that has taken ``step`` steps."""
        for (before, low), (after, high) in itertools.pairwise(self.knots):
            if step < after:
                return low + (step - before) / (after - before) * (high - low)
        return 1.0

    def corrected(self, step: int, steps: int) -> Plan:
        """The same up to ``step``; from there what is left is spread over the steps up to ``steps``, at least one."""
        kept = tuple(knot for knot in self.knots if knot[0] < step)
        return Plan(knots=(*kept, (step, self.progress(step)), (max(steps, step + 1), 1.0)))


def even(steps: int) -> Plan:
    """The plan of a run of ``steps`` steps."""
    return Plan(knots=((0, 0.0), (steps, 1.0)))


class Pace:
    """Corrects a plan so that it ends with a given time.

    The steps since the last correction tell what a step takes at their crop size; one at another size is taken to cost
    in proportion to the crop's pixels until it has been seen. The very first step warms up. Then corrections come after
    1, 2, 4, 8, ... steps, later with each twentieth of the run, and when the crops have changed.

    Args:
        stages: crop sizes over the schedule.
        max_s: the time, of the whole run.
        step: where the run is.
        seconds: that it has taken.
    """

    def __init__(self, stages: tuple[Stage, ...], max_s: float, *, step: int, seconds: float) -> None:
        self._stages, self._max_s = stages, max_s * (1 - _RESERVE)
        self._step, self._seconds, self._interval = step, seconds, 1
        self._cost_s: dict[int, float] = {}  # by crop_px

    def after(self, step: int, crop_px: int, next_px: int, seconds: float, plan: Plan) -> Plan:
        """The plan to follow from here on.

        Args:
            step: steps taken.
            crop_px: of the last one.
            next_px: of the next one.
            seconds: taken so far.
            plan: that was followed.
        """
        taken = step - self._step
        if step >= plan.steps or (taken < self._interval and next_px == crop_px):
            return plan
        self._cost_s[crop_px] = (seconds - self._seconds) / taken
        self._step, self._seconds = step, seconds
        left_s, progress = self._max_s - seconds, plan.progress(step)
        if plan.steps == ENDLESS and taken == step == 1 and left_s > _WARM_UP * seconds:
            return plan
        stages = [(stage.until, self._cost_of(stage.crop_px, crop_px)) for stage in self._stages]
        steps = step + _steps_that_fit(left_s, progress, stages)
        self._interval = 1 if next_px != crop_px else min(2 * self._interval, max(1, math.ceil(_SHARE * steps)))
        return plan.corrected(step, steps)

    def _cost_of(self, crop_px: int, seen_px: int) -> float:
        return self._cost_s.get(crop_px, self._cost_s[seen_px] * (crop_px / seen_px) ** 2)


def _steps_that_fit(left_s: float, progress: float, stages: list[tuple[float, float]]) -> int:
    """Steps that complete the schedule in the time left.

    Args:
        left_s: for them, in seconds.
        progress: fraction of the schedule that is done.
        stages: each with the fraction at which it ends and the seconds that one of its steps takes.
    """
    starts = [0.0, *(until for until, _ in stages[:-1])]
    shares = [max(0.0, until - max(start, progress)) for start, (until, _) in zip(starts, stages, strict=True)]
    seconds = sum(share * cost_s for share, (_, cost_s) in zip(shares, stages, strict=True))
    return max(1, math.floor(left_s * sum(shares) / max(seconds, 1e-9)))
