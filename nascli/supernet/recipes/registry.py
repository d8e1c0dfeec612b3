"""Recipes by name: for networks trained from scratch, and for supernets."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from nascli.errors import UnknownNameError
from nascli.plugins import load_members
from nascli.supernet.training.recipe import Recipe


@cache
def _recipes(kind: str) -> dict[str, Callable[..., Recipe]]:
    # A file beside this one lists its own in RECIPES and SUPERNETS.
    recipes: dict[str, Callable[..., Recipe]] = {}
    for module in load_members("nascli.supernet.recipes").values():
        recipes |= getattr(module, kind, {})
    return recipes


def recipe_names() -> list[str]:
    """The names of all recipes for training from scratch, the one for small data first."""
    return sorted(_recipes("RECIPES"), key=lambda name: (name != "small", name))


def find_recipe(name: str, epochs: int | None = None) -> Recipe:
    """A recipe for training from scratch, by its name.

    Args:
        name: 'small', 'counted' (the same at half the rate, for low bit widths), or a paper's.
        epochs: How long to train; None for the recipe's own number.

    Raises:
        UnknownNameError: No recipe has that name.
    """
    known = _recipes("RECIPES")
    if name not in known:
        raise UnknownNameError("recipe", name, recipe_names())
    return known[name]() if epochs is None else known[name](epochs)


def find_supernet_recipe(name: str, epochs: int, batch: int) -> Recipe:
    """A recipe for training a supernet, by its name.

    Raises:
        UnknownNameError: No recipe has that name.
    """
    known = _recipes("SUPERNETS")
    if name not in known:
        raise UnknownNameError("recipe of a supernet", name, sorted(known))
    return known[name](epochs, batch)
