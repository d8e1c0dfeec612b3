"""Operator families by name."""

from __future__ import annotations

from collections.abc import Callable

from nascli.errors import SpaceError, UnknownNameError
from nascli.plugins import load_members
from nascli.spaces.operators.definition import OperatorFamily, Value

_FAMILIES: dict[str, OperatorFamily] = {}


def operator(function: Callable[..., Value]) -> OperatorFamily:
    """Turn a function from values to values into an operator family, known by the function's name."""
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
    """Look an operator family up by name.

    Raises:
        UnknownNameError: listing the names that exist.
    """
    # The built-in families register themselves as they are imported.
    load_members("nascli.spaces.operators")
    if name not in _FAMILIES:
        raise UnknownNameError("operator", name, sorted(_FAMILIES))
    return _FAMILIES[name]
