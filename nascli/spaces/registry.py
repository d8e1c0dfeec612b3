"""The decorator that registers a space under a name."""

from __future__ import annotations

from collections.abc import Callable

from nascli.errors import SpaceError
from nascli.plugins import load_members
from nascli.spaces.space import Space
from nascli.spaces.staged import StagedSpace

Factory = Callable[..., Space | StagedSpace]
_FACTORIES: dict[str, Factory] = {}


def _register(name: str, factory: Factory) -> None:
    known = _FACTORIES.get(name)
    if known is not None and known.__module__ != factory.__module__:
        raise SpaceError(f"a space named {name!r} is already defined in {known.__module__}")
    _FACTORIES[name] = factory


def factories() -> dict[str, Factory]:
    """Return all registered functions by the name of their space; built-in spaces register on import."""
    load_members("nascli.spaces.builtin")
    return _FACTORIES


def space_factory(name: str) -> Callable[[Factory], Factory]:
    """Register a function that makes a space.

    The keyword parameters of the function are the parameters of the space, and need default values. The first line of
    its docstring is what `nascli spaces` shows.

    Args:
        name: Name of the space.

    Raises:
        SpaceError: Another module has registered a space with this name.
    """

    def register(factory: Factory) -> Factory:
        _register(name, factory)
        return factory

    return register
