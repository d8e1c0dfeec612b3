"""Runtimes by name."""

from __future__ import annotations

from nascli.errors import UnknownNameError
from nascli.profiles.runtimes.base import Runtime
from nascli.profiles.runtimes.ort_cpu import OrtCpu
from nascli.profiles.runtimes.ort_gpu import OrtCuda, OrtTensorrt
from nascli.profiles.runtimes.tensorrt.runtime import TensorRt


def all_runtimes() -> dict[str, Runtime]:
    """Every runtime that nascli knows, installed or not, in the order in which 'auto' tries them."""
    known: tuple[Runtime, ...] = (OrtCpu(), TensorRt(), OrtTensorrt(), OrtCuda())
    return {runtime.name: runtime for runtime in known}


def get_runtime(name: str) -> Runtime:
    """A runtime by name.

    Raises:
        UnknownNameError: listing those that exist.
    """
    known = all_runtimes()
    if name not in known:
        raise UnknownNameError("runtime", name, sorted(known))
    return known[name]
