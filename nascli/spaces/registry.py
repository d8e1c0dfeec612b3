"""The decorator that makes a space known by its name."""

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
    """All functions that make spaces, by the spaces' names; the built-in ones register as they are imported."""
    load_members("nascli.spaces.builtin")
    return _FACTORIES


def space_factory(name: str) -> Callable[[Factory], Factory]:
    """Register a function that makes a space; its keyword parameters become the space's parameters."""

    def register(factory: Factory) -> Factory:
        _register(name, factory)
        return factory

    return register
