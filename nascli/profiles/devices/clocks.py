"""Locking a card's clock while it is measured, and unlocking it afterwards.

The lock belongs to the driver and outlives the process. It is released at the end, on errors, and on SIGTERM and
SIGHUP. A process that is killed by SIGKILL cannot release it. Therefore a mark is written beside the device locks, by
which the next measurement on that card and `nascli doctor` find a clock that was left locked.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from nascli.errors import DeviceError, Remedy
from nascli.paths import home
from nascli.profiles.devices.cards import Card, open_nvml

# A mark contains this if the clock is held as an application clock.
_APPLICATIONS = "application clocks"


def _mark(card: Card) -> Path:
    return home() / "locks" / f"{card.uuid}.clocks"


def is_left_locked(card: Card) -> bool:
    """Return whether a process that was killed has left the card's clock locked."""
    return _mark(card).exists()


def unlock_clock(card: Card, nvml: Any | None = None) -> None:
    """Give control of the clock back to the driver, and remove the mark.

    Raises:
        DeviceError: The driver refuses, usually because it needs root.
        RuntimeUnavailableError: The package for NVML is not installed, or the driver does not answer.
    """
    by_application = _mark(card).exists() and _APPLICATIONS in _mark(card).read_text(encoding="utf-8")
    with open_nvml(nvml) as library:
        try:
            handle = library.nvmlDeviceGetHandleByIndex(card.index)
            if by_application:
                library.nvmlDeviceResetApplicationsClocks(handle)
            else:
                library.nvmlDeviceResetGpuLockedClocks(handle)
        except library.NVMLError as error:
            raise DeviceError(
                f"cannot unlock the clock of {card.name}: {error}",
                f"As root: nvidia-smi -i {card.index} "
                + ("--reset-applications-clocks" if by_application else "--reset-gpu-clocks"),
            ) from error
    _mark(card).unlink(missing_ok=True)


def sustained_mhz(card: Card, nvml: Any | None = None) -> int:
    """Return the clock in MHz that the card sustains under any load: its default application clock.

    Raises:
        DeviceError: The card does not report it.
        RuntimeUnavailableError: The package for NVML is not installed, or the driver does not answer.
    """
    with open_nvml(nvml) as library:
        try:
            handle = library.nvmlDeviceGetHandleByIndex(card.index)
            return int(library.nvmlDeviceGetDefaultApplicationsClock(handle, library.NVML_CLOCK_GRAPHICS))
        except library.NVMLError as error:
            raise DeviceError(
                f"{card.name} does not report its sustained clock: {error}",
                "See which it has with nvidia-smi --query-supported-clocks=gr --format=csv, and name one in MHz.",
                Remedy(arguments={"clock_mhz": 1404}),
            ) from error


def _lock(library: Any, card: Card, mhz: int) -> None:
    """Hold the clock by a lock, which cards since Volta have, or as an application clock.

    The mark is written first, since nobody would find a lock without a mark.
    """
    handle = library.nvmlDeviceGetHandleByIndex(card.index)
    _mark(card).write_text(f"{mhz}\n", encoding="utf-8")
    try:
        library.nvmlDeviceSetGpuLockedClocks(handle, mhz, mhz)
    except library.NVMLError_NotSupported:
        memory = library.nvmlDeviceGetDefaultApplicationsClock(handle, library.NVML_CLOCK_MEM)
        _mark(card).write_text(f"{mhz} {_APPLICATIONS}\n", encoding="utf-8")
        library.nvmlDeviceSetApplicationsClocks(handle, memory, mhz)


@contextmanager
def locked_clock(card: Card, mhz: int, nvml: Any | None = None) -> Iterator[None]:
    """Return a context in which the card's clock is locked.

    Args:
        card: The card.
        mhz: The clock in MHz.
        nvml: The module to use; None imports `pynvml`.

    Raises:
        DeviceError: The driver refuses, because it needs root or the card does not have this clock.
        RuntimeUnavailableError: The package for NVML is not installed, or the driver does not answer.
    """
    mark = _mark(card)
    mark.parent.mkdir(parents=True, exist_ok=True)
    previous = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}

    def leave(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    try:
        # The handlers come before the lock, so that no signal ends the process between the two.
        for number in previous:
            signal.signal(number, leave)
        with open_nvml(nvml) as library:
            try:
                _lock(library, card, mhz)
            except library.NVMLError as error:
                mark.unlink(missing_ok=True)
                raise DeviceError(
                    f"cannot lock the clock of {card.name} at {mhz} MHz: {error}",
                    "Locking needs root. Run the command with sudo, or leave the clock alone.",
                    Remedy(arguments={"clock_mhz": None}),
                ) from error
        yield
    finally:
        if mark.exists():
            unlock_clock(card, nvml)
        for number, handler in previous.items():
            signal.signal(number, handler)
