"""CUDA through `pycuda`, for machines where it is what is installed. It has no CUDA graphs."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from nascli.errors import RuntimeUnavailableError
from nascli.profiles.cuda.base import Event, Memory, Stream, allocation_error


class _Event:
    def __init__(self, event: Any) -> None:
        self.raw = event

    def done(self) -> bool:
        return bool(self.raw.query())

    def since(self, earlier: Event) -> float:
        return float(earlier.raw.time_till(self.raw)) * 1e-3  # type: ignore[attr-defined]


class _Stream:
    def __init__(self, stream: Any) -> None:
        self.raw = stream

    @property
    def handle(self) -> int:
        return int(self.raw.handle)

    def record(self, event: Event) -> None:
        event.raw.record(self.raw)  # type: ignore[attr-defined]

    def synchronise(self) -> None:
        self.raw.synchronize()


class _Memory:
    def __init__(self, allocation: Any) -> None:
        self.raw = allocation

    @property
    def address(self) -> int:
        return int(self.raw)

    def free(self) -> None:
        self.raw.free()


class PyCuda:
    """The card with one ordinal, in the context that the CUDA runtime uses too."""

    name = "pycuda"

    def __init__(self, ordinal: int) -> None:
        import pycuda.driver as cuda

        self._cuda: Any = cuda
        cuda.init()
        # The primary context is the one that TensorRT works in; a context of our own would share nothing.
        self._context = cuda.Device(ordinal).retain_primary_context()
        self._context.push()
        # A context that is still there when Python ends makes pycuda abort.
        atexit.register(self._context.pop)

    def stream(self) -> Stream:
        """A stream of its own."""
        return _Stream(self._cuda.Stream())

    def event(self) -> Event:
        """An event that notes the time."""
        return _Event(self._cuda.Event())

    def allocate(self, size: int) -> Memory:
        """`size` bytes on the card."""
        try:
            return _Memory(self._cuda.mem_alloc(size))
        except Exception as error:
            raise allocation_error(size, error) from error

    def upload(self, memory: Memory, values: npt.NDArray[Any]) -> None:
        """Copy an array onto the card, and wait."""
        self._cuda.memcpy_htod(memory.address, np.ascontiguousarray(values))

    def download(self, memory: Memory, values: npt.NDArray[Any]) -> None:
        """Fill an array from the card, and wait."""
        self._cuda.memcpy_dtoh(values, memory.address)

    def capture(self, enqueue: Callable[[int], None]) -> Callable[[Stream], None]:
        """Refuse: pycuda cannot.

        Raises:
            RuntimeUnavailableError: always.
        """
        raise RuntimeUnavailableError(
            "pycuda has no CUDA graphs.", "Install cuda-core, or leave out --cuda-graph."
        )
