"""From raw samples to measurements. Only samples are stored; every statistic is derived when it is needed.

A sample is one burst of runs of one operator, with the anchor model timed right before and after it. The
measurement is the median over rounds of (low quantile of the burst / anchor), times the anchor's reference time.
What slows the whole machine slows the anchor too, and cancels in the ratio.
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
        round: Number of the interleaved round.
        seconds: `(runs,)` seconds of each run.
        anchor: Seconds of the anchor model beside this burst; 1 if there was none (imported figures).
        taken_at: Time at which the burst ended (seconds since the epoch).
        generation: 0 for the first measurement; 1 more each time the operator is measured anew.
        waited: Seconds in this burst during which the process waited for a core, already subtracted from `seconds`;
            None if unknown.
        throttled: Whether the device reported that it ran slower than it could.
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
    """A latency with its uncertainty.

    Attributes:
        seconds: The drift-corrected latency.
        low: Lower end of its 95 % interval in seconds.
        high: Upper end of its 95 % interval in seconds; infinite if there are too few rounds to tell.
        rounds: Number of rounds that it rests on.
        kind: 'measured', 'in context', 'imported', 'sum of imported parts', or 'empty' for a program that computes
            nothing.
        throttled: Whether it had to be derived from samples during which the device was slowed down.
    """

    seconds: float
    low: float
    high: float
    rounds: int
    kind: str = "measured"
    throttled: bool = False

    @property
    def relative_width(self) -> float:
        """Half the interval's width, divided by the latency."""
        return (self.high - self.low) / 2 / self.seconds if self.seconds > 0 else 0.0


NOTHING = Measurement(0.0, 0.0, 0.0, 0, "empty")


def newest(samples: Sequence[Sample]) -> list[Sample]:
    """Return the samples of the last generation, which replaces the generations before it."""
    last = max((sample.generation for sample in samples), default=0)
    return [sample for sample in samples if sample.generation == last]


def burst_time(seconds: npt.ArrayLike) -> float:
    """Return the 20th percentile of a burst in seconds. Interruptions only ever add time, so it is robust to them."""
    return float(np.quantile(np.asarray(seconds, dtype=float), LOW_QUANTILE))


def reference_anchor(anchors: npt.ArrayLike) -> float:
    """Return the anchor's time on the undisturbed machine in seconds, from all its timings in a setup."""
    return burst_time(anchors)


def estimate(samples: Sequence[Sample], reference: float, kind: str = "measured") -> Measurement:
    """Derive the measurement of one operator.

    Args:
        samples: Its bursts, one per round, at least one.
        reference: The anchor's reference time in seconds.
        kind: The kind of the measurement.

    Returns:
        The measurement with a 95 % interval. The interval comes from the spread of the rounds' ratios: the standard
        error of the median is 1.2533 times that of the mean, and the spread is estimated by the median absolute
        deviation. Samples of a device that was slowed down count only if there are too few others; the measurement
        is then marked as throttled.
    """
    ratios = np.array([burst_time(sample.seconds) / sample.anchor for sample in samples])
    throttled = np.array([sample.throttled for sample in samples])
    used, marked = _usable_ratios(ratios, throttled)
    centre, half = _centre_and_half(used[None])
    return _measurement(float(centre[0]), float(half[0]), len(used), reference, kind, marked)


def _usable_ratios(ratios: Array, throttled: npt.NDArray[np.bool_]) -> tuple[Array, bool]:
    """Return the ratios that count, and whether they include those of a device that was slowed down."""
    at_full_speed = ratios[~throttled]
    marked = len(at_full_speed) < min(MIN_ROUNDS, len(ratios))
    return (ratios if marked else at_full_speed), marked


def _centre_and_half(ratios: Array) -> tuple[Array, Array]:
    """Return the `(n,)` medians of `(n, rounds)` ratios, and half the width of their intervals."""
    centre = np.median(ratios, axis=1)
    spread = 1.4826 * np.median(np.abs(ratios - centre[:, None]), axis=1)
    return centre, 1.96 * 1.2533 * spread / float(np.sqrt(ratios.shape[1]))


