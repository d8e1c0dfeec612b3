"""What timing on a card needs of CUDA: memory, a stream, events, graphs. Three packages can provide it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy.typing as npt

from nascli.errors import DeviceError, ModelRefusedError

# What errors say once the card is out of reach: then no other model will fare better.
_LOST = (
    "device is lost", "gpu is lost", "illegal memory access", "uncorrectable ecc", "launch failure", "hardware error",
    "misaligned address", "no cuda-capable device", "busy or unavailable", "unspecified driver error", "unknown error",
)  # fmt: skip


def means_lost_card(text: str) -> bool:
    """Whether an error's text says that the card, and not the model, is the trouble."""
    return any(sign in text.lower() for sign in _LOST)


def allocation_error(size: int, error: Exception) -> DeviceError:
    """What an allocation that failed means: no room for one model, or a card that is out of reach."""
    if means_lost_card(str(error)):
        return DeviceError(
            f"the card failed: {error}",
            "What was measured is kept. Look at nvidia-smi, and run the same command again.",
        )
    return ModelRefusedError(f"the card has no room for {size} bytes: {error}")


class Event(Protocol):
    """A mark in a stream."""

    def done(self) -> bool:
        """Whether the card has come past it. Asking does not wait."""

    def since(self, earlier: Event) -> float:
        """Seconds on the card's own clock between `earlier` and this one; both must be done."""


class Stream(Protocol):
    """A queue of work on the card; never the default stream, which would wait for all others."""

    @property
    def handle(self) -> int:
        """What libraries take: a `cudaStream_t` as a number."""

    def record(self, event: Event) -> None:
        """Put a mark behind the work that is queued now."""

    def synchronise(self) -> None:
        """Wait until all queued work is done."""


class Memory(Protocol):
    """Bytes on the card."""

    @property
    def address(self) -> int:
        """Where they are."""

    def free(self) -> None:
        """Give them back; not used again."""


class Driver(Protocol):
    """One card, through one package."""

    name: str

    def stream(self) -> Stream:
        """A stream of its own."""

    def event(self) -> Event:
        """An event that notes the time."""

    def allocate(self, size: int) -> Memory:
        """`size` bytes on the card.

        Raises:
            ModelRefusedError: the card has no room for them.
        """

    def upload(self, memory: Memory, values: npt.NDArray[Any]) -> None:
        """Copy an array onto the card, and wait."""

    def download(self, memory: Memory, values: npt.NDArray[Any]) -> None:
        """Fill an array from the card, and wait."""

    def capture(self, enqueue: Callable[[int], None]) -> Callable[[Stream], None]:
        """Record what `enqueue` puts into the stream whose handle it is given, as a graph.

        Returns:
            what launches the graph in a stream.

        Raises:
            RuntimeUnavailableError: the package has no CUDA graphs.
        """
