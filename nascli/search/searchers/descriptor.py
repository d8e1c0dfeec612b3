"""What random search, regularised evolution, and guided search are to the rest of nascli."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

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


class RandomSearch(SearcherAlgorithm):
    """Uniform feasible architectures."""

    name = "random"
    title = "Random search"
    summary = "uniform feasible architectures"
    presets = EVALUATION_PRESETS
    aliases = with_aliases(guidance="settings")

    def searcher(
        self, feasible: FeasibleSet, settings: EvaluationSettings, rng: np.random.Generator
    ) -> Searcher:
        """Uniform draws without repetition."""
        from nascli.search.searchers.random import RandomSearcher

        return RandomSearcher(feasible, settings.evaluations, rng)

    def settings_for(self, evaluations: int) -> EvaluationSettings:
        """As many evaluations."""
        return EvaluationSettings(evaluations)


class Evolution(RandomSearch):
    """Regularised evolution."""

    name = "evolution"
    title = "Regularised evolution"
    summary = "regularised evolution: the oldest of the population dies"

    def searcher(
        self, feasible: FeasibleSet, settings: EvaluationSettings, rng: np.random.Generator
    ) -> Searcher:
        """Tournaments among the youngest."""
        from nascli.search.searchers.evolution import RegularisedEvolution

        return RegularisedEvolution(feasible, settings.evaluations, rng)


class Guided(SearcherAlgorithm):
    """Bayesian optimisation over a feasible set."""

    name = "guided"
    title = "Guided search"
    summary = "Bayesian optimisation: a Gaussian process over the exact feasible set"
    presets = GUIDED_PRESETS
    aliases = with_aliases(guidance="settings")

    def searcher(self, feasible: FeasibleSet, settings: GuidedSettings, rng: np.random.Generator) -> Searcher:
        """Expected improvement by a Gaussian process."""
        from nascli.search.searchers.guided import GuidedSearcher

        return GuidedSearcher(feasible, settings, rng)

    def settings_for(self, evaluations: int) -> GuidedSettings:
        """As many evaluations, the first eight of them at random."""
        return GuidedSettings(evaluations=max(2, evaluations), first=min(8, max(2, evaluations)))


ALGORITHMS = (RandomSearch(), Evolution(), Guided())
