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
MIN_ROUNDS = 3
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
class Measurement:
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


NOTHING = Measurement(0.0, 0.0, 0.0, 0, "empty")


def newest(samples: Sequence[Sample]) -> list[Sample]:
    """The samples of the last generation: what was measured anew replaces what was there before."""
    last = max((sample.generation for sample in samples), default=0)
    return [sample for sample in samples if sample.generation == last]


def burst_time(seconds: npt.ArrayLike) -> float:
    """The 20th percentile: robust against interruptions, which only ever add time."""
    return float(np.quantile(np.asarray(seconds, dtype=float), LOW_QUANTILE))


def reference_anchor(anchors: npt.ArrayLike) -> float:
    """The anchor's time on the undisturbed machine, from all its timings in a setup."""
    return burst_time(anchors)


def estimate(samples: Sequence[Sample], reference: float, kind: str = "measured") -> Measurement:
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
    ratios = np.array([burst_time(sample.seconds) / sample.anchor for sample in samples])
    throttled = np.array([sample.throttled for sample in samples])
    used, marked = _counting(ratios, throttled)
    centre, half = _centre_and_half(used[None])
    return _estimate(float(centre[0]), float(half[0]), len(used), reference, kind, marked)


def _counting(ratios: Array, throttled: npt.NDArray[np.bool_]) -> tuple[Array, bool]:
    """The ratios that count, and whether they had to be taken from a device that was slowed down."""
    free = ratios[~throttled]
    marked = len(free) < min(MIN_ROUNDS, len(ratios))
    return (ratios if marked else free), marked


def _centre_and_half(ratios: Array) -> tuple[Array, Array]:
    """`(n,)` median and half interval of `(n, rounds)` ratios."""
    centre = np.median(ratios, axis=1)
    spread = 1.4826 * np.median(np.abs(ratios - centre[:, None]), axis=1)
    return centre, 1.96 * 1.2533 * spread / float(np.sqrt(ratios.shape[1]))


def _estimate(
    centre: float, half: float, rounds: int, reference: float, kind: str, throttled: bool
) -> Measurement:
    if rounds < MIN_ROUNDS:
        return Measurement(centre * reference, 0.0, float("inf"), rounds, kind, throttled)
    low, high = max(0.0, centre - half) * reference, (centre + half) * reference
    return Measurement(centre * reference, low, high, rounds, kind, throttled)


@dataclass(frozen=True)
class Bursts:
    """Many samples as columns, for tables of thousands of operators.

    Attributes:
        keys: `(n,)` the operator of each sample.
        low: `(n,)` low quantile of its burst.
        anchor: `(n,)` seconds of the anchor beside it.
        generation: `(n,)` as in `Sample`.
        throttled: `(n,)` as in `Sample`.
    """

    keys: npt.NDArray[np.str_]
    low: Array
    anchor: Array
    generation: npt.NDArray[np.int64]
    throttled: npt.NDArray[np.bool_]


def burst_times(bursts: Sequence[bytes]) -> Array:
    """`(n,)` low quantiles of bursts as the store keeps them, little-endian doubles."""
    lengths = np.fromiter((len(burst) // 8 for burst in bursts), dtype=np.int64, count=len(bursts))
    values = np.frombuffer(b"".join(bursts), dtype="<f8")
    ends = np.cumsum(lengths)
    found = np.empty(len(bursts))
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        found[rows] = np.quantile(
            values[(ends[rows] - length)[:, None] + np.arange(length)], LOW_QUANTILE, axis=1
        )
    return found


def estimates(bursts: Bursts, reference: float, kind: str, least: int) -> dict[str, Measurement]:
    """The figures of all operators that have at least so many samples in their newest generation."""
    keys, owner = np.unique(bursts.keys, return_inverse=True)
    newest_of = np.zeros(len(keys), dtype=np.int64)
    np.maximum.at(newest_of, owner, bursts.generation)
    counting = np.flatnonzero(bursts.generation == newest_of[owner])
    counting = counting[np.argsort(owner[counting], kind="stable")]
    ratios, throttled = (bursts.low / bursts.anchor)[counting], bursts.throttled[counting]
    counts = np.bincount(owner[counting], minlength=len(keys))
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    found: dict[str, Measurement] = {}
    clean = ~np.bincount(owner[counting], weights=throttled, minlength=len(keys)).astype(bool)
    for count in np.unique(counts[clean & (counts >= least)]):
        # Operators with as many rounds are one array.
        rows = np.flatnonzero(clean & (counts == count))
        centre, half = _centre_and_half(ratios[starts[rows][:, None] + np.arange(count)])
        for row, c, h in zip(rows.tolist(), centre.tolist(), half.tolist(), strict=True):
            found[str(keys[row])] = _estimate(c, h, int(count), reference, kind, False)
    for row in np.flatnonzero(~clean & (counts >= least)).tolist():
        part = slice(starts[row], starts[row] + counts[row])
        used, marked = _counting(ratios[part], throttled[part])
        centre, half = _centre_and_half(used[None])
        found[str(keys[row])] = _estimate(
            float(centre[0]), float(half[0]), len(used), reference, kind, marked
        )
    return found
