"""What timing on a card needs of CUDA: memory, streams, events, and graphs. Three packages can provide them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy.typing as npt

from nascli.errors import DeviceError, ModelRefusedError

# Parts of the messages of errors after which no other model can run on the card either.
_LOST_CARD_MESSAGES = (
    "device is lost", "gpu is lost", "illegal memory access", "uncorrectable ecc", "launch failure", "hardware error",
    "misaligned address", "no cuda-capable device", "busy or unavailable", "unspecified driver error", "unknown error",
)  # fmt: skip


def means_lost_card(text: str) -> bool:
    """Return whether the message of an error means that the card failed, and not only one model."""
    return any(part in text.lower() for part in _LOST_CARD_MESSAGES)


def allocation_error(size: int, error: Exception) -> DeviceError:
    """Return the error to raise when `size` bytes could not be allocated: the card failed, or it has no room."""
    if means_lost_card(str(error)):
        return DeviceError(
            f"the card failed: {error}",
            "What was measured is kept. Look at nvidia-smi, and run the same command again.",
        )
    return ModelRefusedError(f"the card has no room for {size} bytes: {error}")


class Event(Protocol):
    """A mark in a stream."""

    def done(self) -> bool:
        """Return whether the card has passed the mark, without waiting."""

    def since(self, earlier: Event) -> float:
        """Return the seconds between `earlier` and this event on the card's clock. Both must be done."""


class Stream(Protocol):
    """A queue of work on the card. It is not the default stream, which would wait for all others."""

    @property
    def handle(self) -> int:
        """The `cudaStream_t` as a number, which libraries take."""

    def record(self, event: Event) -> None:
        """Put the event behind the work that is queued now."""

    def synchronise(self) -> None:
        """Wait until all queued work is done."""


class Memory(Protocol):
    """A piece of the card's memory."""

    @property
    def address(self) -> int:
        """Its address on the card."""

    def free(self) -> None:
        """Give the memory back; it must not be used any more."""


class Driver(Protocol):
    """One card, used through one package.

    Attributes:
        name: The name of the package.
    """

    name: str

    def stream(self) -> Stream:
        """Make a new stream."""

    def event(self) -> Event:
        """Make an event that records the time."""

    def allocate(self, size: int) -> Memory:
        """Allocate `size` bytes on the card.

        Raises:
            ModelRefusedError: The card has no room for them.
            DeviceError: The card failed.
        """

    def upload(self, memory: Memory, values: npt.NDArray[Any]) -> None:
        """Copy an array to the card, and wait until it is there."""

    def download(self, memory: Memory, values: npt.NDArray[Any]) -> None:
        """Fill an array from the card's memory, and wait until it is filled."""

    def capture(self, enqueue: Callable[[int], None]) -> Callable[[Stream], None]:
        """Record work as a CUDA graph.

        Args:
            enqueue: Puts the work into the stream whose handle it is given.

        Returns:
            A function that launches the graph in a stream.

        Raises:
            RuntimeUnavailableError: The package has no CUDA graphs.
        """
