"""What a runtime must do to be measured: load an ONNX model, and time runs of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from nascli.profiles.devices.device import Device

Seconds = npt.NDArray[np.float64]


class Burst(NamedTuple):
    """Some runs, one after the other.

    Attributes:
        seconds: `(runs,)` seconds of each run, without the time that it waited for a core.
        waited: seconds spent waiting in all of them, already taken off; None where nobody can say.
    """

    seconds: Seconds
    waited: float | None = None


class TimingCache(Protocol):
    """What a builder has found out about kernels, kept from one session to the next."""

    def read(self) -> bytes:
        """What is known so far; empty at first."""

    def write(self, data: bytes) -> None:
        """Replace it."""


class MemoryCache:
    """A timing cache that lasts as long as the process."""

    def __init__(self, data: bytes = b"") -> None:
        self._data = data

    def read(self) -> bytes:
        """What is known so far."""
        return self._data

    def write(self, data: bytes) -> None:
        """Replace it."""
        self._data = data


@dataclass(frozen=True)
class RuntimeOptions:
    """How models are run.

    Attributes:
        threads: threads inside one operator; on a card only the host's.
        precision: what convolutions compute in: 'fp32', 'tf32', 'fp16', 'int8'. The models handed over are
            written in it.
        ordinal: the number that CUDA gives the card in this process.
        cuda_driver: which package provides memory, streams and events: 'auto' or its name.
        cuda_graph: launch a run as one CUDA graph.
        rotate: give each run other inputs than the one before, more in all than a card's cache holds.
        clock_mhz: the clock that the card is locked at; None if it is not.
        timing_cache: where a builder keeps what it found out.
    """

    threads: int = 1
    precision: str = "fp32"
    ordinal: int = 0
    cuda_driver: str = "auto"
    cuda_graph: bool = False
    rotate: bool = False
    clock_mhz: int | None = None
    timing_cache: TimingCache = field(default_factory=MemoryCache, compare=False)

    @property
    def mode(self) -> str:
        """What a table's key says of these options besides threads and precision; empty by default."""
        parts = [
            "cuda graph" if self.cuda_graph else "",
            "rotating inputs" if self.rotate else "",
            "" if self.clock_mhz is None else f"locked at {self.clock_mhz} MHz",
        ]
        return ", ".join(part for part in parts if part)


class Session(Protocol):
    """A loaded model with its inputs in place. Owned by the caller, who closes it."""

    def time(self, runs: int, warmup: int = 0) -> Burst:
        """Run `runs` times, one after the other, after `warmup` runs of the same that do not count.

        Raises:
            ModelRefusedError: this model cannot run, such as for want of memory.
            DeviceError: the device failed.
        """

    def run(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The model's output for one batch."""

    def notes(self) -> dict[str, Any]:
        """What else there is to know of the loaded model, such as which layers were fused; a JSON document."""

    def close(self) -> None:
        """Free what the model holds; the session is not used again."""


class Runtime(Protocol):
    """A way to run ONNX models on one device. Stateless; sessions hold the resources.

    Attributes:
        name: on the command line and in tables.
        precisions: that it measures, and how `onnx_bytes` writes models for each.
        warmup_seconds: for how long the device is kept busy before a round, so that its clock is up.
        modes: which of 'cuda_graph' and 'rotate' it has.
    """

    name: str
    precisions: Mapping[str, str]
    warmup_seconds: float
    modes: tuple[str, ...]

    def missing(self) -> str | None:
        """None if it works here, else what is missing and how to get it."""

    def refuses(self, device: Device) -> str | None:
        """None if it runs on this device, else why not."""

    def version(self) -> str:
        """Version of the runtime; part of a table's key, since a new version may be faster."""

    def load(self, model: bytes, options: RuntimeOptions) -> Session:
        """Load a model and give it normal random inputs.

        Raises:
            ModelRefusedError: the runtime refuses this model.
            DeviceError: it falls back to another device, or the device failed.
        """
