"""Presets: all settings of one algorithm, with its recipes, and how a user changes them by name."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from typing import Any

from nascli.errors import ConstraintError, NascliError, UnknownNameError
from nascli.supernet.data.options import TRAINING_PARTS
from nascli.supernet.training.recipe import Recipe

_WORDS = {"true": True, "false": False, "none": None}


@dataclass(frozen=True)
class Preset:
    """All settings of one algorithm.

    Attributes:
        settings: The algorithm's own settings, a frozen dataclass.
        supernet: The recipe of the supernet that ranks architectures. Where there are several supernets one after the
            other, each of them trains by it.
        retraining: The recipe by which networks train from scratch: the winner, the baselines, and the finalists of an
            algorithm that chooses the winner by training.
        searcher: The settings of the searcher of a learned space; None where the algorithm learns no space.
        space_recipe: The recipe of the supernet on which a space is learned; None where the algorithm learns no space.
        finalists: The number of candidates that are measured together.
        calibration_images: The number of training images on which normalisation statistics are recalculated.
        final_on: What the winner and the baselines train on: 'train' for the training part, or 'all' for the training
            and validation parts together.

    Raises:
        NascliError: `finalists` or `calibration_images` is below 1, or `final_on` is something else.
    """

    settings: Any
    supernet: Recipe
    retraining: Recipe
    searcher: Any = None
    space_recipe: Recipe | None = None
    finalists: int = 5
    calibration_images: int = 128
    final_on: str = "train"

    def __post_init__(self) -> None:
        if self.final_on not in TRAINING_PARTS:
            raise NascliError(f"final_on must be {' or '.join(TRAINING_PARTS)}, got {self.final_on!r}")
        for name in ("finalists", "calibration_images"):
            if getattr(self, name) < 1:
                raise NascliError(f"{name} >= 1 must hold, got {getattr(self, name)}")

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        document = asdict(self)
        for name in ("supernet", "retraining", "space_recipe"):
            recipe = getattr(self, name)
            document[name] = recipe and recipe.to_json()
        # A field that came later: documents of presets that do not use it stay as they were.
        if self.final_on == "train":
            del document["final_on"]
        return document

    def with_supernet_epochs(self, epochs: int) -> Preset:
        """Return the preset with another number of epochs for its supernets."""
        space_recipe = self.space_recipe and replace(self.space_recipe, epochs=epochs)
        return replace(self, supernet=replace(self.supernet, epochs=epochs), space_recipe=space_recipe)

    def with_retraining_epochs(self, epochs: int) -> Preset:
        """Return the preset with another number of epochs for training from scratch."""
        return replace(self, retraining=replace(self.retraining, epochs=epochs))

    def with_changes(self, texts: Sequence[str], aliases: Mapping[str, str] | None = None) -> Preset:
        """Return the preset with hyper-parameters changed by name.

        All changes are made at once, so that a rule about two of them checks both new values.

        Args:
            texts: ``GROUP.NAME=VALUE`` such as ``settings.lock=false`` or ``supernet.rate=0.1``, or ``NAME=VALUE`` for
                a field of the preset itself. Groups may be nested: ``settings.fitness.betas=0,0.999``.
            aliases: Other names for groups and fields, such as ``{"nse": "settings"}``.

        Raises:
            UnknownNameError: There is no such group or hyper-parameter.
            ConstraintError: A value is not of the type of its field.
            NascliError: A value breaks a rule of the settings.
        """
        changed = _change_by_name(self, texts, aliases or {})
        assert isinstance(changed, Preset)
        return changed


def change_recipe(recipe: Recipe, texts: Sequence[str]) -> Recipe:
    """Return a recipe with fields changed by name.

    Args:
        recipe: A recipe.
        texts: ``recipe.NAME=VALUE``, such as ``recipe.rate=0.4``.

    Raises:
        UnknownNameError: Recipes have no such field.
        ConstraintError: A value is not of the type of its field.
        NascliError: A value is out of its range.
    """
    for text in texts:
        name, sign, _ = text.partition("=")
        if sign and "." not in name:
            known = [f"recipe.{field.name}" for field in fields(recipe)]
            raise UnknownNameError("field of a recipe", name.strip(), known)
    changed = _change_by_name(_RecipeGroup(recipe), texts, {})
    assert isinstance(changed, _RecipeGroup)
    return changed.recipe


@dataclass(frozen=True)
class _RecipeGroup:
    """What holds the group 'recipe' where there is no preset."""

    recipe: Recipe


def _change_by_name(holder: Any, texts: Sequence[str], aliases: Mapping[str, str]) -> Any:
    """Return a dataclass with what texts say changed; see `Preset.with_changes`."""
    changes: dict[str, Any] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign:
            example = "finalists=3" if isinstance(holder, Preset) else "recipe.rate=0.4"
            raise ConstraintError(f"a hyper-parameter is set as NAME=VALUE such as {example}, not {text!r}.")
        for path in _paths(name.strip(), aliases):
            _put(changes, path, value)
    return _with_changes(holder, changes, sorted(aliases))


def change_known_fields(holder: Any, values: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """Change the fields of a dataclass that it has.

    Args:
        holder: A frozen dataclass, or anything without fields, such as None.
        values: New values by the names of fields.

    Returns:
        The changed dataclass, and the names that are not fields of it.
    """
    known = {field.name for field in fields(holder)} if is_dataclass(holder) else set()
    changes = {name: value for name, value in values.items() if name in known}
    return (replace(holder, **changes) if changes else holder), [name for name in values if name not in known]


def _paths(name: str, aliases: Mapping[str, str]) -> list[list[str]]:
    """Return the fields that lead to a hyper-parameter; the longest alias that matches replaces its words.

    An alias of several hyper-parameters names them with spaces in between.
    """
    if name in aliases:
        return [path.split(".") for path in aliases[name].split()]
    group, dot, field = name.rpartition(".")
    return [[*path, field] for path in _paths(group, aliases)] if dot else [[name]]


def _put(changes: dict[str, Any], path: Sequence[str], value: str) -> None:
    """Note the new value of a hyper-parameter.

    Raises:
        ConstraintError: The name stands for a hyper-parameter and for a group at the same time.
    """
    *groups, last = path
    for group in groups:
        changes = changes.setdefault(group, {})
        if not isinstance(changes, dict):
            raise ConstraintError(f"{group} is set to a value, and {'.'.join(path)} takes it for a group.")
    if isinstance(changes.get(last), dict):
        raise ConstraintError(
            f"{last} is a group of which hyper-parameters are set, and has no value itself."
        )
    changes[last] = value


def _with_changes(holder: Any, changes: Mapping[str, Any], aliases: Sequence[str]) -> Any:
    """Return a dataclass with fields changed; a mapping among the changes is for a dataclass inside it."""
    groups = [field.name for field in fields(holder) if is_dataclass(getattr(holder, field.name))]
    values: dict[str, Any] = {}
    for name, change in changes.items():
        if isinstance(change, str):
            values[name] = _value(holder, name, change)
        elif name in groups:
            values[name] = _with_changes(getattr(holder, name), change, ())
        else:
            raise UnknownNameError("group of hyper-parameters", name, sorted({*groups, *aliases}))
    return replace(holder, **values)


def _value(holder: Any, name: str, text: str) -> Any:
    """Convert a text to the type of a field of a dataclass."""
    hints = typing.get_type_hints(type(holder))
    plain = [field.name for field in fields(holder) if _is_plain(hints[field.name])]
    if name not in plain:
        raise UnknownNameError("hyper-parameter", name, plain)
    hint = typing.get_type_hints(type(holder))[name]
    kinds = [kind for kind in (typing.get_args(hint) or (hint,)) if kind is not ...]
    word = text.strip()
    if typing.get_origin(hint) is tuple:
        try:
            return tuple(kinds[0](part) for part in word.split(","))
        except ValueError as error:
            raise ConstraintError(f"{name} takes numbers with commas between them, not {text!r}.") from error
    if word.lower() in _WORDS and type(_WORDS[word.lower()]) in kinds:
        return _WORDS[word.lower()]
    for kind in kinds:
        if kind in (int, float, str):
            try:
                return kind(word)
            except ValueError:
                continue
    types = " or ".join("none" if kind is type(None) else kind.__name__ for kind in kinds)
    raise ConstraintError(f"{name} takes {types}, not {text!r}.")


def _is_plain(hint: Any) -> bool:
    """Whether values of a type can be written in one word, or as numbers with commas between them."""
    kinds = [kind for kind in (typing.get_args(hint) or (hint,)) if kind is not ...]
    return all(kind in (int, float, str, bool, type(None)) for kind in kinds)
