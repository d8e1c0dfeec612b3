import numpy as np
import pytest
from evaluating import OneByOne

from nascli.costmodel import BoundedCost, FeasibleSet, counted, parse_constraint
from nascli.costmodel import best as find_best
from nascli.errors import NascliError
from nascli.progress import Silent
from nascli.search.base import Score
from nascli.search.driver import drive
from nascli.search.journal import Journal
from nascli.search.spos.search import SposSearcher
from nascli.search.spos.settings import SposSettings
from nascli.spaces import make_space


@pytest.fixture
def feasible():
    space = make_space("proxyless-mini")
    return FeasibleSet(space, [BoundedCost(parse_constraint("macs<=30M"), counted(space, "macs"))])


def separable(space, seed=5):
    rng = np.random.default_rng(seed)
    tables = [rng.random(len(layer.candidates)) for layer in space.layers]
    return tables, lambda code: Score(float(sum(t[c] for t, c in zip(tables, code, strict=True))))


def search(feasible, path, seed=1, settings=None):
    tables, evaluator = separable(feasible.space)
    searcher = SposSearcher(feasible, settings or SposSettings(), np.random.default_rng(seed))
    return tables, drive(searcher, OneByOne(evaluator), Journal(path), Silent())


def test_defaults_are_the_papers():
    assert SposSettings() == SposSettings(population=50, generations=20, parents=10, probability=0.1)


def test_all_candidates_are_distinct_and_feasible(feasible, tmp_path):
    _, outcome = search(feasible, tmp_path / "j")
    codes = np.array([e.architecture for e in outcome.evaluations])
    assert len(codes) == 1000 == len(np.unique(codes, axis=0))
    assert feasible.contains(codes).all()


def test_it_beats_random_search_and_nears_the_optimum(feasible, tmp_path):
    tables, outcome = search(feasible, tmp_path / "j")
    best = find_best(feasible, tables)
    optimum = sum(t[c] for t, c in zip(tables, best, strict=True))
    random = feasible.sample(1000, np.random.default_rng(9))
    luck = max(sum(t[c] for t, c in zip(tables, row, strict=True)) for row in random)
    found = outcome.ranked[0].score.value
    assert luck < found <= optimum + 1e-9
    assert optimum - found < 0.35 * (optimum - luck)


def test_the_same_seed_asks_the_same(feasible, tmp_path):
    settings = SposSettings(population=10, generations=3, parents=4)
    first = search(feasible, tmp_path / "a", 1, settings)[1]
    second = search(feasible, tmp_path / "b", 1, settings)[1]
    other = search(feasible, tmp_path / "c", 2, settings)[1]
    assert [e.architecture for e in first.evaluations] == [e.architecture for e in second.evaluations]
    assert [e.architecture for e in first.evaluations] != [e.architecture for e in other.evaluations]


def test_a_small_feasible_set_ends_the_search_early(tmp_path):
    space = make_space("proxyless-mini")
    cost = counted(space, "macs")
    budget = BoundedCost(parse_constraint(f"macs<={cost.minimum * 1.02:.0f}"), cost)
    few = FeasibleSet(space, [budget])
    assert few.count() < 20
    _, outcome = search(few, tmp_path / "j")
    assert len(outcome.evaluations) == few.count()


def test_impossible_settings_are_refused():
    with pytest.raises(NascliError, match="population >= 2"):
        SposSettings(population=1)
    with pytest.raises(NascliError, match="0 < probability <= 1"):
        SposSettings(probability=0)
