"""Everything that a search would use, without running it: settings, recipes, figures, and how long it would train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from nascli.costmodel import parse_constraint
from nascli.errors import DataError, RuntimeUnavailableError
from nascli.search.plan import PlanRequest, TrainingPhase
from nascli.search.preset import Preset
from nascli.search.registry import find_algorithm
from nascli.spaces.catalog import load_space_of_any_kind, make_space_of_any_kind
from nascli.spaces.space import Space
from nascli.spaces.staged import StagedSpace
from nascli.supernet.data.images import count_images, parameters_for_data
from nascli.supernet.data.options import DataOptions
from nascli.supernet.recipes.entry import RETRAINING, SUPERNET
from nascli.supernet.recipes.registry import recipe_entries
from nascli.supernet.training.recipe import Recipe

# The recipes of a preset, and of which kind each is.
_GROUPS = {"space_recipe": SUPERNET, "supernet": SUPERNET, "retraining": RETRAINING}


@dataclass(frozen=True)
class PlannedRecipe:
    """A recipe that a search would use.

    Attributes:
        group: The field of the preset that has it: 'space_recipe', 'supernet', or 'retraining'.
        name: The name of the recipe in the registry at this number of epochs; None where a field was changed.
        values: All its fields by name.
    """

    group: str
    name: str | None
    values: Mapping[str, Any]


@dataclass(frozen=True)
class PlannedPhase:
    """Something that a search would train.

    Attributes:
        title: What is trained.
        group: The field of the preset that has its recipe.
        epochs: The number of epochs of one training.
        trainings: How many such trainings there are, at most.
        on: The images: 'train' for the training part, or 'all' for the training and validation parts together.
        steps: The number of steps of one training; None where the size of the data is not known.
    """

    title: str
    group: str
    epochs: int
    trainings: int
    on: str
    steps: int | None


@dataclass(frozen=True)
class SearchPlan:
    """What a search would use.

    Attributes:
        algorithm: The name of the algorithm.
        space: The name and the parameters of the space, completed by those of the data where it can be read here.
        data: The name of the data set.
        constraints: The budgets as text.
        images: The number of training images; None where the data cannot be read here.
        held_out: The number of validation images; None where the data cannot be read here.
        no_images: Why it cannot be read; None where it can.
        settings: The hyper-parameters by name, such as 'settings.population'.
        figures: What follows from them and from the budgets, by what it is.
        recipes: The recipes.
        phases: What would be trained, in order.
    """

    algorithm: str
    space: str
    data: str
    constraints: tuple[str, ...]
    images: int | None
    held_out: int | None
    no_images: str | None
    settings: Mapping[str, Any]
    figures: Mapping[str, Any]
    recipes: tuple[PlannedRecipe, ...]
    phases: tuple[PlannedPhase, ...]

    def to_json(self) -> dict[str, object]:
        """The plan as a document."""
        return {**asdict(self), "constraints": list(self.constraints)}


def plan_search(
    algorithm: str,
    preset: Preset,
    *,
    space: str,
    data: str,
    constraints: tuple[str, ...] = (),
    supernet: str | None = None,
    after: str | None = None,
    options: DataOptions = DataOptions(),
) -> SearchPlan:
    """Plan a search, and run nothing of it.

    Args:
        algorithm: The algorithm's name.
        preset: All its settings.
        space: The name and the parameters of the space.
        data: The name of a data set, or a name and a folder. Where it cannot be read here, steps are not known.
        constraints: The budgets in the user's words; there may be none.
        supernet: A checkpoint that would be used instead of training a supernet.
        after: A finished run that the search would go on from.
        options: How the data set is split and read.

    Raises:
        UnknownNameError: No algorithm, space, or data set has that name.
        ConstraintError: The algorithm cannot search the space, or a constraint cannot be read.
    """
    descriptor = find_algorithm(algorithm)
    named = load_space_of_any_kind(space)
    descriptor.require_accepts(named)
    if after is not None:
        assert isinstance(named, Space)
        named = descriptor.continue_run(named, Path(after))
    sizes, reason = None, None
    try:
        named = make_space_of_any_kind(named.name, **parameters_for_data(named, data))
        sizes = count_images(data, options)
    except (DataError, RuntimeUnavailableError) as error:
        # A plan is made before the data are there.
        reason = error.message
    parsed = tuple(parse_constraint(text) for text in constraints)
    request = PlanRequest(named, parsed, continues=after is not None)
    phases = descriptor.phases(preset, request)
    if supernet is not None:
        phases = tuple(phase for phase in phases if phase.group != "supernet")
    phases += _retrainings(preset, descriptor.trained_finalists(preset), named)
    groups = {name: getattr(preset, name) for name in _GROUPS}
    return SearchPlan(
        algorithm=algorithm,
        space=named.spec,
        data=data,
        constraints=tuple(str(constraint) for constraint in parsed),
        images=None if sizes is None else sizes[0],
        held_out=None if sizes is None else sizes[1],
        no_images=reason,
        settings=settings_by_name(preset),
        figures=dict(descriptor.figures(preset, request)),
        recipes=tuple(
            _planned_recipe(group, recipe) for group, recipe in groups.items() if recipe is not None
        ),
        phases=tuple(_planned_phase(phase, groups[phase.group], sizes) for phase in phases),
    )


def _retrainings(preset: Preset, finalists: int, space: Space | StagedSpace) -> tuple[TrainingPhase, ...]:
    """The trainings from scratch at the end: finalists or the winner alone, and the baselines beside it."""
    epochs = preset.retraining.epochs
    # The largest feasible network says nothing in a space of bit widths, which do not change MACs.
    baselines = 1 if isinstance(space, Space) and space.low_bit else 2
    phases = []
    if finalists > 1:
        phases.append(TrainingPhase("finalists from scratch", "retraining", epochs, finalists))
    if finalists == 1 or preset.final_on != "train":
        # The winner is one of the finalists where it trains on the same images as they do.
        phases.append(TrainingPhase("winner from scratch", "retraining", epochs, 1, preset.final_on))
    phases.append(TrainingPhase("baselines from scratch", "retraining", epochs, baselines, preset.final_on))
    return tuple(phases)


def _planned_recipe(group: str, recipe: Recipe) -> PlannedRecipe:
    values = {field.name: getattr(recipe, field.name) for field in fields(recipe)}
    known = [entry for entry in recipe_entries() if entry.kind == _GROUPS[group]]
    name = next((entry.name for entry in known if entry.make(recipe.epochs) == recipe), None)
    return PlannedRecipe(group, name, values)


def _planned_phase(phase: TrainingPhase, recipe: Recipe, sizes: tuple[int, int] | None) -> PlannedPhase:
    """A phase with its steps, from the sizes of the training and the validation part."""
    steps = None
    if sizes is not None:
        images = sizes[0] if phase.on == "train" else sum(sizes)
        steps = phase.epochs * max(1, images // recipe.batch)
    return PlannedPhase(phase.title, phase.group, phase.epochs, phase.trainings, phase.on, steps)


def settings_by_name(preset: Preset) -> dict[str, Any]:
    """The settings of a preset by name, such as 'settings.population', without its recipes."""
    settings: dict[str, Any] = {}
    for field in fields(preset):
        value = getattr(preset, field.name)
        if field.name in _GROUPS or value is None:
            continue
        settings |= _by_name(field.name, value)
    return settings


def _by_name(name: str, value: Any) -> dict[str, Any]:
    """A value by its name; of a dataclass, its fields by theirs."""
    if not is_dataclass(value):
        return {name: value}
    flat: dict[str, Any] = {}
    for field in fields(value):
        flat |= _by_name(f"{name}.{field.name}", getattr(value, field.name))
    return flat
