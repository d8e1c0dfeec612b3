"""CUDA through NVIDIA's `cuda-core`."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from nascli.profiles.cuda.base import Event, Memory, Stream, allocation_error


class _Event:
    def __init__(self, event: Any) -> None:
        self.raw = event

    def done(self) -> bool:
        return bool(self.raw.is_done)

    def since(self, earlier: Event) -> float:
        return float(self.raw - earlier.raw) * 1e-3  # type: ignore[attr-defined]


class _Stream:
    def __init__(self, stream: Any) -> None:
        self.raw = stream

    @property
    def handle(self) -> int:
        return int(self.raw.handle)

    def record(self, event: Event) -> None:
        self.raw.record(event.raw)  # type: ignore[attr-defined]

    def synchronise(self) -> None:
        self.raw.sync()


class _Memory:
    def __init__(self, buffer: Any, stream: Any) -> None:
        self.raw = buffer
        self._stream = stream

    @property
    def address(self) -> int:
        return int(self.raw.handle)

    def free(self) -> None:
        self.raw.close(self._stream)


class CudaCore:
    """A card through `cuda-core`.

    Args:
        ordinal: The card's number among those that CUDA shows to this process.
    """

    name = "cuda-core"

    def __init__(self, ordinal: int) -> None:
        from cuda.core import Device, EventOptions, LegacyPinnedMemoryResource

        self._device = Device(ordinal)
        self._device.set_current()
        self._timed = EventOptions(timing_enabled=True)
        self._copies = self._device.create_stream()
        self._pinned = LegacyPinnedMemoryResource()

    def stream(self) -> Stream:
        """Make a new stream."""
        return _Stream(self._device.create_stream())

    def event(self) -> Event:
        """Make an event that records the time, which cuda-core's events do only on request."""
        return _Event(self._device.create_event(self._timed))

    def allocate(self, size: int) -> Memory:
        """Allocate `size` bytes on the card; see `Driver.allocate`."""
        try:
            buffer = self._device.allocate(size, stream=self._copies)
        except Exception as error:
            raise allocation_error(size, error) from error
        self._copies.sync()
        return _Memory(buffer, self._copies)

    def _pinned_buffer(self, size: int) -> tuple[Any, npt.NDArray[np.uint8]]:
        buffer = self._pinned.allocate(size)
        return buffer, np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(int(buffer.handle)))

    def upload(self, memory: Memory, values: npt.NDArray[Any]) -> None:
        """Copy an array to the card, and wait until it is there."""
        buffer, view = self._pinned_buffer(values.nbytes)
        view[:] = np.frombuffer(np.ascontiguousarray(values).tobytes(), dtype=np.uint8)
        memory.raw.copy_from(buffer, stream=self._copies)  # type: ignore[attr-defined]
        self._copies.sync()
        buffer.close()

    def download(self, memory: Memory, values: npt.NDArray[Any]) -> None:
        """Fill an array from the card's memory, and wait until it is filled."""
        buffer, view = self._pinned_buffer(values.nbytes)
        memory.raw.copy_to(buffer, stream=self._copies)  # type: ignore[attr-defined]
        self._copies.sync()
        values[...] = np.frombuffer(view.tobytes(), dtype=values.dtype).reshape(values.shape)
        buffer.close()

    def capture(self, enqueue: Callable[[int], None]) -> Callable[[Stream], None]:
        """Record work as a CUDA graph; see `Driver.capture`."""
        builder = self._device.create_graph_builder()
        builder.begin_building()
        enqueue(int(builder.stream.handle))
        graph = builder.end_building().complete()

        def launch(stream: Stream) -> None:
            graph.launch(stream.raw)  # type: ignore[attr-defined]

        return launch
