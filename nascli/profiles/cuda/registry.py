"""The packages that provide CUDA memory, streams, and events."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

from nascli.errors import DeviceError, Remedy, RuntimeUnavailableError, UnknownNameError
from nascli.profiles.cuda.base import Driver
from nascli.profiles.cuda.with_cuda_core import CudaCore
from nascli.profiles.cuda.with_pycuda import PyCuda
from nascli.profiles.cuda.with_torch import TorchCuda

# By name, in the order in which they are tried: the module that must be importable, and what pip installs.
DRIVERS: dict[str, tuple[str, str]] = {
    "cuda-core": ("cuda.core", "cuda-core[cu12]"),
    "pycuda": ("pycuda", "pycuda"),
    "torch": ("torch", "torch"),
}


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def choose_driver(name: str = "auto") -> str:
    """Return the name of the package to use: the given one, or for 'auto' the first that is installed.

    Raises:
        UnknownNameError: There is no package with this name.
        RuntimeUnavailableError: The package is not installed; or, for 'auto', none of them is.
    """
    if name != "auto" and name not in DRIVERS:
        raise UnknownNameError("CUDA driver", name, ["auto", *DRIVERS])
    for candidate in DRIVERS if name == "auto" else [name]:
        if _installed(DRIVERS[candidate][0]):
            return candidate
    wanted = "cuda-core" if name == "auto" else name
    raise RuntimeUnavailableError(
        f"timing on a card needs one of {', '.join(DRIVERS)}; "
        + ("none is installed." if name == "auto" else f"{name} is not installed."),
        f"Install it: pip install '{DRIVERS[wanted][1]}'",
    )


def open_driver(name: str, ordinal: int) -> Driver:
    """Open a card.

    Args:
        name: 'auto', 'cuda-core', 'pycuda', or 'torch'.
        ordinal: The card's number among those that CUDA shows to this process.

    Raises:
        UnknownNameError: There is no package with this name.
        RuntimeUnavailableError: The package is not installed; or, for 'auto', none of them is.
        DeviceError: The card cannot be opened.
    """
    chosen = choose_driver(name)
    makers: dict[str, Callable[[int], Driver]] = {"cuda-core": CudaCore, "pycuda": PyCuda, "torch": TorchCuda}
    try:
        return makers[chosen](ordinal)
    except Exception as error:
        raise DeviceError(
            f"{chosen} cannot open the card with the number {ordinal}: {error}",
            "See what works here.",
            Remedy(job="run_checks"),
        ) from error
