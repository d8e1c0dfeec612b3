"""Runtimes by name: those of the files and folders beside this one."""

from __future__ import annotations

from nascli.errors import UnknownNameError
from nascli.plugins import load_members
from nascli.profiles.runtimes.base import Runtime


def all_runtimes() -> dict[str, Runtime]:
    """Return every runtime by name, installed or not, in the order in which 'auto' tries them.

    A file or folder beside this one lists its own in ``RUNTIMES``.
    """
    runtimes: list[Runtime] = []
    for module in load_members("nascli.profiles.runtimes").values():
        runtimes += getattr(module, "RUNTIMES", ())
    return {runtime.name: runtime for runtime in sorted(runtimes, key=lambda runtime: runtime.auto_rank)}


def get_runtime(name: str) -> Runtime:
    """Return a runtime by name.

    Raises:
        UnknownNameError: There is no runtime with this name; the error lists those that exist.
    """
    runtimes = all_runtimes()
    if name not in runtimes:
        raise UnknownNameError("runtime", name, sorted(runtimes))
    return runtimes[name]
