"""Recipes that a user names: one of the registry, or a TOML file that may change one.

    base = "nse"
    epochs = 90
    rate = 0.2
    milestones = [0.5, 0.75]

`base` is the name of a recipe; without it, fields that the file does not set have the defaults of `Recipe`. All other
keys are fields of `Recipe`.
"""

from __future__ import annotations

import tomllib
import typing
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from nascli.errors import NascliError, UnknownNameError
from nascli.supernet.recipes.registry import find_entry
from nascli.supernet.training.recipe import Recipe

_MAX_FILE_BYTES = 1 << 20
_WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def named_recipe(kind: str, name: str, epochs: int | None = None) -> Recipe:
    """Return a recipe by its name, or from a file.

    Args:
        kind: 'retraining' for training from scratch, or 'supernet'.
        name: Name of a recipe of that kind, or a file that ends in .toml.
        epochs: Number of epochs; None for that of the file or of the recipe.

    Raises:
        UnknownNameError: No recipe has that name, or the file has a field that recipes do not have.
        NascliError: The file cannot be read, or a value is not of its field's type or range.
    """
    if not name.endswith(".toml"):
        make = find_entry(kind, name).make
        return make() if epochs is None else make(epochs)
    return _from_document(kind, name, _read(Path(name)), epochs)


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            data = opened.read(_MAX_FILE_BYTES + 1)
        if len(data) > _MAX_FILE_BYTES:
            raise NascliError(f"{file} is larger than {_MAX_FILE_BYTES} bytes, and no recipe.")
        return tomllib.loads(data.decode())
    except OSError as error:
        raise NascliError(f"cannot read the recipe {file}: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise NascliError(f"{file} is not TOML: {error}.") from error


def _from_document(kind: str, name: str, document: Mapping[str, Any], epochs: int | None) -> Recipe:
    """Return the recipe that a document describes."""
    base = document.get("base")
    if base is not None and not isinstance(base, str):
        raise NascliError(f"{name}: base names a recipe, not {base!r}.")
    known = [field.name for field in fields(Recipe)]
    for key in document:
        if key != "base" and key not in known:
            raise UnknownNameError(f"field of a recipe in {name}", key, ["base", *known])
    hints = typing.get_type_hints(Recipe)
    values: dict[str, Any] = {
        key: _typed(name, key, hints[key], value) for key, value in document.items() if key != "base"
    }
    if epochs is not None:
        values["epochs"] = epochs
    if base is None and "epochs" not in values:
        raise NascliError(f"{name} sets no epochs.", 'Set them, or name a recipe: base = "modern".')
    make: Callable[..., Recipe] = Recipe if base is None else find_entry(kind, base).make
    made = make(values["epochs"]) if "epochs" in values else make()
    return replace(made, **values)


def _typed(name: str, key: str, hint: Any, value: object) -> object:
    """Return a value of TOML as one of a field's type."""
    if typing.get_origin(hint) is tuple:
        if isinstance(value, list) and all(_is_a(float, entry) for entry in value):
            return tuple(_float(name, key, entry) for entry in value)
        raise NascliError(f"{name}: {key} takes a list of numbers, not {value!r}.")
    if not _is_a(hint, value):
        raise NascliError(f"{name}: {key} takes {_WORDS[hint]}, not {value!r}.")
    return _float(name, key, typing.cast(float, value)) if hint is float else value


def _float(name: str, key: str, value: float) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise NascliError(f"{name}: {key} is too large.") from error


def _is_a(kind: type, value: object) -> bool:
    """Whether a value of TOML is of a type; a whole number is a number too, and a truth value is none."""
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is kind
