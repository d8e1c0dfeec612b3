import numpy as np
import pytest
from evaluating import OneByOne

from nascli.costmodel import BoundedCost, Constraint, FeasibleSet, best, counted
from nascli.errors import NascliError
from nascli.progress import Silent
from nascli.search.base import Score
from nascli.search.driver import drive
from nascli.search.journal import Journal
from nascli.search.searchers.evolution import RegularisedEvolution
from nascli.search.searchers.guided import (
    GuidedSearcher,
    area_under_front,
    expected_improvement,
    front_improvement,
)
from nascli.search.searchers.random import RandomSearcher
from nascli.search.searchers.settings import GuidedSettings
from nascli.search.searchers.surrogate import Features, Surrogate
from nascli.spaces import load_space

SPACE = load_space("proxyless-mini:depth=2,width=0.5,resolution=16")
RNG = np.random.default_rng(4)
SCORES = [RNG.random(len(layer.candidates)) for layer in SPACE.layers]


def additive(codes):
    codes = np.atleast_2d(codes)
    return sum(SCORES[i][codes[:, i]] for i in range(codes.shape[1]))


def feasible(share=0.4, space=SPACE):
    cost = counted(space, "macs")
    limit = float(np.quantile(cost(space.sample(4000, np.random.default_rng(0))), share))
    return FeasibleSet(space, [BoundedCost(Constraint("macs", -np.inf, limit), cost)])


def run(searcher, tmp_path, name, most=None):
    journal = Journal(tmp_path / name)
    try:
        return drive(
            searcher,
            OneByOne(lambda code: Score(float(additive(np.array(code))[0]))),
            journal,
            Silent(),
            max_evaluations=most,
        )
    finally:
        journal.close()


@pytest.mark.parametrize("kind", ["guided", "random", "evolution"])
def test_searchers_ask_distinct_feasible_architectures(kind, tmp_path):
    inside = feasible()
    rng = np.random.default_rng(1)
    searcher = {
        "guided": lambda: GuidedSearcher(inside, GuidedSettings(evaluations=30), rng),
        "random": lambda: RandomSearcher(inside, 30, rng),
        "evolution": lambda: RegularisedEvolution(inside, 30, rng, population=10),
    }[kind]()
    outcome = run(searcher, tmp_path, kind)
    assert len(outcome.evaluations) == 30 == searcher.expected
    assert inside.contains(np.array([e.architecture for e in outcome.evaluations], dtype=SPACE.dtype)).all()


def test_guided_beats_random_on_a_known_optimum(tmp_path):
    inside = feasible()
    optimum = float(additive(best(inside, SCORES))[0])
    regret = {"guided": [], "random": []}
    for seed in range(5):
        rng = np.random.default_rng(seed)
        guided = run(GuidedSearcher(inside, GuidedSettings(evaluations=50), rng), tmp_path, f"g{seed}")
        random = run(RandomSearcher(inside, 50, rng), tmp_path, f"r{seed}")
        regret["guided"].append(optimum - guided.ranked[0].score.value)
        regret["random"].append(optimum - random.ranked[0].score.value)
    assert np.mean(regret["guided"]) < 0.3 * np.mean(regret["random"])


def test_a_small_feasible_set_is_searched_to_its_end(tmp_path):
    space = load_space("proxyless-mini:depth=1,width=0.25,resolution=8")
    inside = feasible(0.004, space)
    total = inside.count()
    assert 2 <= total <= 60
    searcher = GuidedSearcher(inside, GuidedSettings(evaluations=100, first=2), np.random.default_rng(0))
    seen = []
    while len(codes := searcher.ask()):
        seen += [tuple(row) for row in codes.tolist()]
        searcher.tell(codes, [Score(0.5)] * len(codes))
    assert len(seen) == len(set(seen)) == total


def test_a_killed_guided_search_asks_the_same_again(tmp_path):
    inside = feasible()
    whole = run(
        GuidedSearcher(inside, GuidedSettings(evaluations=24), np.random.default_rng(3)), tmp_path, "a"
    )
    run(
        GuidedSearcher(inside, GuidedSettings(evaluations=24), np.random.default_rng(3)),
        tmp_path,
        "b",
        most=13,
    )
    again = run(
        GuidedSearcher(inside, GuidedSettings(evaluations=24), np.random.default_rng(3)), tmp_path, "b"
    )
    assert [e.architecture for e in again.evaluations] == [e.architecture for e in whole.evaluations]


