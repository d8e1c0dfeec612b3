"""The measurement protocol: interleaved rounds against an anchor model, until each figure has settled.

In each round every operator that has not settled is timed once, in random order, as a short burst; a
fixed anchor model is timed between any two bursts. An operator's sample carries the mean of the anchor
right before and right after it, so slow drifts of the whole machine cancel in the ratio.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nascli.errors import NascliError
from nascli.lut.statistics import Measurement
from nascli.spaces.programs import Program


@dataclass(frozen=True)
class MeasurementProtocol:
    """How long and how often to measure.

    Attributes:
        target: half the 95 % interval over the figure at which an operator has settled.
        min_rounds: rounds before settling is judged.
        max_rounds: rounds after which an operator that has not settled is left as unstable.
        burst_seconds: time aimed at in one burst.
        min_runs: runs in a burst at least.
        long_seconds: a model that takes longer is run twice in a burst: one run of it averages over as much
            as a burst of a short one.
        max_runs: runs in a burst at most.
        warmup_runs: runs before a burst that do not count; they bring the weights into the cache.
        memory_bytes: operators loaded at once take at most about this much.
    """

    target: float = 0.01
    min_rounds: int = 6
    max_rounds: int = 24
    burst_seconds: float = 0.004
    min_runs: int = 5
    long_seconds: float = 0.02
    max_runs: int = 60
    warmup_runs: int = 1
    memory_bytes: float = 3e9

    def __post_init__(self) -> None:
        if not 0 < self.target < 1:
            raise NascliError(f"0 < target < 1 must hold, got target={self.target}")
        if not 3 <= self.min_rounds <= self.max_rounds:
            raise NascliError(
                f"3 <= min_rounds <= max_rounds must hold, got {self.min_rounds} and {self.max_rounds}"
            )

    def runs(self, seconds: float) -> int:
        """Runs in a burst of a model that takes `seconds`."""
        if seconds > self.long_seconds:
            return 2
        return int(np.clip(np.ceil(self.burst_seconds / seconds), self.min_runs, self.max_runs))

    def settled(self, figure: Measurement) -> bool:
        """Whether the interval is narrow enough, and the device was not slowed down."""
        return (
            figure.rounds >= self.min_rounds and figure.relative_width <= self.target and not figure.throttled
        )


@dataclass(frozen=True)
class Subject:
    """Something to time.

    Attributes:
        key: its key in the table.
        label: for people.
        program: what it computes.
        memory: about how many bytes it takes while loaded.
        generation: that its samples belong to; above 0 where it is measured anew.
    """

    key: str
    label: str
    program: Program
    memory: float
    generation: int = 0
