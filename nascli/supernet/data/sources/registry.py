"""The registry of image sources: the files of this folder, and entry points of other packages."""

from __future__ import annotations

from functools import cache

from nascli.errors import DataError, UnknownNameError
from nascli.plugins import find_entry_points, load_members
from nascli.supernet.data.sources.base import Source
from nascli.supernet.data.sources.modules import source_of_file

GROUP = "nascli.datasets"


@cache
def builtin_sources() -> dict[str, Source]:
    """Return the sources that come with nascli, by name.

    Every file of this folder lists its sources in ``SOURCES``.
    """
    sources: dict[str, Source] = {}
    for module in load_members("nascli.supernet.data.sources").values():
        sources |= getattr(module, "SOURCES", {})
    return sources


def find_source(name: str) -> Source:
    """Return a source by its name.

    Other packages may register sources under the entry-point group ``nascli.datasets``.

    Args:
        name: Name of the source, without a folder.

    Raises:
        UnknownNameError: No source has that name.
        DataError: The entry point of that name does not load a `Source`.
    """
    builtin = builtin_sources()
    if name in builtin:
        return builtin[name]
    entry_points = find_entry_points(GROUP)
    if name in entry_points:
        source = entry_points[name].load()
        if not isinstance(source, Source):
            raise DataError(
                f"the entry point {name} of {GROUP} loads a {type(source).__name__}, "
                f"not a {Source.__module__}.{Source.__qualname__}."
            )
        return source
    raise UnknownNameError(
        "data set",
        name,
        [*builtin, *entry_points],
        "A folder follows a colon: cifar10:FOLDER; your own data set is FILE.py:NAME",
    )


def find_named_source(spec: str) -> tuple[Source, str]:
    """Return the source of a data set, and the text that follows its name.

    Args:
        spec: Name of a data set, NAME:FOLDER, or an object of a Python file, FILE.py:NAME.

    Raises:
        UnknownNameError: No source has that name.
        DataError: The entry point of that name does not load a `Source`.
    """
    file, dot, text = spec.partition(".py:")
    if dot or spec.endswith(".py"):
        return source_of_file(spec if not dot else f"{file}.py"), text
    name, _, text = spec.partition(":")
    return find_source(name), text