def _measurement(
    centre: float, half: float, rounds: int, reference: float, kind: str, throttled: bool
) -> Measurement:
    if rounds < MIN_ROUNDS:
        return Measurement(centre * reference, 0.0, float("inf"), rounds, kind, throttled)
    low, high = max(0.0, centre - half) * reference, (centre + half) * reference
    return Measurement(centre * reference, low, high, rounds, kind, throttled)


@dataclass(frozen=True)
class Bursts:
    """What a table is derived from, as columns: one entry for each sample.

    Attributes:
        keys: `(n,)` operator keys.
        low: `(n,)` low quantiles of the bursts in seconds.
        anchor: `(n,)` seconds of the anchor beside each burst.
        generation: `(n,)` generations, as in `Sample`.
        throttled: `(n,)` whether the device was slowed down, as in `Sample`.
    """

    keys: npt.NDArray[np.str_]
    low: Array
    anchor: Array
    generation: npt.NDArray[np.int64]
    throttled: npt.NDArray[np.bool_]


def burst_times(bursts: Sequence[bytes]) -> Array:
    """Return the `(n,)` low quantiles of bursts that are given as little-endian doubles, as the store keeps them."""
    lengths = np.fromiter((len(burst) // 8 for burst in bursts), dtype=np.int64, count=len(bursts))
    values = np.frombuffer(b"".join(bursts), dtype="<f8")
    ends = np.cumsum(lengths)
    quantiles = np.empty(len(bursts))
    for length in np.unique(lengths):
        # Bursts with as many runs are one array.
        rows = np.flatnonzero(lengths == length)
        quantiles[rows] = np.quantile(
            values[(ends[rows] - length)[:, None] + np.arange(length)], LOW_QUANTILE, axis=1
        )
    return quantiles


def estimates(bursts: Bursts, reference: float, kind: str, min_rounds: int) -> dict[str, Measurement]:
    """Derive the measurements of many operators, each as `estimate` does.

    Args:
        bursts: The samples of all operators and generations.
        reference: The anchor's reference time in seconds.
        kind: The kind of the measurements.
        min_rounds: Operators with fewer samples in their newest generation are left out.

    Returns:
        The measurements by operator key.
    """
    keys, owner = np.unique(bursts.keys, return_inverse=True)
    newest_of = np.zeros(len(keys), dtype=np.int64)
    np.maximum.at(newest_of, owner, bursts.generation)
    current = np.flatnonzero(bursts.generation == newest_of[owner])
    current = current[np.argsort(owner[current], kind="stable")]
    ratios, throttled = (bursts.low / bursts.anchor)[current], bursts.throttled[current]
    counts = np.bincount(owner[current], minlength=len(keys))
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    measurements: dict[str, Measurement] = {}
    never_throttled = ~np.bincount(owner[current], weights=throttled, minlength=len(keys)).astype(bool)
    for count in np.unique(counts[never_throttled & (counts >= min_rounds)]):
        # Operators with as many rounds are one array.
        rows = np.flatnonzero(never_throttled & (counts == count))
        centre, half = _centre_and_half(ratios[starts[rows][:, None] + np.arange(count)])
        for row, c, h in zip(rows.tolist(), centre.tolist(), half.tolist(), strict=True):
            measurements[str(keys[row])] = _measurement(c, h, int(count), reference, kind, False)
    for row in np.flatnonzero(~never_throttled & (counts >= min_rounds)).tolist():
        part = slice(starts[row], starts[row] + counts[row])
        used, marked = _usable_ratios(ratios[part], throttled[part])
        centre, half = _centre_and_half(used[None])
        measurements[str(keys[row])] = _measurement(
            float(centre[0]), float(half[0]), len(used), reference, kind, marked
        )
    return measurements
