"""The descriptors of random search, regularised evolution, and guided search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from nascli.errors import Remedy
from nascli.search.algorithm import SearcherAlgorithm, with_aliases
from nascli.search.base import Searcher
from nascli.search.searchers.settings import (
    EVALUATION_PRESETS,
    GUIDED_PRESETS,
    EvaluationSettings,
    GuidedSettings,
)

if TYPE_CHECKING:
    from nascli.costmodel import FeasibleSet


def _more_evaluations(settings: Mapping[str, Any]) -> tuple[Remedy, ...]:
    """Return twice as many evaluations."""
    evaluations = 2 * int(settings["evaluations"])
    return (Remedy(words="More evaluations look at more networks.", arguments={"evaluations": evaluations}),)


class RandomSearch(SearcherAlgorithm):
    """Distinct architectures are drawn uniformly from the feasible set."""

    name = "random"
    title = "Random search"
    summary = "uniform feasible architectures"
    presets = EVALUATION_PRESETS
    aliases = with_aliases(guidance="settings")

    def searcher(
        self, feasible: FeasibleSet, settings: EvaluationSettings, rng: np.random.Generator
    ) -> Searcher:
        """Make a searcher that draws without repetition."""
        from nascli.search.searchers.random import RandomSearcher

        return RandomSearcher(feasible, settings.evaluations, rng)

    def evaluations(self, settings: EvaluationSettings) -> int:
        """Return the number of evaluations."""
        return settings.evaluations

    def wider_search(self, preset: Mapping[str, Any]) -> tuple[Remedy, ...]:
        """Return twice as many evaluations."""
        return _more_evaluations(preset["settings"])

    def settings_for(self, evaluations: int) -> EvaluationSettings:
        """Return settings with the given number of evaluations."""
        return EvaluationSettings(evaluations)


class Evolution(RandomSearch):
    """A population evolves by tournaments and mutation, and its oldest member dies (Real et al. 2019)."""

    name = "evolution"
    title = "Regularised evolution"
    summary = "regularised evolution: the oldest of the population dies"

    def searcher(
        self, feasible: FeasibleSet, settings: EvaluationSettings, rng: np.random.Generator
    ) -> Searcher:
        """Make a searcher with a population of 20 and tournaments of 5."""
        from nascli.search.searchers.evolution import RegularisedEvolution

        return RegularisedEvolution(feasible, settings.evaluations, rng)


class Guided(SearcherAlgorithm):
    """A Gaussian process over the exact feasible set proposes what to evaluate next."""

    name = "guided"
    title = "Guided search"
    summary = "Bayesian optimisation: a Gaussian process over the exact feasible set"
    presets = GUIDED_PRESETS
    is_default_searcher = True
    aliases = with_aliases(guidance="settings")

    def searcher(self, feasible: FeasibleSet, settings: GuidedSettings, rng: np.random.Generator) -> Searcher:
        """Make a searcher that maximises the expected improvement."""
        from nascli.search.searchers.guided import GuidedSearcher

        return GuidedSearcher(feasible, settings, rng)

    def evaluations(self, settings: GuidedSettings) -> int:
        """Return the number of evaluations."""
        return settings.evaluations

    def wider_search(self, preset: Mapping[str, Any]) -> tuple[Remedy, ...]:
        """Return twice as many evaluations."""
        return _more_evaluations(preset["settings"])

    def settings_for(self, evaluations: int) -> GuidedSettings:
        """Return settings with the given number of evaluations, the first eight of them at random."""
        return GuidedSettings(evaluations=max(2, evaluations), first=min(8, max(2, evaluations)))


ALGORITHMS = (RandomSearch(), Evolution(), Guided())
