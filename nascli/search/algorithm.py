"""What an algorithm is to the rest of nascli: a descriptor that its folder registers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from nascli.errors import ConstraintError, UnknownNameError
from nascli.search.base import Choices, Evaluation, Searcher
from nascli.search.preset import Preset, change_known_fields
from nascli.spaces.space import Space
from nascli.spaces.staged import StagedSpace

if TYPE_CHECKING:
    from nascli.costmodel import FeasibleSet
    from nascli.report.story import Story
    from nascli.search.problem import RankedCandidates, SearchContext, SearchProblem, SpaceRequest
    from nascli.search.verification import Finalist


# Names of hyper-parameters that all algorithms share, and where a preset has them.
COMMON_ALIASES: Mapping[str, str] = MappingProxyType(
    {"supernet_epochs": "supernet.epochs", "retrain_epochs": "retraining.epochs", "batch": "supernet.batch"}
)


def with_aliases(**names: str) -> Mapping[str, str]:
    """The common aliases and further ones."""
    return MappingProxyType({**COMMON_ALIASES, **names})


class SpaceKind(Enum):
    """What a space may be; the value is the word for people."""

    SINGLE_PATH = "single-path"
    MULTI_BRANCH = "multi-branch"
    STAGED = "a space of depths and widths"
    LOW_BIT = "low-bit"


def kinds_of(space: Space | StagedSpace) -> frozenset[SpaceKind]:
    """What an algorithm must accept to search a space."""
    if isinstance(space, StagedSpace):
        return frozenset({SpaceKind.STAGED})
    path = SpaceKind.MULTI_BRANCH if space.multi_branch else SpaceKind.SINGLE_PATH
    return frozenset({path, SpaceKind.LOW_BIT}) if space.low_bit else frozenset({path})


@dataclass(frozen=True)
class SearchRecord:
    """What a finished run wrote down, for the pictures of its report.

    Attributes:
        space: The space that was searched.
        winner: The winner's choices.
        evaluations: Every evaluation that gave a score, in order.
        story: What the algorithm kept in the run's folder; empty where it kept nothing.
        settings: The algorithm's own settings, as a JSON document.
    """

    space: Space
    winner: Choices
    evaluations: Sequence[Evaluation]
    story: Mapping[str, Any]
    settings: Mapping[str, Any]


class Algorithm(ABC):
    """A search algorithm.

    A package registers its own under the entry point ``nascli.algorithms``. Everything that the command line, the job
    of a search, and the report need to know about an algorithm, they ask its descriptor; nothing else compares names.
    A descriptor imports torch only inside its methods.

    Attributes:
        name: The name on the command line.
        title: The name for people.
        summary: One line for `--help`.
        presets: All settings, by the preset's name: at least 'small', for a CPU and small images.
        accepts: The kinds of spaces that it searches.
        example_space: A space that it searches, which errors propose.
        is_default: Whether it is the one that searches where a user names none.
        trains_as_it_searches: Whether it trains a supernet of its own while it searches. A supernet that was trained
            beforehand, and evaluations on a cluster, are refused then.
        continues_runs: Whether it can go on in a second space after a finished run; see `continue_run`.
        learns_spaces: Whether it learns a space first; see `prepare_space`.
        aliases: Other names of groups of hyper-parameters and of hyper-parameters, such as ``{"nse": "settings"}``.
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

    def preset(self, name: str) -> Preset:
        """A preset by its name.

        Raises:
            UnknownNameError: The algorithm has no such preset.
        """
        if name not in self.presets:
            raise UnknownNameError("preset", name, list(self.presets))
        return self.presets[name]

    def change(self, preset: Preset, texts: Sequence[str]) -> Preset:
        """A preset with hyper-parameters changed by name; `Preset.with_changes` says how, and what it raises.

        Beside the names of the preset's own fields, the algorithm's name stands for its settings.
        """
        return preset.with_changes(texts, {self.name: "settings", **self.aliases})

    def require_accepts(self, space: Space | StagedSpace) -> None:
        """Refuse a space that this algorithm cannot search.

        Raises:
            ConstraintError: The space is of another kind.
        """
        if kinds_of(space) <= self.accepts:
            return
        words = " and ".join(sorted(kind.value for kind in kinds_of(space) - self.accepts))
        wanted = " or ".join(sorted(kind.value for kind in self.accepts))
        raise ConstraintError(
            f"{self.title} searches {wanted} spaces, and {space.name} is {words}.",
            f"Choose --space {self.example_space} or another one of that kind: nascli spaces",
        )

    def with_epochs(self, preset: Preset, epochs: int) -> Preset:
        """The preset with another number of epochs for whatever the search trains."""
        return preset.with_supernet_epochs(epochs)

    def with_searcher_settings(self, preset: Preset, values: Mapping[str, int]) -> tuple[Preset, list[str]]:
        """The preset with settings of its searcher changed, as far as the searcher has them.

        Args:
            preset: One of this algorithm's.
            values: Such as population, generations, or evaluations.

        Returns:
            The preset, and the names that mean nothing to this algorithm.
        """
        searcher, unknown = change_known_fields(preset.searcher, values)
        return replace(preset, searcher=searcher), unknown

    def continue_run(self, space: Space, run: Path) -> Space:
        """A second space that goes on where a finished run in a first space ended.

        Args:
            space: The second space.
            run: The folder of the first run.

        Raises:
            ConstraintError: This algorithm cannot, or not with this space or run.
        """
        raise ConstraintError(f"{self.title} does not continue other runs.", "Leave out --after.")

    def prepare_space(
        self, request: SpaceRequest, context: SearchContext
    ) -> tuple[Space, Mapping[str, Any] | None]:
        """The space to search: what was asked for, or one that is learned from it.

        Returns:
            The space, and a JSON document about how it was learned; None where it was not.
        """
        assert isinstance(request.space, Space)
        return request.space, None

    @abstractmethod
    def find(self, problem: SearchProblem, context: SearchContext) -> RankedCandidates:
        """Search a problem; resumable in the context's folder.

        Returns:
            Candidates, best first, with a reserve for the verification on the device.
        """

    def resize(
        self, problem: SearchProblem, context: SearchContext, candidates: Sequence[Evaluation]
    ) -> Mapping[Choices, Space]:
        """The spaces in whose widths candidates are built, of those that other widths suit better."""
        return {}

    def choose(self, fitting: Sequence[Finalist], train: Callable[[Finalist], float]) -> Finalist:
        """The winner among the finalists that keep the budget; by default the one with the highest score.

        Args:
            fitting: At least one finalist, in the order of the candidates.
            train: Trains a finalist from scratch and returns its validation top-1.
        """
        return max(fitting, key=lambda finalist: finalist.evaluation.required_score)

    def stories(self, record: SearchRecord) -> list[Story]:
        """Pictures of how the search went, for its report."""
        from nascli.report.story import evaluated_story

        evaluated = [(each.architecture, each.value) for each in record.evaluations]
        return [evaluated_story(record.space, evaluated, record.winner)]


