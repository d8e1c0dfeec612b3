"""The registry of recipes: for networks trained from scratch, and for supernets."""

from __future__ import annotations

from functools import cache

from nascli.errors import UnknownNameError
from nascli.plugins import load_members
from nascli.supernet.recipes.entry import RETRAINING, SUPERNET, RecipeEntry
from nascli.supernet.training.recipe import Recipe

_TITLES = {RETRAINING: "recipe", SUPERNET: "recipe of a supernet"}


@cache
def recipe_entries() -> tuple[RecipeEntry, ...]:
    """Return the entries of all files of this folder; each file lists its own in ``ENTRIES``."""
    modules = load_members("nascli.supernet.recipes").values()
    return tuple(entry for module in modules for entry in getattr(module, "ENTRIES", ()))


def recipe_names(kind: str = RETRAINING) -> list[str]:
    """Return the names of all recipes of a kind: first the one for small images, then by alphabet.

    Args:
        kind: 'retraining' for training from scratch, or 'supernet'.
    """
    names = {entry.name for entry in recipe_entries() if entry.kind == kind}
    return sorted(names, key=lambda name: (name != "small", name))


def find_entry(kind: str, name: str) -> RecipeEntry:
    """Return the entry of a recipe.

    Args:
        kind: 'retraining' for training from scratch, or 'supernet'.
        name: Name of the recipe.

    Raises:
        UnknownNameError: No recipe of that kind has that name.
    """
    for entry in recipe_entries():
        if (entry.kind, entry.name) == (kind, name):
            return entry
    raise UnknownNameError(_TITLES[kind], name, recipe_names(kind))


def find_recipe(name: str, epochs: int | None = None) -> Recipe:
    """Return a recipe for training from scratch.

    Args:
        name: 'small', 'counted' (the same at half the learning rate, for low bit widths), 'modern', or the name of a
            paper's.
        epochs: Number of epochs; None for the recipe's own.

    Raises:
        UnknownNameError: No recipe has that name.
    """
    make = find_entry(RETRAINING, name).make
    return make() if epochs is None else make(epochs)


def find_supernet_recipe(name: str, epochs: int | None = None, batch: int | None = None) -> Recipe:
    """Return a recipe for training a supernet.

    Args:
        name: 'small', 'nse-small' (the same for multi-branch spaces), or the name of a paper's.
        epochs: Number of epochs; None for the recipe's own.
        batch: Number of images per step; None for the recipe's own.

    Raises:
        UnknownNameError: No recipe has that name.
    """
    given = {"epochs": epochs, "batch": batch}
    make = find_entry(SUPERNET, name).make
    return make(**{key: value for key, value in given.items() if value is not None})
