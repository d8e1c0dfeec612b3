"""The searchers that ask for architectures and learn their scores, by name."""

from __future__ import annotations

import numpy as np

from nascli.costmodel import FeasibleSet
from nascli.errors import UnknownNameError
from nascli.search.base import Searcher
from nascli.search.searchers.evolution import RegularisedEvolution
from nascli.search.searchers.guided import GuidedSearcher
from nascli.search.searchers.random import RandomSearcher
from nascli.search.searchers.settings import GuidedSettings
from nascli.search.spos.search import SposSearcher
from nascli.search.spos.settings import SposSettings

SEARCHERS = ("guided", "spos", "evolution", "random")


def make_searcher(
    name: str,
    feasible: FeasibleSet,
    rng: np.random.Generator,
    *,
    evaluations: int,
    guidance: GuidedSettings,
    evolution: SposSettings,
) -> Searcher:
    """A searcher of a feasible set.

    Args:
        name: one of `SEARCHERS`.
        feasible: where it searches.
        rng: all of its randomness.
        evaluations: of 'random' and 'evolution'.
        guidance: of 'guided'.
        evolution: of 'spos'.

    Raises:
        UnknownNameError: another name.
    """
    match name:
        case "guided":
            return GuidedSearcher(feasible, guidance, rng)
        case "spos":
            return SposSearcher(feasible, evolution, rng)
        case "evolution":
            return RegularisedEvolution(feasible, evaluations, rng)
        case "random":
            return RandomSearcher(feasible, evaluations, rng)
        case _:
            raise UnknownNameError("algorithm", name, list(SEARCHERS))
