"""CUDA through `pycuda`, which has no CUDA graphs."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from nascli.errors import Remedy, RuntimeUnavailableError
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
    """A card through `pycuda`, in its primary context, which the CUDA runtime uses too.

    Args:
        ordinal: The card's number among those that CUDA shows to this process.
    """

    name = "pycuda"

    def __init__(self, ordinal: int) -> None:
        import pycuda.driver as cuda

        self._cuda: Any = cuda
        cuda.init()
        # TensorRT works in the primary context; memory of another context could not be shared with it.
        self._context = cuda.Device(ordinal).retain_primary_context()
        self._context.push()
        # pycuda aborts if a context is still current when Python ends.
        atexit.register(self._context.pop)

    def stream(self) -> Stream:
        """Make a new stream."""
        return _Stream(self._cuda.Stream())

    def event(self) -> Event:
        """Make an event that records the time."""
        return _Event(self._cuda.Event())

    def allocate(self, size: int) -> Memory:
        """Allocate `size` bytes on the card; see `Driver.allocate`."""
        try:
            return _Memory(self._cuda.mem_alloc(size))
        except Exception as error:
            raise allocation_error(size, error) from error

    def upload(self, memory: Memory, values: npt.NDArray[Any]) -> None:
        """Copy an array to the card, and wait until it is there."""
        self._cuda.memcpy_htod(memory.address, np.ascontiguousarray(values))

    def download(self, memory: Memory, values: npt.NDArray[Any]) -> None:
        """Fill an array from the card's memory, and wait until it is filled."""
        self._cuda.memcpy_dtoh(values, memory.address)

    def capture(self, enqueue: Callable[[int], None]) -> Callable[[Stream], None]:
        """Refuse, since pycuda has no CUDA graphs.

        Raises:
            RuntimeUnavailableError: Always.
        """
        raise RuntimeUnavailableError(
            "pycuda has no CUDA graphs.",
            "Install cuda-core, or leave CUDA graphs out.",
            Remedy(arguments={"cuda_graph": None}),
        )
