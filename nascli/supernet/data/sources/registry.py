"""The sources of images that there are: those of the files beside this one, and entry points of other packages."""

from __future__ import annotations

from functools import cache

from nascli.errors import DataError, UnknownNameError
from nascli.plugins import find_entry_points, load_members
from nascli.supernet.data.sources.base import Source

GROUP = "nascli.datasets"


@cache
def builtin_sources() -> dict[str, Source]:
    """The sources that come with nascli, by name. A file beside this one lists its own in ``SOURCES``."""
    found: dict[str, Source] = {}
    for module in load_members("nascli.supernet.data.sources").values():
        found |= getattr(module, "SOURCES", {})
    return found


def find_source(name: str) -> Source:
    """A source by its name; packages may add some under the entry point ``nascli.datasets``.

    Raises:
        UnknownNameError: No source has that name.
        DataError: An entry point is no `Source`.
    """
    known = builtin_sources()
    if name in known:
        return known[name]
    others = find_entry_points(GROUP)
    if name in others:
        source = others[name].load()
        if not isinstance(source, Source):
            raise DataError(
                f"the entry point {name} of {GROUP} is no {Source.__module__}.{Source.__qualname__}"
            )
        return source
    raise UnknownNameError("data set", name, [*known, *others], "A folder follows a colon: cifar10:FOLDER")
