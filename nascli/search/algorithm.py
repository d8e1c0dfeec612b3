"""The interface between an algorithm and the rest of nascli: the descriptor that the algorithm's folder registers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, IntEnum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from nascli.errors import ConstraintError, Remedy, UnknownNameError
from nascli.progress import Phase
from nascli.search.base import Choices, Evaluation, Searcher
from nascli.search.plan import PlanRequest, TrainingPhase
from nascli.search.preset import Preset, change_known_fields
from nascli.spaces.space import Space
from nascli.spaces.staged import StagedSpace

if TYPE_CHECKING:
    from nascli.costmodel import Constraint, FeasibleSet
    from nascli.report.story import Story
    from nascli.search.problem import RankedCandidates, SearchContext, SearchProblem, SpaceRequest
    from nascli.search.verification import Finalist


# Short names of hyper-parameters that all algorithms share, and their fields in a preset.
COMMON_ALIASES: Mapping[str, str] = MappingProxyType(
    {"supernet_epochs": "supernet.epochs", "retrain_epochs": "retraining.epochs", "batch": "supernet.batch"}
)


def with_aliases(**names: str) -> Mapping[str, str]:
    """Return the common aliases and further ones."""
    return MappingProxyType({**COMMON_ALIASES, **names})


class SpaceKind(Enum):
    """A kind of space that an algorithm must support to search it. The value is its name in messages."""

    SINGLE_PATH = "a single-path space"
    MULTI_BRANCH = "a multi-branch space"
    STAGED = "a space of depths and widths"
    LOW_BIT = "a low-bit space"


def kinds_of(space: Space | StagedSpace) -> frozenset[SpaceKind]:
    """Return the kinds that an algorithm must accept to search a space."""
    if isinstance(space, StagedSpace):
        return frozenset({SpaceKind.STAGED})
    path = SpaceKind.MULTI_BRANCH if space.multi_branch else SpaceKind.SINGLE_PATH
    return frozenset({path, SpaceKind.LOW_BIT}) if space.low_bit else frozenset({path})


@dataclass(frozen=True)
class SearchRecord:
    """What a finished run recorded, from which its report draws pictures.

    Attributes:
        space: The space that was searched.
        winner: The architecture that won.
        evaluations: Every evaluation that gave a score, in order.
        story: The document that the algorithm wrote to story.json; empty where it wrote none.
        settings: The algorithm's own settings, as a JSON document.
    """

    space: Space
    winner: Choices
    evaluations: Sequence[Evaluation]
    story: Mapping[str, Any]
    settings: Mapping[str, Any]


def common_stories(record: SearchRecord) -> list[Story]:
    """Return the pictures of a run of any algorithm: the operators that good architectures have in common."""
    from nascli.report.story import evaluated_story

    evaluated = [(each.architecture, each.value) for each in record.evaluations]
    return [evaluated_story(record.space, evaluated, record.winner)]


class Algorithm(ABC):
    """A search algorithm.

    A package registers its own algorithms under the entry point ``nascli.algorithms``. The command line, the search
    job, and the report ask this descriptor for everything that depends on the algorithm; no other code compares names
    of algorithms. A descriptor imports torch only inside its methods, so that reading the registry stays fast.

    Attributes:
        name: The name by which users choose it, in lower case and without spaces.
        title: The name in sentences and headings.
        summary: One line for lists of algorithms.
        presets: Its presets by name; at least 'small', for a CPU and small images.
        accepts: The kinds of spaces that it can search.
        example_space: A space that it can search, which error messages propose.
        is_default: Whether it is the algorithm that searches where the user names none.
        trains_as_it_searches: Whether it trains a supernet of its own while it searches. Then a supernet that was
            trained beforehand is refused, and so are evaluations on a cluster.
        continues_runs: Whether it can continue a finished run in a second space; see `continue_run`.
        learns_spaces: Whether it learns a space before it searches; see `prepare_space`.
        aliases: Other names of hyper-parameters and of groups of them, such as ``{"evolution": "settings"}``.
        streams: The random streams of its own; None where it draws from the shared ones alone.
    """

    name: str
    title: str
    summary: str
    presets: Mapping[str, Preset]
    accepts: frozenset[SpaceKind]
    example_space: str
    is_default: bool = False
    trains_as_it_searches: bool = False
    continues_runs: bool = False
    learns_spaces: bool = False
    aliases: Mapping[str, str] = COMMON_ALIASES
    streams: type[IntEnum] | None = None

    def preset(self, name: str) -> Preset:
        """Return a preset by its name.

        Raises:
            UnknownNameError: The algorithm has no such preset.
        """
        if name not in self.presets:
            raise UnknownNameError("preset", name, list(self.presets))
        return self.presets[name]

    def change(self, preset: Preset, texts: Sequence[str]) -> Preset:
        """Return a preset with hyper-parameters changed by name, as `Preset.with_changes` describes.

        The algorithm's name is a further alias of the group 'settings'.
        """
        return preset.with_changes(texts, {self.name: "settings", **self.aliases})

    def require_accepts(self, space: Space | StagedSpace) -> None:
        """Refuse a space that this algorithm cannot search.

        Raises:
            ConstraintError: The space is of another kind.
        """
        if kinds_of(space) <= self.accepts:
            return
        refused = " and ".join(sorted(kind.value for kind in kinds_of(space) - self.accepts))
        accepted = " or ".join(sorted(kind.value for kind in self.accepts))
        raise ConstraintError(
            f"{self.title} needs {accepted}, and {space.name} is {refused}.",
            "Choose a space of that kind.",
            Remedy(arguments={"space": self.example_space}),
            Remedy(words="See the others.", job="list_spaces"),
        )

    def with_epochs(self, preset: Preset, epochs: int) -> Preset:
        """Return the preset with another number of epochs for whatever the search trains."""
        return preset.with_supernet_epochs(epochs)

    def with_retraining_epochs(self, preset: Preset, epochs: int) -> Preset:
        """Return the preset with another number of epochs for training from scratch."""
        return preset.with_retraining_epochs(epochs)

    def for_constraints(self, preset: Preset, constraints: Sequence[Constraint]) -> Preset:
        """Return what a preset is under constraints, where its paper distinguishes them.

        Args:
            preset: A preset of this algorithm, before the user changes anything.
            constraints: The budgets, parsed.
        """
        return preset

    def phases(self, preset: Preset, request: PlanRequest) -> tuple[TrainingPhase, ...]:
        """Return what a search trains before it knows its winner, for a plan that nobody runs."""
        return (TrainingPhase("supernet", "supernet", preset.supernet.epochs),)

    def trained_finalists(self, preset: Preset) -> int:
        """Return how many finalists are trained from scratch, the winner among them."""
        return 1

    def figures(self, preset: Preset, request: PlanRequest) -> Mapping[str, object]:
        """Return figures that follow from the settings and the budgets, by what they are."""
        return {}

    def with_searcher_settings(self, preset: Preset, values: Mapping[str, int]) -> tuple[Preset, list[str]]:
        """Change the settings of the searcher that the searcher has.

        Args:
            preset: A preset of this algorithm.
            values: New values by name, such as population, generations, or evaluations.

        Returns:
            The changed preset, and the names that this algorithm does not have.
        """
        searcher, unknown = change_known_fields(preset.searcher, values)
        return replace(preset, searcher=searcher), unknown

    def continue_run(self, space: Space, run: Path) -> Space:
        """Return the second space, extended by what a finished run in a first space hands on.

        Args:
            space: The second space.
            run: The folder of the finished run.

        Raises:
            ConstraintError: This algorithm continues no runs, or not this run in this space.
        """
        raise ConstraintError(
            f"{self.title} does not continue other runs.",
            "Leave that run out.",
            Remedy(arguments={"after": None}),
        )

    def announced_learning(self, request: SpaceRequest, preset: Preset) -> Sequence[Phase]:
        """Return the phases of `prepare_space` in their order; none where it learns nothing.

        Args:
            request: The space, the data, and the constraints that the user named.
            preset: All settings of the algorithm.
        """
        return ()

    def announced_phases(self, request: SpaceRequest, preset: Preset) -> Sequence[Phase]:
        """Return the phases of `find` in their order, as far as they are known; `nascli.search.phases` makes them.

        By default nothing is known: then the user sees the time left of each task alone.

        Args:
            request: The space, the data, and the constraints that the user named.
            preset: All settings of the algorithm.
        """
        return ()

    def prepare_space(
        self, request: SpaceRequest, context: SearchContext
    ) -> tuple[Space, Mapping[str, Any] | None]:
        """Return the space to search: the one that was asked for, or one that is learned from it.

        Args:
            request: The space, the data, and the constraints that the user named.
            context: Preset, seed, and folder; learning resumes in the folder.

        Returns:
            The space, and a JSON document about how it was learned; None where it was not learned.
        """
        assert isinstance(request.space, Space)
        return request.space, None

    @abstractmethod
    def find(self, problem: SearchProblem, context: SearchContext) -> RankedCandidates:
        """Search a problem. A search that was killed continues from the files in the context's folder.

        Args:
            problem: The space, its data, and its feasible set.
            context: Preset, seed, folder, and progress.

        Returns:
            Feasible candidates, best first, with a reserve for the verification on the device.
        """

    def resize(
        self, problem: SearchProblem, context: SearchContext, candidates: Sequence[Evaluation]
    ) -> Mapping[Choices, Space]:
        """Return spaces of other widths for the candidates that fit their budget better in them.

        Args:
            problem: The problem that was searched.
            context: Preset, seed, folder, and progress.
            candidates: The candidates that may become finalists.

        Returns:
            The spaces by architecture; a candidate that is left out keeps its widths.
        """
        return {}

    def choose(self, fitting: Sequence[Finalist], train: Callable[[Finalist], float]) -> Finalist:
        """Choose the winner among the finalists that keep the budget; by default the one with the highest score.

        Args:
            fitting: At least one finalist, in the order of the candidates.
            train: Trains a finalist from scratch and returns its validation top-1.
        """
        return max(fitting, key=lambda finalist: finalist.evaluation.required_score)

    def wider_search(self, preset: Mapping[str, Any]) -> tuple[Remedy, ...]:
        """Return what makes a search look at more architectures; by default nothing is known.

        Args:
            preset: The preset of a run as a JSON document.

        Returns:
            Remedies with words, whose arguments are those of a search.
        """
        return ()

    def stories(self, record: SearchRecord) -> list[Story]:
        """Return pictures of how the search went, for its report.

        By default there is one: the operators that good architectures have in common.
        """
        return common_stories(record)


class SearcherAlgorithm(Algorithm):
    """An algorithm that asks for architectures and learns from their scores.

    In a search, a supernet that was trained on uniformly sampled architectures gives the scores; in `nascli.optimise`,
    the user's own evaluator does.

    Attributes:
        is_default_searcher: Whether it is the one that `nascli.optimise` takes where the user names none.
    """

    accepts = frozenset({SpaceKind.SINGLE_PATH, SpaceKind.MULTI_BRANCH, SpaceKind.LOW_BIT})
    is_default_searcher: bool = False
    example_space = "proxyless-mini"

    def with_searcher_settings(self, preset: Preset, values: Mapping[str, int]) -> tuple[Preset, list[str]]:
        """Change the algorithm's own settings, which are those of its searcher."""
        settings, unknown = change_known_fields(preset.settings, values)
        return replace(preset, settings=settings), unknown

    @abstractmethod
    def searcher(self, feasible: FeasibleSet, settings: Any, rng: np.random.Generator) -> Searcher:
        """Make a searcher.

        Args:
            feasible: The architectures to search.
            settings: Settings of the type that presets and `settings_for` have.
            rng: The source of all randomness of the searcher.
        """

    @abstractmethod
    def settings_for(self, evaluations: int) -> Any:
        """Return settings with which a search takes about the given number of evaluations."""

    def evaluations(self, settings: Any) -> int | None:
        """Return how many architectures a search with these settings evaluates at most; None where it is not known."""
        return None

    def announced_phases(self, request: SpaceRequest, preset: Preset) -> Sequence[Phase]:
        """Return the training of the supernet, and the search by its scores."""
        from nascli.search.ranking import ranking_phases

        return ranking_phases(request, preset, self.evaluations(preset.settings))

    def find(self, problem: SearchProblem, context: SearchContext) -> RankedCandidates:
        """Train a supernet on uniformly sampled architectures, or take the given one, and search by its scores."""
        from nascli.search.ranking import rank_with_supernet

        return rank_with_supernet(self.searcher, context.preset.settings, problem, context)
