"""Runtimes by name."""

from __future__ import annotations

from nascli.errors import UnknownNameError
from nascli.profiles.runtimes.base import Runtime, RuntimeOptions, Session
from nascli.profiles.runtimes.ort_cpu import OrtCpu

__all__ = ["Runtime", "RuntimeOptions", "Session", "all_runtimes", "get_runtime"]


def all_runtimes() -> dict[str, Runtime]:
    """Every runtime that nascli knows, installed or not."""
    return {runtime.name: runtime for runtime in (OrtCpu(),)}


def get_runtime(name: str) -> Runtime:
    """A runtime by name.

    Raises:
        UnknownNameError: listing those that exist.
    """
    known = all_runtimes()
    if name not in known:
        raise UnknownNameError("runtime", name, sorted(known))
    return known[name]
