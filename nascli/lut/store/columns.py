"""Many samples as columns. Packs, imports, and exports of hundreds of thousands of bursts use them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nascli.errors import StoreError
from nascli.lut.statistics import Sample

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
# Times of samples lie below this (seconds since the epoch, in the year 5138).
_MAX_TIME = 1e11


@dataclass(frozen=True)
class SampleColumns:
    """The samples of one setup, sorted by operator and round.

    Attributes:
        operators: The distinct operator keys, sorted.
        owner: `(n,)` operator of each sample, as an index into `operators`.
        round: `(n,)` rounds, as in `Sample`.
        anchor: `(n,)` seconds of the anchor, as in `Sample`.
        taken_at: `(n,)` seconds since the epoch, as in `Sample`.
        generation: `(n,)` generations, as in `Sample`.
        waited: `(n,)` seconds, as in `Sample`; NaN if unknown.
        throttled: `(n,)` whether the device was slowed down, as in `Sample`.
        lengths: `(n,)` number of runs of each burst.
        seconds: `(lengths.sum(),)` seconds of all runs, one burst after the other.
    """

    operators: list[str]
    owner: Ints
    round: Ints
    anchor: Floats
    taken_at: Floats
    generation: Ints
    waited: Floats
    throttled: npt.NDArray[np.bool_]
    lengths: Ints
    seconds: Floats

    def __len__(self) -> int:
        return len(self.owner)

    @staticmethod
    def of(samples: Mapping[str, Sequence[Sample]]) -> SampleColumns:
        """Convert samples by operator key to columns."""
        keys = sorted(key for key, bursts in samples.items() if bursts)
        rows = [sample for key in keys for sample in sorted(samples[key], key=lambda s: s.round)]
        count = len(rows)
        unknown = float("nan")
        bursts = [np.asarray(s.seconds, dtype=float) for s in rows]
        return SampleColumns(
            operators=keys,
            owner=np.repeat(np.arange(len(keys)), [len(samples[key]) for key in keys]),
            round=np.fromiter((s.round for s in rows), np.int64, count),
            anchor=np.fromiter((s.anchor for s in rows), np.float64, count),
            taken_at=np.fromiter((s.taken_at for s in rows), np.float64, count),
            generation=np.fromiter((s.generation for s in rows), np.int64, count),
            waited=np.fromiter((unknown if s.waited is None else s.waited for s in rows), np.float64, count),
            throttled=np.fromiter((s.throttled for s in rows), np.bool_, count),
            lengths=np.fromiter((len(burst) for burst in bursts), np.int64, count),
            seconds=np.concatenate(bursts) if rows else np.empty(0),
        )

    @cached_property
    def ends(self) -> Ints:
        """`(n + 1,)` positions in `seconds` at which each burst begins, and at which the last one ends."""
        return np.concatenate([[0], np.cumsum(self.lengths)])

    def samples(self) -> dict[str, list[Sample]]:
        """Convert the columns to samples by operator key."""
        samples: dict[str, list[Sample]] = {key: [] for key in self.operators}
        ends, waited = self.ends.tolist(), self.waited.tolist()
        rows = zip(
            self.owner.tolist(), self.round.tolist(), self.anchor.tolist(), self.taken_at.tolist(),
            self.generation.tolist(), self.throttled.tolist(), strict=True,
        )  # fmt: skip
        for index, (owner, number, anchor, taken_at, generation, throttled) in enumerate(rows):
            wait = waited[index]
            samples[self.operators[owner]].append(
                Sample(
                    round=number,
                    seconds=self.seconds[ends[index] : ends[index + 1]],
                    anchor=anchor,
                    taken_at=taken_at,
                    generation=generation,
                    # NaN becomes None.
                    waited=None if wait != wait else wait,
                    throttled=throttled,
                )
            )
        return samples

    def check(self) -> None:
        """Refuse samples that cannot have been measured.

        Raises:
            StoreError: A round is negative, a time of a sample is impossible, a burst has no runs, or latencies are
                not finite and positive.
        """
        possible_times = np.isfinite(self.taken_at) & (np.abs(self.taken_at) < _MAX_TIME) & (self.round >= 0)
        if not np.all(possible_times):
            index = int(np.argmin(possible_times))
            raise StoreError(
                f"a sample of operator {self.operators[self.owner[index]]} has the round {self.round[index]} and was "
                f"taken at {self.taken_at[index]} s since 1970, which cannot be.",
                "Leave that measurement out, or measure it anew.",
            )
        possible_runs = np.isfinite(self.seconds) & (self.seconds > 0)
        possible_bursts = (self.lengths > 0) & (self.anchor > 0) & np.isfinite(self.anchor)
        if not (np.all(possible_runs) and np.all(possible_bursts)):
            impossible = ~possible_bursts
            impossible[np.searchsorted(self.ends, np.flatnonzero(~possible_runs), side="right") - 1] = True
            index = int(np.argmax(impossible))
            burst = self.seconds[self.ends[index] : self.ends[index + 1]]
            raise StoreError(
                f"latencies must be finite and positive, got {burst}, anchor {self.anchor[index]}, of operator "
                f"{self.operators[self.owner[index]]}.",
                "Leave that measurement out, or measure it anew.",
            )

    def sorted(self) -> SampleColumns:
        """Return the same samples, sorted by operator and round."""
        order = np.lexsort((self.round, self.owner))
        if np.array_equal(order, np.arange(len(order))):
            return self
        runs = np.concatenate([np.arange(self.ends[i], self.ends[i + 1]) for i in order]).astype(np.int64)
        return SampleColumns(
            operators=self.operators,
            owner=self.owner[order],
            round=self.round[order],
            anchor=self.anchor[order],
            taken_at=self.taken_at[order],
            generation=self.generation[order],
            waited=self.waited[order],
            throttled=self.throttled[order],
            lengths=self.lengths[order],
            seconds=self.seconds[runs],
        )
