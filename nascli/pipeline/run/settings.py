"""Everything that decides what a search finds; two runs with equal settings and table find the same."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nascli.costmodel import Constraint, parse_constraint
from nascli.costmodel.constraints import intersect
from nascli.errors import ConstraintError, Remedy
from nascli.execution import Execution
from nascli.pipeline.train.teacher_source import TeacherSource
from nascli.profiles.devices.device import this_cpu
from nascli.profiles.target import TargetSpec
from nascli.search.algorithm import Algorithm
from nascli.search.preset import Preset
from nascli.search.registry import default_algorithm, find_algorithm, loadable_algorithms
from nascli.supernet.data.options import DataOptions

VERSION = 2


@dataclass(frozen=True)
class SearchSettings:
    """What to search, where, under which budgets.

    Attributes:
        space: A space's name and parameters, or a user's file.
        data: A data set, or NAME:FOLDER.
        budgets: The constraints in the user's words, such as 'latency=8ms'.
        target: Where latency is measured, and the batch of the exported model.
        algorithm: The name of an algorithm.
        preset: All settings of that algorithm; None for its preset 'small'.
        seed: Of everything random.
        confidence: With which the latency model must say that a budget is kept; None takes its figure as it is.
        supernet: A checkpoint of `nascli supernet train`, instead of training one.
        after: A finished run that a second space goes on from.
        teacher: What the final networks learn from beside the labels; None for the labels alone.
        measure: Whether the winner and its baselines are measured end to end where no budget is a latency. A search
            under a latency measures them in any case, so that this changes nothing there.
        execution: The store and the cluster that the search uses. Nothing in it changes what a search finds, so
            `to_json` leaves it out.
        data_options: How the data set is split and read.
        constraints: The budgets, parsed; a latency without a device is about the target's.

    Raises:
        UnknownNameError: No algorithm has that name.
        ConstraintError: No budget is given, a budget names a device of a cost that depends on none, budgets contradict
            each other, or the algorithm does not take an option.
    """

    space: str
    data: str
    budgets: tuple[str, ...]
    target: TargetSpec
    algorithm: str = field(default_factory=default_algorithm)
    preset: Preset | None = None
    seed: int = 0
    confidence: float | None = None
    supernet: str | None = None
    after: str | None = None
    teacher: TeacherSource | None = None
    measure: bool = False
    execution: Execution = field(default_factory=Execution)
    data_options: DataOptions = field(default_factory=DataOptions)
    constraints: tuple[Constraint, ...] = field(init=False)

    def __post_init__(self) -> None:
        _require_preset(self)
        _require_options(self)
        if not self.budgets:
            raise ConstraintError("a search needs at least one constraint, such as latency=8ms.")
        object.__setattr__(self, "constraints", _parse_budgets(self.budgets, self.target.device))

    @property
    def descriptor(self) -> Algorithm:
        """The algorithm."""
        return find_algorithm(self.algorithm)

    @property
    def effort(self) -> Preset:
        """All settings of the algorithm."""
        return self.preset or self.descriptor.preset("small")

    @property
    def bounds_latency(self) -> bool:
        """Whether a budget is a latency, here or on another device."""
        return any(constraint.name == "latency" for constraint in self.constraints)

    @property
    def measures_networks(self) -> bool:
        """Whether networks are measured end to end."""
        return self.measure or self.bounds_latency

    def to_json(self) -> dict[str, Any]:
        """As a JSON document of all that decides the result."""
        # Under a latency it says nothing; documents of runs without it stay as they were.
        measure = {"measure": True} if self.measure and not self.bounds_latency else {}
        return {
            "version": VERSION,
            "space": self.space,
            "data": self.data,
            "constraints": list(self.budgets),
            "where": self.target.to_json(),
            "algorithm": self.algorithm,
            "seed": self.seed,
            "preset": self.effort.to_json(),
            "confidence": self.confidence,
            "supernet": self.supernet,
            "after": self.after,
            # Left out where there is none, as in the settings of runs that know no teachers.
            **({} if self.teacher is None else {"teacher": self.teacher.to_json()}),
            **self.data_options.to_json(),
            **measure,
        }

    @property
    def default_folder(self) -> Path:
        """Where a run goes when the user names no folder; its name tells runs apart."""
        parts = [self.algorithm, self.space, self.data, *self.budgets, f"seed{self.seed}"]
        parts += [] if self.teacher is None else ["taught-by", self.teacher.name]
        return Path("runs") / re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(parts)).strip("-.")[:120]


def choose_preset(
    algorithm: str,
    name: str = "small",
    *,
    supernet_epochs: int | None = None,
    retrain_epochs: int | None = None,
    searcher: Mapping[str, int | None] | None = None,
    changes: Sequence[str] = (),
    budgets: Sequence[str] = (),
) -> tuple[Preset, list[str]]:
    """The settings of an algorithm by a preset's name, with what a user says otherwise.

    Args:
        algorithm: The algorithm's name.
        name: 'small' for a CPU and small images, 'paper' for what the paper did on ImageNet.
        supernet_epochs: Of whatever the search trains.
        retrain_epochs: Of training from scratch.
        searcher: Settings of the searcher, such as population, generations, or evaluations; None leaves one alone.
        changes: Hyper-parameters by name, such as ``nse.threshold=-3``.
        budgets: The constraints in the user's words; a paper may have other settings under some of them.

    Returns:
        The settings, and the names in `searcher` that mean nothing to this algorithm.

    Raises:
        UnknownNameError: No such algorithm, preset, group, or hyper-parameter.
        ConstraintError: A value is not of its type, or a constraint cannot be read.
        NascliError: A rule of the settings refuses a value.
    """
    descriptor = find_algorithm(algorithm)
    preset = descriptor.for_constraints(descriptor.preset(name), [parse_constraint(text) for text in budgets])
    given = {key: value for key, value in (searcher or {}).items() if value is not None}
    preset, unused = descriptor.with_searcher_settings(preset, given)
    if supernet_epochs is not None:
        preset = descriptor.with_epochs(preset, supernet_epochs)
    if retrain_epochs is not None:
        preset = descriptor.with_retraining_epochs(preset, retrain_epochs)
    return descriptor.change(preset, changes), unused


def _require_preset(settings: SearchSettings) -> None:
    """Refuse the settings of another algorithm."""
    own, given = settings.descriptor.preset("small"), settings.effort
    for name in ("settings", "searcher", "space_recipe"):
        expected, actual = type(getattr(own, name)), type(getattr(given, name))
        if expected is not actual:
            raise ConstraintError(
                f"the preset is not one of {settings.descriptor.title}: its {name} are of the type "
                f"{actual.__name__}, not {expected.__name__}.",
                "Change a preset of that algorithm.",
            )


def _require_options(settings: SearchSettings) -> None:
    """Refuse options that the algorithm does not take."""
    algorithm = settings.descriptor
    if settings.after is not None and not algorithm.continues_runs:
        raise ConstraintError(
            f"{algorithm.title} does not go on from a finished run.",
            f"Leave that run out, or choose {_choices(lambda a: a.continues_runs)}.",
            Remedy(arguments={"after": None, "algorithm": None}),
        )
    if settings.supernet is not None and (algorithm.trains_as_it_searches or algorithm.learns_spaces):
        raise ConstraintError(
            f"{algorithm.title} trains its own supernet as it searches, and takes none that was trained beforehand.",
            f"Leave that supernet out, or choose {_choices(_shares_supernet)}.",
            Remedy(arguments={"supernet": None, "algorithm": None}),
        )
    if settings.execution.ray is not None and algorithm.trains_as_it_searches:
        raise ConstraintError(
            f"a cluster spreads evaluations, and {algorithm.title} evaluates between steps of its training.",
            f"Leave the cluster out, or choose {_choices(_shares_supernet)}.",
            Remedy(arguments={"ray": None, "algorithm": None}),
        )


def _shares_supernet(algorithm: Algorithm) -> bool:
    return not (algorithm.trains_as_it_searches or algorithm.learns_spaces)


def _choices(suits: Callable[[Algorithm], bool]) -> str:
    """The names of the algorithms that suit, for a hint."""
    names = [name for name, algorithm in loadable_algorithms().items() if suits(algorithm)]
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _parse_budgets(texts: Sequence[str], device: str) -> tuple[Constraint, ...]:
    """The constraints; a latency on the device that is measured on needs not name it."""
    parsed = []
    for constraint in map(parse_constraint, texts):
        if constraint.device is None:
            parsed.append(constraint)
            continue
        if constraint.name != "latency":
            raise ConstraintError(f"{constraint}: {constraint.name} is the same on every device.")
        here = {"cpu", this_cpu().key} if device in ("cpu", this_cpu().key) else {device}
        parsed.append(replace(constraint, device=None) if constraint.device in here else constraint)
    return intersect(parsed)
