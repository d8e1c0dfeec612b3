"""Runtimes by name."""

from __future__ import annotations

from nascli.errors import UnknownNameError
from nascli.profiles.runtimes.base import Runtime
from nascli.profiles.runtimes.ort_cpu import OrtCpu
from nascli.profiles.runtimes.ort_gpu import OrtCuda, OrtTensorrt
from nascli.profiles.runtimes.tensorrt.runtime import TensorRt


def all_runtimes() -> dict[str, Runtime]:
    """Return every runtime by name, installed or not, in the order in which 'auto' tries them."""
    runtimes: tuple[Runtime, ...] = (OrtCpu(), TensorRt(), OrtTensorrt(), OrtCuda())
    return {runtime.name: runtime for runtime in runtimes}


def get_runtime(name: str) -> Runtime:
    """Return a runtime by name.

    Raises:
        UnknownNameError: There is no runtime with this name; the error lists those that exist.
    """
    runtimes = all_runtimes()
    if name not in runtimes:
        raise UnknownNameError("runtime", name, sorted(runtimes))
    return runtimes[name]
