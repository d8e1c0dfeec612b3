"""The descriptor of SPOS."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from nascli.errors import Remedy
from nascli.search.algorithm import SearcherAlgorithm, with_aliases
from nascli.search.base import Searcher
from nascli.search.plan import PlanRequest
from nascli.search.preset import Preset
from nascli.search.spos.settings import PRESETS, SposSettings

if TYPE_CHECKING:
    from nascli.costmodel import FeasibleSet


def more_generations(settings: Mapping[str, Any]) -> tuple[Remedy, ...]:
    """Return the remedy of a search by evolution that looked at too little: twice as many generations."""
    generations = 2 * int(settings["generations"])
    return (Remedy(words="More generations look at more networks.", arguments={"generations": generations}),)


class Spos(SearcherAlgorithm):
    """A supernet is trained on uniformly sampled architectures, and evolution searches by its scores."""

    name = "spos"
    title = "SPOS"
    summary = "Single Path One-Shot: a supernet of uniform paths, searched by evolution"
    presets = PRESETS
    is_default = True
    aliases = with_aliases(evolution="settings")

    def figures(self, preset: Preset, request: PlanRequest) -> Mapping[str, object]:
        """Return how many architectures the evolution evaluates and proposes."""
        return evolution_figures(preset.settings)

    def searcher(self, feasible: FeasibleSet, settings: SposSettings, rng: np.random.Generator) -> Searcher:
        """Make a searcher by evolution (Algorithm 1)."""
        from nascli.search.spos.search import SposSearcher

        return SposSearcher(feasible, settings, rng)

    def evaluations(self, settings: SposSettings) -> int:
        """Return the size of all generations."""
        return settings.population * settings.generations

    def wider_search(self, preset: Mapping[str, Any]) -> tuple[Remedy, ...]:
        """Return twice as many generations."""
        return more_generations(preset["settings"])

    def settings_for(self, evaluations: int) -> SposSettings:
        """Return settings whose population is a quarter of the evaluations, at most 50 as in the paper."""
        population = min(50, max(2, evaluations // 4))
        return SposSettings(population=population, generations=math.ceil(evaluations / population))


def evolution_figures(settings: SposSettings) -> dict[str, object]:
    """Return figures of the evolution for a plan.

    Args:
        settings: Settings of the evolution.
    """
    return {
        "evaluations, at most": settings.population * settings.generations,
        "mutants of a generation": settings.population // 2,
        "crossovers of a generation": settings.population - settings.population // 2,
    }


SPOS = Spos()
ALGORITHMS = (SPOS,)
