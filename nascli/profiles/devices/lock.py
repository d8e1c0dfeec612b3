"""The lock that lets one process at a time measure on a device."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path

from filelock import FileLock, Timeout

from nascli.errors import StoreError
from nascli.files import write_atomically
from nascli.paths import home
from nascli.profiles.devices.device import Device
from nascli.progress import Progress
from nascli.units import format_seconds

# Whoever waits is told so often what it waits for.
_TELL_EVERY_SECONDS = 30.0
_MAX_COMMAND = 80


class DeviceLock:
    """Holds a device for this process while the context is entered. Used as a context manager.

    Two measurements on one device would disturb each other. The operating system releases the lock of a process
    that is killed. A file beside the lock says which process holds it, so that those who wait can say for whom.

    Args:
        device: The device to hold.
        progress: Receives messages while another process holds the device.

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
        self._holder = folder / f"{name}.holder.json"
        self._progress = progress

    def __enter__(self) -> None:
        try:
            self._acquire()
        except OSError as error:
            raise StoreError(f"cannot lock the device: {error.strerror}") from error
        # Whoever waits is told of "another process" where this cannot be written.
        with contextlib.suppress(OSError):
            _write_holder(self._holder)

    def _acquire(self) -> None:
        """Wait for the lock, and tell now and then for whom."""
        try:
            self._lock.acquire(timeout=0)
            return
        except Timeout:
            start = time.monotonic()
            self._progress.message("another process is measuring on this device; waiting for its end")
        while True:
            try:
                self._lock.acquire(timeout=_TELL_EVERY_SECONDS)
                break
            except Timeout:
                waited = format_seconds(time.monotonic() - start)
                self._progress.message(
                    f"waited {waited} for the device, which {_holder_text(self._holder)} holds"
                )
        self._progress.message(f"the device is free after {time.monotonic() - start:.0f} s")

    def __exit__(self, *details: object) -> None:
        with contextlib.suppress(OSError):
            self._holder.unlink(missing_ok=True)
        self._lock.release()


def _write_holder(file: Path) -> None:
    """Note that this process holds the device, and what it does."""
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]) if sys.argv else ""
    document = {"pid": os.getpid(), "command": command[:_MAX_COMMAND], "since": time.time()}
    write_atomically(file, json.dumps(document).encode())


def _holder_text(file: Path) -> str:
    """Return who holds a device, in words; what the file says is of another process and is not relied on."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        since = time.strftime("%H:%M", time.localtime(float(document["since"])))
        return f"process {int(document['pid'])} ({str(document['command'])[:_MAX_COMMAND]}, since {since})"
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return "another process"
