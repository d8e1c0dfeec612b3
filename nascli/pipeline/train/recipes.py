"""Recipes as users name and change them, for the jobs that train."""

from __future__ import annotations

from collections.abc import Sequence

from nascli.search.preset import change_recipe
from nascli.supernet.recipes.files import named_recipe
from nascli.supernet.training.recipe import Recipe


def chosen_recipe(kind: str, name: str, *, epochs: int | None = None, changes: Sequence[str] = ()) -> Recipe:
    """Return the recipe that a user names, with fields changed.

    Args:
        kind: 'retraining' for training from scratch, or 'supernet'.
        name: Name of a recipe of that kind, or a file that ends in .toml.
        epochs: Number of epochs; None for the recipe's own.
        changes: Fields by name, such as ``recipe.rate=0.4``.

    Raises:
        UnknownNameError: No recipe, or no field, has that name.
        ConstraintError: A value is not of its field's type.
        NascliError: The file cannot be read, or a value is out of its range.
    """
    recipe = named_recipe(kind, name, epochs)
    changed = change_recipe(recipe, changes)
    if changed.epochs == recipe.epochs:
        return changed
    # What a recipe says in epochs, such as a warm-up over two of them, follows their new number.
    return change_recipe(named_recipe(kind, name, changed.epochs), changes)
