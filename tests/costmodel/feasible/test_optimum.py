"""Optima and fronts of additive scores against enumeration and the integer programme."""

import time

import numpy as np
import pytest
from feasible_cases import (
    case,
    every,
    random_scores,
    window,
)

from nascli.costmodel import (
    BoundedCost,
    ChainCost,
    Constraint,
    FeasibleSet,
    best,
    counted,
    k_best,
    pareto,
)
from nascli.costmodel.feasible import additive
from nascli.costmodel.feasible.diagnosis import find_feasible
from nascli.spaces import load_space


@pytest.mark.parametrize("kind", ["single", "paired", "branches"])
@pytest.mark.parametrize("share", [None, 0.3, 0.8])
def test_the_front_of_score_against_cost(kind, share):
    space, cost, rng = case(kind, [3, 4, 3], 11)
    codes = every(space)
    low = -np.inf if share is None else float(np.quantile(cost(codes), share))
    feasible = FeasibleSet(space, [window(cost, low, cost.maximum - 1)])
    scores = random_scores(space, rng)
    front = pareto(feasible, scores)
    inside = codes[(cost(codes) <= cost.maximum - 1) & (cost(codes) >= low)]
    points = sorted(
        zip(cost(inside), additive(feasible, scores, inside), strict=True), key=lambda p: (p[0], -p[1])
    )
    expected, top = [], -np.inf
    for point in points:
        if point[1] > top:
            expected.append(point)
            top = point[1]
    got = list(zip(cost(front), additive(feasible, scores, front), strict=True))
    assert np.array(got) == pytest.approx(np.array(expected))


@pytest.mark.parametrize("kind", ["single", "paired", "branches"])
def test_the_best_may_score_nothing(kind):
    """Scores whose best sum is 0: nothing is divided by it."""
    space, cost, rng = case(kind, [3, 4, 3], 12)
    feasible = FeasibleSet(space, [window(cost, -np.inf, np.quantile(cost(every(space)), 0.5))])
    nothing = [np.zeros(len(layer.candidates)) for layer in space.layers]
    assert len(k_best(feasible, nothing, 3)) == 3
    inside = every(space)[feasible.contains(every(space))]
    below = random_scores(space, rng)
    shift = additive(feasible, below, inside).max() if kind == "branches" else 0.0
    below = [v - (v.max() if kind != "branches" else shift) for v in below]
    ranked = np.sort(additive(feasible, below, inside))[::-1][:5]
    got = additive(feasible, below, k_best(feasible, below, 5))
    assert got == pytest.approx(ranked, abs=1e-9)


@pytest.mark.parametrize("kind", ["single", "paired", "branches"])
def test_optimum_equals_the_integer_programme(kind):
    space, cost, rng = case(kind, [4, 3, 4], 13)
    high = np.quantile(cost(every(space)), 0.4)
    feasible = FeasibleSet(space, [window(cost, -np.inf, high)])
    scores = random_scores(space, rng)
    joins = cost.joins and tuple(np.where(np.isfinite(j), 0.0, j) for j in cost.joins)
    negative = ChainCost("score", "count", 0.0, tuple(-s for s in scores), joins)
    codes = find_feasible(space, [window(cost, -np.inf, high)], minimise=negative)
    found = best(feasible, scores)
    assert additive(feasible, scores, found[None])[0] == pytest.approx(
        additive(feasible, scores, np.array([codes]))[0]
    )


def test_a_cost_under_its_own_budget_is_maximised_at_once_though_very_many_tie():
    space = load_space("nse-27-mini:width=0.5,resolution=8")
    macs = counted(space, "macs")
    feasible = FeasibleSet(space, [BoundedCost(Constraint("macs", -np.inf, 250e3), macs)])
    start = time.monotonic()
    code = best(feasible, macs.unary)
    assert time.monotonic() - start < 20
    assert 249e3 < macs(code[None])[0] <= 250e3