class SearcherAlgorithm(Algorithm):
    """An algorithm that asks for architectures and learns their scores.

    In a search, a supernet that was trained on random paths scores the architectures; in `nascli.optimise`, a user's
    own evaluator does.
    """

    accepts = frozenset({SpaceKind.SINGLE_PATH, SpaceKind.MULTI_BRANCH, SpaceKind.LOW_BIT})
    example_space = "proxyless-mini"

    def with_searcher_settings(self, preset: Preset, values: Mapping[str, int]) -> tuple[Preset, list[str]]:
        """The preset with its own settings changed: they are the searcher's."""
        settings, unknown = change_known_fields(preset.settings, values)
        return replace(preset, settings=settings), unknown

    @abstractmethod
    def searcher(self, feasible: FeasibleSet, settings: Any, rng: np.random.Generator) -> Searcher:
        """A searcher of a feasible set.

        Args:
            feasible: The architectures within the budget.
            settings: What `presets` and `settings_for` hold.
            rng: All of its randomness.
        """

    @abstractmethod
    def settings_for(self, evaluations: int) -> Any:
        """Settings with which the searcher takes about so many evaluations."""

    def find(self, problem: SearchProblem, context: SearchContext) -> RankedCandidates:
        """Train a supernet on random paths, or take one that is given, and search by its scores."""
        from nascli.search.ranking import rank_with_supernet

        return rank_with_supernet(self.searcher, context.preset.settings, problem, context)
