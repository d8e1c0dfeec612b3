"""From raw samples to a figure: each statistic is derived, nothing derived is stored.

A sample is one burst of runs of one operator, with the anchor model timed right beside it. The figure is
the median over rounds of (low quantile of the burst / anchor), times the anchor's reference time: what
slows the whole machine slows the anchor too, and cancels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LOW_QUANTILE = 0.2
LEAST_ROUNDS = 3
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """One burst of one operator in one round.

    Attributes:
        round: which interleaved round it was taken in.
        seconds: `(runs,)` seconds of each run.
        anchor: seconds of the anchor model beside this burst; 1 where there was none (imported figures).
        taken_at: seconds since the epoch.
        generation: 0 for the first measurement; one more each time the operator is measured anew.
        waited: seconds in this burst that the process waited for a core, already taken off `seconds`; None
            where nobody can say.
        throttled: whether the device said that it ran slower than it could.
    """

    round: int
    seconds: Array
    anchor: float
    taken_at: float
    generation: int = 0
    waited: float | None = None
    throttled: bool = False


@dataclass(frozen=True)
class Estimate:
    """A latency and how sure it is.

    Attributes:
        seconds: the drift-corrected figure.
        low: lower end of its 95 % interval.
        high: upper end.
        rounds: number of rounds behind it.
        kind: 'measured', 'in context', 'imported', 'sum of imported parts', or for a program that computes
            nothing 'empty'.
        throttled: whether it had to be taken from samples during which the device was slowed down.
    """

    seconds: float
    low: float
    high: float
    rounds: int
    kind: str = "measured"
    throttled: bool = False

    @property
    def relative_width(self) -> float:
        """Half the interval's width over the figure."""
        return (self.high - self.low) / 2 / self.seconds if self.seconds > 0 else 0.0


EMPTY = Estimate(0.0, 0.0, 0.0, 0, "empty")


def newest(samples: Sequence[Sample]) -> list[Sample]:
    """The samples of the last generation: what was measured anew replaces what was there before."""
    last = max((sample.generation for sample in samples), default=0)
    return [sample for sample in samples if sample.generation == last]


def low_quantile(seconds: npt.ArrayLike) -> float:
    """The 20th percentile: robust against interruptions, which only ever add time."""
    return float(np.quantile(np.asarray(seconds, dtype=float), LOW_QUANTILE))


def reference_anchor(anchors: npt.ArrayLike) -> float:
    """The anchor's time on the undisturbed machine, from all its timings in a setup."""
    return low_quantile(anchors)


def estimate(samples: Sequence[Sample], reference: float, kind: str = "measured") -> Estimate:
    """The figure of one operator.

    Args:
        samples: its bursts, one per round, at least one.
        reference: the anchor's reference time in seconds.
        kind: where the samples come from.

    Returns:
        the figure with a 95 % interval from the spread of the rounds' ratios: the median's standard error
        is 1.2533 times the mean's, with the spread taken from the median absolute deviation. Samples of a
        device that was slowed down count only where there are too few others, and then the figure says so.
    """
    free = [sample for sample in samples if not sample.throttled]
    throttled = len(free) < min(LEAST_ROUNDS, len(samples))
    used = samples if throttled else free
    ratios = np.array([low_quantile(sample.seconds) / sample.anchor for sample in used])
    centre = float(np.median(ratios))
    if len(ratios) < LEAST_ROUNDS:
        return Estimate(centre * reference, 0.0, float("inf"), len(ratios), kind, throttled)
    spread = 1.4826 * float(np.median(np.abs(ratios - centre)))
    half = 1.96 * 1.2533 * spread / float(np.sqrt(len(ratios)))
    return Estimate(
        centre * reference,
        max(0.0, centre - half) * reference,
        (centre + half) * reference,
        len(ratios),
        kind,
        throttled,
    )
