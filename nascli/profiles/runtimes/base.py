"""What a runtime must do to be measured: load an ONNX model, and time runs of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Seconds = npt.NDArray[np.float64]


class Burst(NamedTuple):
    """Some runs, one after the other.

    Attributes:
        seconds: `(runs,)` seconds of each run, without the time that it waited for a core.
        waited: seconds spent waiting in all of them, already taken off; None where nobody can say.
    """

    seconds: Seconds
    waited: float | None = None


@dataclass(frozen=True)
class RuntimeOptions:
    """How models are run.

    Attributes:
        threads: threads inside one operator.
        precision: what convolutions compute in: 'fp32', 'int8', ... The models handed over are written in it.
    """

    threads: int = 1
    precision: str = "fp32"


class Session(Protocol):
    """A loaded model with its inputs in place. Owned by the caller, who closes it."""

    def time(self, runs: int) -> Burst:
        """Run `runs` times, one after the other."""

    def run(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The model's output for one batch."""

    def close(self) -> None:
        """Free what the model holds; the session is not used again."""


class Runtime(Protocol):
    """A way to run ONNX models on one device. Stateless; sessions hold the resources."""

    name: str
    precisions: tuple[str, ...]

    def missing(self) -> str | None:
        """None if it works here, else what is missing and how to get it."""

    def version(self) -> str:
        """Version of the runtime; part of a table's key, since a new version may be faster."""

    def load(self, model: bytes, options: RuntimeOptions) -> Session:
        """Load a model and give it normal random inputs.

        Raises:
            DeviceError: the runtime refuses the model, or falls back to another device.
        """
