"""Recipes that are known, and what their papers say about each field, as records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from nascli.errors import UnknownNameError
from nascli.supernet.recipes.entry import KINDS, RecipeEntry
from nascli.supernet.recipes.registry import recipe_entries, recipe_names
from nascli.supernet.training.recipe import Recipe

Value = bool | int | float | str | tuple[float, ...]


@dataclass(frozen=True)
class RecipeRow:
    """A recipe in short.

    Attributes:
        name: Its name on the command line.
        kind: 'retraining' for networks trained from scratch, or 'supernet'.
        about: A line about it.
        epochs: Its number of epochs.
        batch: Its number of images per step.
        optimizer: Its optimiser.
        rate: Its highest learning rate.
        schedule: How the learning rate falls.
        open_fields: The fields about which the paper leaves open what its authors did.
    """

    name: str
    kind: str
    about: str
    epochs: int
    batch: int
    optimizer: str
    rate: float
    schedule: str
    open_fields: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """The row as a document."""
        return {**asdict(self), "open_fields": list(self.open_fields)}


@dataclass(frozen=True)
class RecipeField:
    """One field of a recipe.

    Attributes:
        name: Its name.
        value: Its value.
        mark: 'stated' in the paper, 'referred' to another work by it, left 'open' by it, 'absent', about
            'computing' a step, 'chosen' by nascli, or 'unused'.
        where: Section or table of the paper; empty where it does not speak of the field.
        words: What the paper says, in short; for an open field, what is taken and why.
    """

    name: str
    value: Value
    mark: str
    where: str
    words: str

    def to_json(self) -> dict[str, object]:
        """The field as a document."""
        return {**asdict(self), "value": plain_value(self.value)}


@dataclass(frozen=True)
class RecipeDescription:
    """A recipe in full.

    Attributes:
        name: Its name on the command line.
        kind: 'retraining' for networks trained from scratch, or 'supernet'.
        about: A line about it.
        paper: The paper that it is from; empty for one of nascli's own.
        fields: All its fields, in the order of `Recipe`.
    """

    name: str
    kind: str
    about: str
    paper: str
    fields: tuple[RecipeField, ...]

    def to_json(self) -> dict[str, object]:
        """The recipe as a document."""
        return {
            "name": self.name,
            "kind": self.kind,
            "about": self.about,
            "paper": self.paper,
            "fields": [field.to_json() for field in self.fields],
        }


def plain_value(value: object) -> object:
    """A value of a field as JSON has it."""
    return list(value) if isinstance(value, tuple) else value


def values_of(recipe: Recipe) -> Mapping[str, Value]:
    """All fields of a recipe by name, including those at their defaults."""
    return {field.name: getattr(recipe, field.name) for field in fields(recipe)}


def list_recipes() -> list[RecipeRow]:
    """All recipes in short: first those for training from scratch, then those of supernets."""
    order = [(kind, name) for kind in KINDS for name in recipe_names(kind)]
    entries = {(entry.kind, entry.name): entry for entry in recipe_entries()}
    return [_row(entries[key]) for key in order]


def _row(entry: RecipeEntry) -> RecipeRow:
    recipe = entry.recipe
    return RecipeRow(
        name=entry.name,
        kind=entry.kind,
        about=entry.about,
        epochs=recipe.epochs,
        batch=recipe.batch,
        optimizer=recipe.optimizer,
        rate=recipe.rate,
        schedule=recipe.schedule,
        open_fields=entry.open_fields,
    )


def describe_recipe(name: str) -> list[RecipeDescription]:
    """The recipes of a name in full: that for training from scratch, that of a supernet, or both.

    Raises:
        UnknownNameError: No recipe has that name.
    """
    found = [
        entry for kind in KINDS for entry in recipe_entries() if (entry.kind, entry.name) == (kind, name)
    ]
    if not found:
        known = dict.fromkeys(each for kind in KINDS for each in recipe_names(kind))
        raise UnknownNameError("recipe", name, list(known))
    return [
        RecipeDescription(
            entry.name, entry.kind, entry.about, entry.paper, described_fields(entry, entry.recipe)
        )
        for entry in found
    ]


def described_fields(entry: RecipeEntry, recipe: Recipe) -> tuple[RecipeField, ...]:
    """The fields of a recipe with the notes of its entry.

    Args:
        entry: The entry from which the recipe was made.
        recipe: The recipe, at any number of epochs.
    """
    rows = []
    for name, value in values_of(recipe).items():
        note = entry.note(name)
        rows.append(RecipeField(name, value, note.mark, note.where, note.words))
    return tuple(rows)
