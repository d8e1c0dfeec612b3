"""CUDA through an installed `torch`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from nascli.errors import ModelRefusedError
from nascli.profiles.cuda.base import Event, Memory, Stream


class _Event:
    def __init__(self, event: Any) -> None:
        self.raw = event

    def done(self) -> bool:
        return bool(self.raw.query())

    def since(self, earlier: Event) -> float:
        return float(earlier.raw.elapsed_time(self.raw)) * 1e-3  # type: ignore[attr-defined]


class _Stream:
    def __init__(self, stream: Any) -> None:
        self.raw = stream

    @property
    def handle(self) -> int:
        return int(self.raw.cuda_stream)

    def record(self, event: Event) -> None:
        event.raw.record(self.raw)  # type: ignore[attr-defined]

    def synchronise(self) -> None:
        self.raw.synchronize()


class _Memory:
    def __init__(self, tensor: Any) -> None:
        self.raw = tensor

    @property
    def address(self) -> int:
        return int(self.raw.data_ptr())

    def free(self) -> None:
        self.raw = None


class TorchCuda:
    """A card through `torch`.

    Args:
        ordinal: The card's number among those that CUDA shows to this process.
    """

    name = "torch"

    def __init__(self, ordinal: int) -> None:
        import torch

        self._torch: Any = torch
        self._device = torch.device("cuda", ordinal)
        torch.cuda.set_device(self._device)

    def stream(self) -> Stream:
        """Make a new stream."""
        return _Stream(self._torch.cuda.Stream(self._device))

    def event(self) -> Event:
        """Make an event that records the time."""
        return _Event(self._torch.cuda.Event(enable_timing=True))

    def allocate(self, size: int) -> Memory:
        """Allocate `size` bytes on the card; see `Driver.allocate`."""
        try:
            return _Memory(self._torch.empty(size, dtype=self._torch.uint8, device=self._device))
        except self._torch.cuda.OutOfMemoryError as error:
            raise ModelRefusedError(f"the card has no room for {size} bytes: {error}") from error

    def upload(self, memory: Memory, values: npt.NDArray[Any]) -> None:
        """Copy an array to the card, and wait until it is there."""
        flat = np.frombuffer(np.ascontiguousarray(values).tobytes(), dtype=np.uint8).copy()
        memory.raw.copy_(self._torch.from_numpy(flat))  # type: ignore[attr-defined]
        self._torch.cuda.synchronize(self._device)

    def download(self, memory: Memory, values: npt.NDArray[Any]) -> None:
        """Fill an array from the card's memory, and wait until it is filled."""
        flat = memory.raw[: values.nbytes].cpu().numpy()  # type: ignore[attr-defined]
        values[...] = np.frombuffer(flat.tobytes(), dtype=values.dtype).reshape(values.shape)

    def capture(self, enqueue: Callable[[int], None]) -> Callable[[Stream], None]:
        """Record work as a CUDA graph; see `Driver.capture`."""
        graph = self._torch.cuda.CUDAGraph()
        recording = self._torch.cuda.Stream(self._device)
        with self._torch.cuda.graph(graph, stream=recording):
            enqueue(int(recording.cuda_stream))

        def launch(stream: Stream) -> None:
            with self._torch.cuda.stream(stream.raw):  # type: ignore[attr-defined]
                graph.replay()

        return launch
