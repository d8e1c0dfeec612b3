"""Every searcher keeps the contract that third parties' searchers are held to."""

import warnings

import numpy as np
import pytest

from benchmarks._adapters import OptunaSearcher, PymooSearcher
from nascli.search.searchers.evolution import RegularisedEvolution
from nascli.search.searchers.guided import GuidedSearcher
from nascli.search.searchers.random import RandomSearcher
from nascli.search.searchers.settings import GuidedSettings
from nascli.search.spos.search import SposSearcher
from nascli.search.spos.settings import SposSettings
from nascli.testing.searchers import SearcherContract


class TestGuided(SearcherContract):
    def searcher(self, feasible, evaluations, seed):
        return GuidedSearcher(feasible, GuidedSettings(evaluations=evaluations), np.random.default_rng(seed))


class TestSpos(SearcherContract):
    def searcher(self, feasible, evaluations, seed):
        return SposSearcher(feasible, SposSettings(population=6, generations=4), np.random.default_rng(seed))


class TestEvolution(SearcherContract):
    def searcher(self, feasible, evaluations, seed):
        return RegularisedEvolution(
            feasible, evaluations, np.random.default_rng(seed), population=6, tournament=3
        )


class TestRandom(SearcherContract):
    def searcher(self, feasible, evaluations, seed):
        return RandomSearcher(feasible, evaluations, np.random.default_rng(seed))


class TestOptuna(SearcherContract):
    evaluations = 10

    def searcher(self, feasible, evaluations, seed):
        pytest.importorskip("optuna")
        warnings.simplefilter("ignore")
        return OptunaSearcher(feasible, evaluations, seed)


class TestPymoo(SearcherContract):
    evaluations = 12

    def searcher(self, feasible, evaluations, seed):
        pytest.importorskip("pymoo")
        return PymooSearcher(feasible, evaluations, seed, population=8)
