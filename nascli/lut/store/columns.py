"""Many samples as columns: what packs, imports and exports of hundreds of thousands of bursts work with."""

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
# Seconds since 1970: some time in the year 5138.
_LATEST = 1e11


@dataclass(frozen=True)
class SampleColumns:
    """The samples of one setup, sorted by operator and round.

    Attributes:
        operators: the distinct keys, sorted.
        owner: `(n,)` each sample's operator, as an index into `operators`.
        round: `(n,)` as in `Sample`, like the others that follow.
        anchor: `(n,)` seconds.
        taken_at: `(n,)` seconds since the epoch.
        generation: `(n,)`.
        waited: `(n,)` seconds; NaN where nobody can say.
        throttled: `(n,)`.
        lengths: `(n,)` runs of each burst.
        seconds: `(lengths.sum(),)` all runs, one burst after the other.
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
        """Samples by operator as columns."""
        keys = sorted(key for key, some in samples.items() if some)
        rows = [sample for key in keys for sample in sorted(samples[key], key=lambda s: s.round)]
        count = len(rows)
        unknown = float("nan")
        return SampleColumns(
            keys,
            np.repeat(np.arange(len(keys)), [len(samples[key]) for key in keys]),
            np.fromiter((s.round for s in rows), np.int64, count),
            np.fromiter((s.anchor for s in rows), np.float64, count),
            np.fromiter((s.taken_at for s in rows), np.float64, count),
            np.fromiter((s.generation for s in rows), np.int64, count),
            np.fromiter((unknown if s.waited is None else s.waited for s in rows), np.float64, count),
            np.fromiter((s.throttled for s in rows), np.bool_, count),
            np.fromiter((len(s.seconds) for s in rows), np.int64, count),
            np.concatenate([np.asarray(s.seconds, dtype=float) for s in rows]) if rows else np.empty(0),
        )

    @cached_property
    def ends(self) -> Ints:
        """`(n + 1,)` where each burst begins in `seconds`, and where the last one ends."""
        return np.concatenate([[0], np.cumsum(self.lengths)])

    def samples(self) -> dict[str, list[Sample]]:
        """As objects, by operator."""
        found: dict[str, list[Sample]] = {key: [] for key in self.operators}
        ends, waited = self.ends.tolist(), self.waited.tolist()
        rows = zip(
            self.owner.tolist(), self.round.tolist(), self.anchor.tolist(), self.taken_at.tolist(),
            self.generation.tolist(), self.throttled.tolist(), strict=True,
        )  # fmt: skip
        for place, (owner, number, anchor, taken_at, generation, throttled) in enumerate(rows):
            wait = waited[place]
            found[self.operators[owner]].append(
                Sample(
                    number,
                    self.seconds[ends[place] : ends[place + 1]],
                    anchor,
                    taken_at,
                    generation,
                    None if wait != wait else wait,
                    throttled,
                )
            )
        return found

    def check(self) -> None:
        """Refuse impossible times.

        Raises:
            StoreError: a burst without runs, or seconds that are not finite and positive.
        """
        good = np.isfinite(self.seconds) & (self.seconds > 0)
        fine = (self.lengths > 0) & (self.anchor > 0) & np.isfinite(self.anchor)
        sane = np.isfinite(self.taken_at) & (np.abs(self.taken_at) < _LATEST) & (self.round >= 0)
        if not np.all(sane):
            place = int(np.argmin(sane))
            raise StoreError(
                f"a sample of operator {self.operators[self.owner[place]]} has the round {self.round[place]} and was "
                f"taken at {self.taken_at[place]} s since 1970, which cannot be.",
                "Leave that measurement out, or measure it anew.",
            )
        if not (np.all(good) and np.all(fine)):
            bad = ~fine
            bad[np.searchsorted(self.ends, np.flatnonzero(~good), side="right") - 1] = True
            place = int(np.argmax(bad))
            burst = self.seconds[self.ends[place] : self.ends[place + 1]]
            raise StoreError(
                f"latencies must be finite and positive, got {burst}, anchor {self.anchor[place]}, of operator "
                f"{self.operators[self.owner[place]]}.",
                "Leave that measurement out, or measure it anew.",
            )

    def sorted(self) -> SampleColumns:
        """The same samples in order, should they not be."""
        order = np.lexsort((self.round, self.owner))
        if np.array_equal(order, np.arange(len(order))):
            return self
        runs = np.concatenate([np.arange(self.ends[i], self.ends[i + 1]) for i in order]).astype(np.int64)
        return SampleColumns(
            self.operators,
            self.owner[order],
            self.round[order],
            self.anchor[order],
            self.taken_at[order],
            self.generation[order],
            self.waited[order],
            self.throttled[order],
            self.lengths[order],
            self.seconds[runs],
        )