def test_the_surrogate_interpolates_and_knows_what_it_does_not_know():
    inside = feasible()
    codes = inside.sample_distinct(120, np.random.default_rng(0))
    features = Features(SPACE, [counted(SPACE, "macs")], codes)
    known, new = codes[:80], codes[80:]
    model = Surrogate(features(known), additive(known), np.random.default_rng(0))
    mean, deviation = model(features(new))
    assert np.corrcoef(mean, additive(new))[0, 1] > 0.8
    z = (mean - additive(new)) / deviation
    assert 0.3 < np.sqrt(np.mean(z**2)) < 3
    at_known, sure = model(features(known))
    assert np.mean(sure) < np.mean(deviation)
    assert np.abs(at_known - additive(known)).mean() < np.abs(mean - additive(new)).mean()


def test_multi_branch_spaces_are_guided_too(tmp_path):
    space = load_space("nse-19-mini:width=0.25,resolution=8,branches=2")
    inside = feasible(0.3, space)
    searcher = GuidedSearcher(inside, GuidedSettings(evaluations=12, pool=60), np.random.default_rng(0))
    while len(codes := searcher.ask()):
        assert inside.contains(codes).all()
        searcher.tell(codes, [Score(float(v)) for v in -counted(space, "macs")(codes)])


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(NascliError, match="first <= evaluations"):
        GuidedSettings(evaluations=4, first=8)
    with pytest.raises(NascliError, match="tournament"):
        RegularisedEvolution(feasible(), 10, np.random.default_rng(0), population=3, tournament=9)
    with pytest.raises(NascliError, match="evaluations >= 1"):
        RandomSearcher(feasible(), 0, np.random.default_rng(0))


def test_the_area_under_a_front_by_hand():
    costs, scores = np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.4, 0.9])
    # From 0 to 1 nothing, from 1 to 3 a height of 0.5, from 3 to 4 of 0.9; the floor takes 0.1 off.
    assert area_under_front(costs, scores, 0.0, 4.0, 0.1) == pytest.approx(0.4 * 2 + 0.8)


def test_expected_growth_of_the_front_is_that_of_simulation():
    rng = np.random.default_rng(0)
    seen_costs, seen = np.array([0.0, 0.4, 1.0]), np.array([0.2, 0.5, 0.6])
    costs, mean, deviation = np.array([0.2, 0.7]), np.array([0.45, 0.55]), np.array([0.1, 0.05])
    given = front_improvement(mean, deviation, costs, seen_costs, seen)
    before = area_under_front(seen_costs, seen, 0.0, 1.05, 0.2)
    for i in range(2):
        grown = []
        for a in rng.normal(mean[i], deviation[i], 4000):
            after = area_under_front(np.append(seen_costs, costs[i]), np.append(seen, a), 0.0, 1.05, 0.2)
            grown.append(after - before)
        assert given[i] == pytest.approx(np.mean(grown), rel=0.1)
    one = expected_improvement(np.array([0.0]), np.array([1.0]), 0.0)
    assert one[0] == pytest.approx(1 / np.sqrt(2 * np.pi))


def test_a_whole_front_in_one_run_beats_random():
    inside = feasible(0.9)
    macs = counted(SPACE, "macs")
    found = {"guided": [], "random": []}
    for seed in range(3):
        for name in found:
            rng = np.random.default_rng(seed)
            searcher = (
                GuidedSearcher(inside, GuidedSettings(evaluations=60), rng, front=macs)
                if name == "guided"
                else RandomSearcher(inside, 60, rng)
            )
            rows = []
            while len(codes := searcher.ask()):
                searcher.tell(codes, [Score(float(v)) for v in additive(codes)])
                rows.append(codes)
            rows = np.concatenate(rows)
            found[name].append(area_under_front(macs(rows), additive(rows), macs.minimum, macs.maximum, 0.0))
    assert min(found["guided"]) > max(found["random"])
