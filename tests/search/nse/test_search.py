import itertools
from dataclasses import replace

import numpy as np
import pytest

from nascli.costmodel import BoundedCost, Constraint, counted
from nascli.errors import InfeasibleError, NascliError
from nascli.progress import Silent
from nascli.search.nse.rounds import (
    EvaluatedPoint,
    RoundTraining,
    front_of,
    restricted_cost,
)
from nascli.search.nse.search import NseSearch
from nascli.search.nse.settings import NseSettings
from nascli.search.run_folder import StateFile
from nascli.spaces import load_space

SPACE = load_space("nse-19-mini:width=0.5")
COST = counted(SPACE, "macs")


def budget(low=0.3, high=0.5):
    codes = SPACE.sample(4000, np.random.default_rng(0))
    return BoundedCost(Constraint("macs", *(float(q) for q in np.quantile(COST(codes), [low, high]))), COST)


class Table:
    """An engine whose accuracy is known: each operation has a worth; indicators say which are bad."""

    def __init__(self, fail_at=None):
        rng = np.random.default_rng(2)
        self.worth = [rng.random(len(layer.candidates)) for layer in SPACE.layers]
        self.spaces, self.fail_at = {}, fail_at

    def train(self, number, space, cost, keep):
        if number == self.fail_at:
            raise KeyboardInterrupt
        self.spaces[number] = space
        thetas, alive = [], []
        for layer, whole, worth in zip(space.layers, SPACE.layers, self.worth, strict=True):
            w = [worth[whole.candidates.index(c)] for c in layer.candidates]
            thetas.append([-3.0 if v < 0.2 else 2 * v for v in w])
            alive.append([True] * len(w))
        kept = keep(thetas, alive)
        return RoundTraining(tuple(map(tuple, thetas)), tuple(tuple(row) for row in kept))

    def accuracies(self, number, space, codes):
        total = np.zeros(len(codes))
        for i, (layer, whole) in enumerate(zip(space.layers, SPACE.layers, strict=True)):
            worth = np.array([self.worth[i][whole.candidates.index(c)] for c in layer.candidates])
            total += ((codes[:, i : i + 1] >> np.arange(len(worth))) & 1) @ worth
        return total / 30


def search(tmp_path=None, window=None, **values):
    file = None if tmp_path is None else tmp_path / "story.json"
    values = {"candidates": 4, "samples": 60, "beyond": 10, **values}
    return NseSearch(SPACE, window or budget(), NseSettings(**values), 3, StateFile(file))


def test_no_operation_is_traversed_twice_and_rounds_end_when_a_layer_runs_out():
    rounds = search().evolve(Table(), Silent())
    assert len(rounds) >= 2
    for layer in range(len(SPACE.layers)):
        fresh = [set(r.subset[layer]) - set(r.inherited[layer]) for r in rounds]
        for a, b in itertools.combinations(fresh, 2):
            assert not a & b
    for before, after in itertools.pairwise(rounds):
        assert after.inherited == before.aggregated
        assert all(set(held) <= set(now) for held, now in zip(after.inherited, after.subset, strict=True))


def test_fronts_lie_in_the_window_and_accuracy_does_not_fall():
    one = search()
    rounds = one.evolve(Table(), Silent())
    for r in rounds:
        assert all(one.window.low <= p.cost <= one.window.high for p in r.front)
        assert all(a.cost < b.cost and a.accuracy < b.accuracy for a, b in itertools.pairwise(r.front))
        codes = np.array([p.architecture for p in r.evaluated])
        assert np.allclose(COST(SPACE.check(codes)), [p.cost for p in r.evaluated])
        assert len({p.architecture for p in r.evaluated}) == len(r.evaluated)
    # The former front is rehearsed, so on the same yardstick the best cannot get worse.
    best = [max(p.accuracy for p in r.front) for r in rounds]
    assert all(b >= a for a, b in itertools.pairwise(best))


def test_a_killed_search_goes_on_at_its_round(tmp_path):
    whole = search().evolve(Table(), Silent())
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path).evolve(Table(fail_at=1), Silent())
    engine = Table()
    again = search(tmp_path).evolve(engine, Silent())
    assert again == whole and 0 not in engine.spaces


def test_the_edging_effect():
    """What lies below the window dominates its edge: without architectures from there, the edge would be on the front."""
    strange = budget(0.5, 0.52)

    class Cheap(Table):
        """The cheaper, the better: nothing in the window is on a front that knows what lies below."""

        def accuracies(self, number, space, codes):
            return 1 - restricted_cost(COST, subset)(codes) / COST.maximum

    one = search(window=strange, candidates=4, beyond=40)
    subset, _ = one.replenish([])
    part = one.round_space(0, subset)
    trained = Cheap().train(0, part.space, part.cost, lambda t, a: a)
    both = one.retrieve(Cheap(), part, trained, (), Silent())
    assert any(p.cost < one.window.low for p in both) and any(p.cost >= one.window.low for p in both)
    assert not [p for p in front_of(both) if p.cost >= one.window.low]
    alone = search(window=strange, candidates=4, beyond=0).retrieve(Cheap(), part, trained, (), Silent())
    assert [p for p in front_of(alone) if p.cost >= one.window.low]


def test_inherited_operations_begin_the_first_round():
    inherited = tuple((0, 5) for _ in SPACE.layers)
    one = NseSearch(
        SPACE, budget(), NseSettings(candidates=4, samples=20), 3, StateFile(None), inherited=inherited
    )
    subset, held = one.replenish([])
    assert held == inherited and all({0, 5} <= set(chosen) and len(chosen) == 4 for chosen in subset)


