"""Operator families by name."""

from __future__ import annotations

from collections.abc import Callable

from nascli.errors import SpaceError, UnknownNameError
from nascli.plugins import load_members
from nascli.spaces.operators.definition import OperatorFamily, Value

_FAMILIES: dict[str, OperatorFamily] = {}


def operator(function: Callable[..., Value]) -> OperatorFamily:
    """Turn a function into an operator family, and register it under the name of the function.

    Args:
        function: Takes a `Value` and arguments, and returns a `Value`; see `nascli.spaces.operators.definition`.

    Raises:
        SpaceError: Another module has registered an operator with this name.
    """
    family = OperatorFamily(function)
    known = _FAMILIES.get(family.name)
    if known is not None and known.function.__module__ != function.__module__:
        raise SpaceError(
            f"an operator named {family.name!r} is already defined in {known.function.__module__}; "
            f"choose another name in {function.__module__}"
        )
    _FAMILIES[family.name] = family
    return family


def operator_family(name: str) -> OperatorFamily:
    """Return an operator family by name.

    Raises:
        UnknownNameError: There is no operator with this name.
    """
    # The built-in families register on import.
    load_members("nascli.spaces.operators")
    if name not in _FAMILIES:
        raise UnknownNameError("operator", name, sorted(_FAMILIES))
    return _FAMILIES[name]
