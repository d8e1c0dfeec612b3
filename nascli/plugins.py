"""Members of a folder and of an entry-point group: how registries find what belongs to them."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType


@cache
def load_members(package: str) -> dict[str, ModuleType]:
    """Import every module and subpackage of a package.

    Args:
        package: The dotted name, such as ``nascli.spaces.builtin``.

    Returns:
        The modules by their short names, in alphabetical order.
    """
    folder = importlib.import_module(package)
    names = sorted(module.name for module in pkgutil.iter_modules(folder.__path__))
    return {name: importlib.import_module(f"{package}.{name}") for name in names}


def find_entry_points(group: str) -> dict[str, EntryPoint]:
    """Entry points of installed packages, by name; nothing is loaded."""
    return {point.name: point for point in entry_points(group=group)}
