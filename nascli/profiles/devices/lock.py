"""The lock that lets one process at a time measure on a device."""

from __future__ import annotations

import time

from filelock import FileLock, Timeout

from nascli.errors import StoreError
from nascli.paths import home
from nascli.profiles.devices.device import Device
from nascli.progress import Progress


class DeviceLock:
    """Holds a device for this process while the context is entered. Used as a context manager.

    Two measurements on one device would disturb each other. The operating system releases the lock of a process
    that is killed.

    Args:
        device: The device to hold.
        progress: Receives a message while another process holds the device.

    Raises:
        StoreError: The lock file cannot be made.
    """

    def __init__(self, device: Device, progress: Progress) -> None:
        folder = home() / "locks"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"cannot make the folder {folder}: {error.strerror}",
                "Set NASCLI_HOME to a folder that can be written.",
            ) from error
        # Two cards of one model share a key and do not disturb each other, so a card is known by its UUID.
        name = device.key if device.card is None else device.card.uuid
        self._lock = FileLock(folder / f"{name}.lock")
        self._progress = progress

    def __enter__(self) -> None:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            start = time.monotonic()
            self._progress.message("another process is measuring on this device; waiting for its end")
            self._lock.acquire()
            self._progress.message(f"the device is free after {time.monotonic() - start:.0f} s")
        except OSError as error:
            raise StoreError(f"cannot lock the device: {error.strerror}") from error

    def __exit__(self, *details: object) -> None:
        self._lock.release()
