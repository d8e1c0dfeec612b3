"""The algorithms that are installed: those of the folders beside this file, and entry points of other packages."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import pkgutil
from collections.abc import Iterable
from enum import IntEnum
from functools import cache

from nascli.errors import NascliError, UnknownNameError
from nascli.plugins import find_entry_points
from nascli.random_streams import RandomStream, require_distinct_streams
from nascli.search.algorithm import Algorithm, SearcherAlgorithm

GROUP = "nascli.algorithms"


@cache
def _builtin() -> dict[str, Algorithm]:
    """Return the built-in algorithms by name: each folder's descriptor.py lists its own in ``ALGORITHMS``."""
    folder = importlib.import_module("nascli.search")
    algorithms: dict[str, Algorithm] = {}
    for module in pkgutil.iter_modules(folder.__path__, "nascli.search."):
        name = f"{module.name}.descriptor"
        if module.ispkg and importlib.util.find_spec(name) is not None:
            for algorithm in importlib.import_module(name).ALGORITHMS:
                algorithms[algorithm.name] = algorithm
    require_distinct_streams(_streams(algorithms.values()))
    return algorithms


def _streams(algorithms: Iterable[Algorithm]) -> list[type[IntEnum]]:
    """The random streams of all algorithms together."""
    return [RandomStream, *(algorithm.streams for algorithm in algorithms if algorithm.streams is not None)]


def algorithm_names() -> list[str]:
    """The names of all algorithms, in alphabetical order."""
    return sorted({*_builtin(), *find_entry_points(GROUP)})


def default_searcher() -> str:
    """The name of the algorithm that `nascli.optimise` takes where the user names none."""
    return next(
        name
        for name, algorithm in _builtin().items()
        if isinstance(algorithm, SearcherAlgorithm) and algorithm.is_default_searcher
    )


def default_algorithm() -> str:
    """The name of the algorithm that searches where the user names none."""
    return next(name for name, algorithm in _builtin().items() if algorithm.is_default)


def find_algorithm(name: str) -> Algorithm:
    """An algorithm by its name.

    Raises:
        UnknownNameError: No algorithm has that name.
        NascliError: An entry point is not an `Algorithm` of that name.
    """
    known = _builtin()
    if name in known:
        return known[name]
    points = find_entry_points(GROUP)
    if name not in points:
        raise UnknownNameError("algorithm", name, algorithm_names())
    try:
        algorithm = points[name].load()
    # A package of a third party may fail in any way as it is loaded.
    except Exception as error:
        raise NascliError(
            f"the algorithm {name} of another package cannot be loaded: {type(error).__name__}: {error}.",
            "Repair or remove that package.",
        ) from error
    if not isinstance(algorithm, Algorithm) or algorithm.name != name:
        raise NascliError(
            f"the entry point {name} of {GROUP} is not a nascli.search.algorithm.Algorithm named {name}"
        )
    try:
        require_distinct_streams(_streams([*known.values(), algorithm]))
    except ValueError as error:
        raise NascliError(f"the entry point {name} of {GROUP}: {error}") from error
    return algorithm


def loadable_algorithms() -> dict[str, Algorithm]:
    """All algorithms by name, without those of packages that cannot be loaded."""
    algorithms: dict[str, Algorithm] = {}
    for name in algorithm_names():
        with contextlib.suppress(NascliError):
            algorithms[name] = find_algorithm(name)
    return algorithms


def find_searcher(name: str) -> SearcherAlgorithm:
    """An algorithm that asks for architectures and learns their scores, by its name.

    Raises:
        UnknownNameError: No algorithm has that name, or it asks for no scores.
        NascliError: The algorithm is one of another package, which cannot be loaded.
    """
    algorithm = find_algorithm(name) if name in algorithm_names() else None
    if not isinstance(algorithm, SearcherAlgorithm):
        known = [n for n, each in loadable_algorithms().items() if isinstance(each, SearcherAlgorithm)]
        raise UnknownNameError("algorithm", name, known)
    return algorithm


def preset_names() -> list[str]:
    """The names of all presets of all built-in algorithms; 'small' comes first."""
    names = {preset for algorithm in _builtin().values() for preset in algorithm.presets}
    return sorted(names, key=lambda name: (name != "small", name))
