"""The measurement protocol: interleaved rounds against an anchor model, until each operator has settled.

In each round every operator that has not settled is timed once, in random order, as a short burst of runs. A fixed
anchor model is timed between any two bursts. A sample contains the mean of the anchor's times right before and right
after its burst, so that slow drifts of the whole machine cancel in the ratio.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from nascli.errors import NascliError
from nascli.lut.statistics import Measurement
from nascli.spaces.programs import Program


@dataclass(frozen=True)
class MeasurementProtocol:
    """How long and how often to measure.

    Attributes:
        target: Relative half width of the 95 % interval at which an operator has settled, between 0 and 1.
        min_rounds: Minimum number of rounds before an operator can settle, at least 3.
        max_rounds: Number of rounds after which an operator that has not settled is left as unstable.
        burst_seconds: Duration of a burst that is aimed at.
        min_runs: Minimum number of runs in a burst.
        long_seconds: A model that takes longer than this is run twice in a burst, since one run of it averages over
            as much time as a burst of a short model.
        max_runs: Maximum number of runs in a burst.
        warmup_runs: Runs before a burst that do not count; they bring the weights into the cache.
        memory_bytes: Approximate maximum of the memory that models loaded at the same time take.

    Raises:
        NascliError: A value lies outside its range.
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

    def runs(self, seconds: float, copies: int = 1) -> int:
        """Return the number of runs in a burst of a model.

        Args:
            seconds: How long the model takes.
            copies: How many copies of the operator it contains; each run is as good as one of every copy.
        """
        if seconds > self.long_seconds:
            return 2
        runs = int(np.clip(np.ceil(self.burst_seconds * copies / seconds), self.min_runs, self.max_runs))
        return max(2, -(-runs // copies))

    def settled(self, figure: Measurement) -> bool:
        """Return whether a measurement is precise enough and the device was not slowed down."""
        return (
            figure.rounds >= self.min_rounds and figure.relative_width <= self.target and not figure.throttled
        )


@dataclass(frozen=True)
class GivenModel:
    """A model that is timed as it is, instead of one that is written from its program.

    Attributes:
        data: The bytes of an ONNX model with static shapes.
        inputs: Values by the name of an input, where random ones would not do.
    """

    data: bytes
    inputs: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """A model to be timed.

    Attributes:
        key: The key of its program.
        label: Its name in messages.
        program: What it computes.
        memory: Approximate number of bytes that it takes while it is loaded.
        generation: The generation that its samples belong to; above 0 if it is measured anew.
        model: The model itself; None has it written from the program.
    """

    key: str
    label: str
    program: Program
    memory: float
    generation: int = 0
    model: GivenModel | None = None