def test_a_window_that_a_round_cannot_meet_says_so():
    narrow = BoundedCost(Constraint("macs", COST.maximum * 0.97, COST.maximum), COST)
    with pytest.raises(InfeasibleError, match="round 1"):
        search(window=narrow).evolve(Table(), Silent())


def test_what_nse_cannot_do_is_refused():
    single = load_space("pcnas-small-mini")
    macs = counted(single, "macs")
    with pytest.raises(NascliError, match="single-path"):
        NseSearch(
            single, BoundedCost(Constraint("macs", 0, macs.maximum), macs), NseSettings(), 0, StateFile(None)
        )
    with pytest.raises(NascliError, match="candidates >= 2"):
        NseSettings(candidates=1)


class Fading(Table):
    """Operations that were worth keeping in the first round are not in the second."""

    def train(self, number, space, cost, keep):
        self.spaces[number] = space
        thetas = [[1.0 if number == 0 else -3.0] * len(layer.candidates) for layer in space.layers]
        kept = keep(thetas, [[True] * len(row) for row in thetas])
        return RoundTraining(tuple(map(tuple, thetas)), tuple(tuple(row) for row in kept))


def test_locked_operations_stay_and_without_the_lock_they_go():
    def dropped(rounds):
        second = rounds[1]
        return sum(
            not stays and i in held
            for chosen, held, alive in zip(second.subset, second.inherited, second.trained.alive, strict=True)
            for i, stays in zip(chosen, alive, strict=True)
        )

    assert dropped(search(rounds=2).evolve(Fading(), Silent())) == 0
    assert dropped(search(rounds=2, lock=False).evolve(Fading(), Silent())) > 0


def test_rehearsal_by_hand():
    """The former front is evaluated again and competes; without rehearsal it is forgotten."""
    rounds = search(rounds=2).evolve(Table(), Silent())
    before = {p.architecture for p in rounds[0].front}
    again = {p.architecture: p for p in rounds[1].evaluated}
    assert before <= again.keys()
    assert any(p.rehearsed for p in rounds[1].evaluated)
    without = search(rounds=2, rehearse=False).evolve(Table(), Silent())
    assert not any(p.rehearsed for p in without[1].evaluated)


def test_a_former_space_s_front_is_rehearsed_in_the_first_round():
    inherited = tuple((0, 5) for _ in SPACE.layers)
    codes = tuple(0b100001 if layer.join == "normal" else 1 for layer in SPACE.layers)
    point = EvaluatedPoint(codes, float(COST(np.array([codes]))[0]), 0.9, True)
    one = NseSearch(
        SPACE, budget(), NseSettings(candidates=4, samples=20, rounds=1), 3, StateFile(None), inherited=inherited, former_front=[point]
    )  # fmt: skip
    (only,) = one.evolve(Table(), Silent())
    assert [p for p in only.evaluated if p.architecture == codes and p.rehearsed]


def test_of_a_former_front_only_what_keeps_the_budgets_is_rehearsed():
    inherited = tuple((0, 5) for _ in SPACE.layers)
    all_of_it = tuple(0b100001 if layer.join == "normal" else 1 for layer in SPACE.layers)
    less = tuple(1 for _ in SPACE.layers)
    points = [
        EvaluatedPoint(codes, float(COST(np.array([codes]))[0]), 0.9, True) for codes in (less, all_of_it)
    ]
    assert points[0].cost < points[1].cost
    window = Constraint("macs", -np.inf, (points[0].cost + points[1].cost) / 2)
    hyper = NseSettings(candidates=4, samples=20, rounds=1)

    def rehearsed(bound, *others):
        one = NseSearch(
            SPACE, BoundedCost(bound, COST), hyper, 3, StateFile(None), inherited=inherited, former_front=points, other_bounds=others
        )  # fmt: skip
        (only,) = one.evolve(Table(), Silent())
        assert all(point.cost <= bound.high for point in only.front)
        return {p.architecture for p in only.evaluated if p.rehearsed}

    assert all_of_it not in rehearsed(window)
    params = counted(SPACE, "params")
    tight = BoundedCost(Constraint("params", -np.inf, float(params(np.array([less]))[0]) * 2), params)
    assert float(params(np.array([all_of_it]))[0]) > tight.constraint.high
    wide = replace(window, high=2 * points[1].cost)
    assert all_of_it not in rehearsed(wide, tight)


def test_replenishment_by_hand():
    """K = 4: what a layer inherits is filled up from the front of its permutation, without what was seen."""
    one = search()
    first, _ = one.replenish([])
    assert all(list(chosen) == one.orders[layer][:4] for layer, chosen in enumerate(first))
    (done,) = search(rounds=1).evolve(Table(), Silent())
    second, inherited = one.replenish([done])
    for layer, (chosen, held) in enumerate(zip(second, inherited, strict=True)):
        fresh = one.orders[layer][4 : 4 + max(0, 4 - len(held))]
        assert list(chosen) == [*held, *fresh]


def test_k_and_tau_are_the_paper_s():
    macs = search(candidates=None)
    assert macs.candidates == 5 and macs.target == macs.window.low
    seconds = replace(COST, name="latency", dimension="time")
    window = Constraint("latency", *(float(v) for v in (budget().constraint.low, budget().constraint.high)))
    latency = NseSearch(SPACE, BoundedCost(window, seconds), NseSettings(aim=0.5), 0, StateFile(None))
    assert latency.candidates == 6
    assert latency.target == pytest.approx((window.low + window.high) / 2)
