"""Checkpoints of a running training: copied within the training, written beside it, as often as their cost allows."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nascli.supernet.devices import wait_for
from nascli.supernet.training.checkpoint import save_checkpoint

# Largest share of the training time that checkpoints take.
_SHARE = 0.02


def snapshot(tensors: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Copy tensors to the host, so that a training may change them while they are written.

    Args:
        tensors: Tensors by name, on the device or on the host.
        device: Device that the copies are waited for.

    Returns:
        Contiguous copies in the memory of the host, none of which shares memory with its original.
    """
    copies = {name: _copied(tensor.detach()) for name, tensor in tensors.items()}
    wait_for(device)
    return copies


def _copied(tensor: Tensor) -> Tensor:
    if tensor.device.type != "cpu":
        # All copies are begun before the first is waited for.
        return tensor.contiguous().to("cpu", non_blocking=True)
    return tensor.clone(memory_format=torch.contiguous_format)


class CheckpointWriter:
    """Writes checkpoints of one training in a thread of its own.

    The first one is due after `least` seconds. From then on they are so far apart that copying and writing take at
    most 2 % of the time, and at least `least` seconds.

    Args:
        file: File of the checkpoint, which each one replaces.
        least: Shortest time between two checkpoints, in seconds. At 0 or below, each step has one, which is waited for.
    """

    def __init__(self, file: Path, least: float) -> None:
        self._file, self._least = file, least
        self._interval = least
        self._begun = time.monotonic()
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    def is_due(self) -> bool:
        """Tell whether the next checkpoint is due, and the last one has been written.

        Raises:
            CheckpointError: The last one could not be written.
        """
        if self._thread is not None and not self._thread.is_alive():
            self.wait()
        return self._thread is None and time.monotonic() - self._begun > self._interval

    def write(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any], device: torch.device) -> None:
        """Copy a checkpoint and begin to write it; one that is still being written is waited for.

        Args:
            tensors: Tensors by name, which may change afterwards.
            state: Other values, which JSON can represent, and which do not change.
            device: Device of the training.

        Raises:
            CheckpointError: The checkpoint before could not be written, or this one if it is waited for.
        """
        self.wait()
        self._begun = time.monotonic()
        copies = snapshot(tensors, device)
        self._thread = threading.Thread(target=self._write, args=(copies, dict(state)), name="checkpoint")
        self._thread.start()
        if self._least <= 0:
            self.wait()

    def _write(self, copies: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        try:
            save_checkpoint(self._file, copies, state)
        except Exception as error:
            self._error = error
        if self._least > 0:
            self._interval = max(self._least, (time.monotonic() - self._begun) / _SHARE)

    def wait(self) -> None:
        """Wait for the checkpoint that is being written.

        Raises:
            CheckpointError: It could not be written.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error
