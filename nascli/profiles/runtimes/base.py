"""What a runtime must do to be measured: load an ONNX model, and time its runs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from nascli.errors import NascliError
from nascli.profiles.devices.device import Device

Seconds = npt.NDArray[np.float64]


class Burst(NamedTuple):
    """The times of consecutive runs.

    Attributes:
        seconds: `(runs,)` seconds of each run, without the time during which it waited for a core.
        waited: Seconds during which all runs together waited, already subtracted from `seconds`; None if unknown.
    """

    seconds: Seconds
    waited: float | None = None


class NodeTime(NamedTuple):
    """How long one node of a model takes by the runtime's own profile.

    Attributes:
        name: The runtime's name of the node; a fused node may have the name of any of its parts.
        kind: What it computes in the runtime's words, such as 'Conv'.
        seconds: The median of its runs.
    """

    name: str
    kind: str
    seconds: float


class TimingCache(Protocol):
    """What an engine builder has learned about kernels, kept from one session to the next."""

    def read(self) -> bytes:
        """Return the contents; empty at first."""

    def write(self, data: bytes) -> None:
        """Replace the contents."""


class MemoryCache:
    """A timing cache in memory.

    Args:
        data: The initial contents.
    """

    def __init__(self, data: bytes = b"") -> None:
        self._data = data

    def read(self) -> bytes:
        """Return the contents."""
        return self._data

    def write(self, data: bytes) -> None:
        """Replace the contents."""
        self._data = data


@dataclass(frozen=True)
class RuntimeOptions:
    """How models are run.

    Attributes:
        threads: Threads inside one operator; on a card, those of the host.
        precision: What convolutions compute in: 'fp32', 'tf32', 'fp16', 'bf16', or 'int8'. The models that are loaded
            are written in what the runtime's `precisions` says.
        ordinal: The number that CUDA gives the card in this process.
        cuda_driver: The package that provides CUDA memory, streams, and events, or 'auto'.
        cuda_graph: Whether a run is launched as one CUDA graph.
        rotate: Whether each run gets other inputs than the one before, which together exceed the card's cache.
        clock_mhz: The clock in MHz that the card is locked at; None if it is not locked.
        timing_cache: Where an engine builder keeps what it has learned.
        integer_range: The lowest and the highest value of random integers in inputs; floating-point inputs are
            standard normal.
        inputs: Values by the name of an input, in its type and shape, which replace random ones.

    Raises:
        NascliError: The lowest integer is greater than the highest.
    """

    threads: int = 1
    precision: str = "fp32"
    ordinal: int = 0
    cuda_driver: str = "auto"
    cuda_graph: bool = False
    rotate: bool = False
    clock_mhz: int | None = None
    timing_cache: TimingCache = field(default_factory=MemoryCache, compare=False)
    integer_range: tuple[int, int] = (0, 1)
    inputs: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        low, high = self.integer_range
        if low > high:
            raise NascliError(f"a range of integers has its lowest value first, not {low} to {high}.")

    @property
    def mode(self) -> str:
        """The options besides threads and precision that are part of a table's key; empty by default."""
        parts = [
            "cuda graph" if self.cuda_graph else "",
            "rotating inputs" if self.rotate else "",
            "" if self.clock_mhz is None else f"locked at {self.clock_mhz} MHz",
            "" if self.integer_range == (0, 1) else "integers {} to {}".format(*self.integer_range),
            f"inputs {_digest(self.inputs)}" if self.inputs else "",
        ]
        return ", ".join(part for part in parts if part)


def _digest(inputs: Mapping[str, npt.NDArray[Any]]) -> str:
    """Return what tells given inputs from others in a table's key."""
    digest = hashlib.sha256()
    for name in sorted(inputs):
        value = np.ascontiguousarray(inputs[name])
        digest.update(f"{name}\0{value.dtype}\0{value.shape}\0".encode())
        digest.update(repr(value.tolist()).encode() if value.dtype.hasobject else value.tobytes())
    return digest.hexdigest()[:12]


class Session(Protocol):
    """A loaded model with a value for each of its inputs in place. The caller must close it."""

    def time(self, runs: int, warmup: int = 0) -> Burst:
        """Run the model `runs` times, one after the other, after `warmup` runs that do not count.

        Raises:
            ModelRefusedError: This model cannot run, for example because it needs more memory.
            DeviceError: The device failed.
        """

    def run(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the first output of a model with one floating-point input, for one batch.

        Args:
            inputs: Of the input's shape, such as `(batch, channels, height, width)`.
        """

    def evaluate(self, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Return all outputs of the model by name, each in its own type.

        Args:
            feeds: Values by the name of an input, each of its type and shape. An input without a value here keeps the
                one that is in place.

        Raises:
            NascliError: A value does not fit the model's inputs.
            ModelRefusedError: The model cannot run, or an output is no tensor.
        """

    def notes(self) -> dict[str, Any]:
        """Return what else is known about the loaded model, such as its fused layers, as a JSON document."""

    def close(self) -> None:
        """Free what the model holds. The session must not be used any more."""


class Runtime(Protocol):
    """A way to run ONNX models on one device. It has no state; sessions hold the resources.

    Attributes:
        name: The name on the command line and in tables.
        precisions: The precisions that it measures on this machine, each with the precision in which `onnx_bytes`
            writes its models. 'fp32' is one of them.
        warmup_seconds: How long the device is kept busy before a round, so that its clock rises.
        modes: Those of 'cuda_graph' and 'rotate' that it supports.
        auto_rank: Its place in the order in which 'auto' tries runtimes; the lowest comes first.
    """

    name: str
    warmup_seconds: float
    modes: tuple[str, ...]
    auto_rank: int

    @property
    def precisions(self) -> Mapping[str, str]:
        """The precisions that it measures, by name."""

    def missing(self) -> str | None:
        """Return None if the runtime works on this machine, else what is missing and how to install it."""

    def refuses(self, device: Device) -> str | None:
        """Return None if the runtime runs on this device, else the reason why it does not."""

    def version(self) -> str:
        """Return the version of the runtime. It is part of a table's key, since a new version may be faster."""

    def load(self, model: bytes, options: RuntimeOptions) -> Session:
        """Load a model, and put values in place for all of its inputs (`nascli.profiles.runtimes.inputs`).

        Args:
            model: The bytes of an ONNX model with a static batch.
            options: How to run it.

        Raises:
            ModelRefusedError: The runtime refuses this model, or leaves the size of an input open.
            NascliError: A value in the options does not fit the model's inputs.
            DeviceError: The runtime falls back to another device, or the device failed.
        """

    def node_times(self, model: bytes, options: RuntimeOptions) -> list[NodeTime] | None:
        """Return how long each node takes by the runtime's own profile, in the order in which nodes run.

        The model is loaded for this alone, since profiling slows it down. The times are a second opinion: they leave
        out what lies between nodes.

        Args:
            model: The bytes of an ONNX model without open sizes.
            options: How to run it.

        Returns:
            None if the runtime has no such profile.

        Raises:
            ModelRefusedError: The runtime refuses this model, or leaves the size of an input open.
            NascliError: A value in the options does not fit the model's inputs.
            DeviceError: The device failed, or the profile cannot be read.
        """
