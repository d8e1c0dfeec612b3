"""The registry of recipes: for networks trained from scratch, and for supernets."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from nascli.errors import UnknownNameError
from nascli.plugins import load_members
from nascli.supernet.training.recipe import Recipe


@cache
def _recipes(table: str) -> dict[str, Callable[..., Recipe]]:
    """Return the recipes of all files of this folder that list them in a table of this name."""
    recipes: dict[str, Callable[..., Recipe]] = {}
    for module in load_members("nascli.supernet.recipes").values():
        recipes |= getattr(module, table, {})
    return recipes


def recipe_names() -> list[str]:
    """Return the names of all recipes for training from scratch: first the one for small images, then by alphabet."""
    return sorted(_recipes("RECIPES"), key=lambda name: (name != "small", name))


def find_recipe(name: str, epochs: int | None = None) -> Recipe:
    """Return a recipe for training from scratch.

    Args:
        name: 'small', 'counted' (the same at half the learning rate, for low bit widths), or the name of a paper's.
        epochs: Number of epochs; None for the recipe's own.

    Raises:
        UnknownNameError: No recipe has that name.
    """
    known = _recipes("RECIPES")
    if name not in known:
        raise UnknownNameError("recipe", name, recipe_names())
    return known[name]() if epochs is None else known[name](epochs)


def find_supernet_recipe(name: str, epochs: int, batch: int) -> Recipe:
    """Return a recipe for training a supernet.

    Args:
        name: 'small', 'nse-small' (the same for multi-branch spaces), or the name of a paper's.
        epochs: Number of epochs.
        batch: Number of images per step.

    Raises:
        UnknownNameError: No recipe has that name.
    """
    known = _recipes("SUPERNETS")
    if name not in known:
        raise UnknownNameError("recipe of a supernet", name, sorted(known))
    return known[name](epochs, batch)
