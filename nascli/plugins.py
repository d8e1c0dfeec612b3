"""Members of a folder and of an entry-point group, and Python files of users: how what belongs together is found."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from nascli.errors import NascliError


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


def load_python_file(path: Path, module_name: str, error: type[NascliError], title: str) -> ModuleType:
    """Execute a user's Python file, and return it as a module.

    Args:
        path: The file.
        module_name: The name under which it is imported; other processes find its classes by it.
        error: What is raised where the file fails. A domain error of the file itself is raised as it is.
        title: What the file is called in the message.
    """
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise error(f"{title} cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except NascliError:
        raise
    except Exception as failure:
        raise error(f"{title}: {type(failure).__name__}: {failure}") from failure
    return module
