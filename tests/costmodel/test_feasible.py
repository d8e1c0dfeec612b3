"""Feasible sets against enumeration."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nascli.costmodel import Budget, ChainCost, Constraint, FeasibleSet, counted, parse_constraint
from nascli.errors import ConstraintError, InfeasibleError
from nascli.spaces import Layer, Space, make_space
from nascli.spaces.library import mbconv


def space_of(sizes):
    ops = [mbconv((4, 2, 2), 4, expand=e) for e in range(1, 8)]
    return Space("chain", (), tuple(Layer(f"l{i}", tuple(ops[:n])) for i, n in enumerate(sizes)))


def every(sizes):
    return np.array(list(itertools.product(*(range(n) for n in sizes))), dtype=np.int16)


def cost_of(values, name="macs", offset=0.0):
    return ChainCost(name, "count", offset, tuple(np.asarray(v, dtype=float) for v in values))


def at_most(cost, high):
    return Budget(Constraint(cost.name, -np.inf, float(high)), cost)


chains = st.lists(st.integers(1, 4), min_size=1, max_size=4).flatmap(
    lambda sizes: st.tuples(
        st.just(sizes), st.tuples(*(st.lists(st.integers(0, 20), min_size=n, max_size=n) for n in sizes))
    )
)


@settings(max_examples=80, deadline=None)
@given(chains, st.integers(0, 60), st.integers(0, 2**31))
def test_integer_costs_are_exact(chain, budget, seed):
    sizes, values = chain
    space, cost = space_of(sizes), cost_of(values)
    codes = every(sizes)
    inside = codes[cost(codes) <= budget]
    if len(inside) == 0:
        with pytest.raises(InfeasibleError):
            FeasibleSet(space, [at_most(cost, budget)])
        return
    feasible = FeasibleSet(space, [at_most(cost, budget)])
    assert feasible.count() == len(inside)
    assert all(v == 0 for v in feasible.slack.values())
    drawn = feasible.sample(64, np.random.default_rng(seed))
    assert np.all(cost(drawn) <= budget)
    scores = [np.random.default_rng(seed + i).standard_normal(n) for i, n in enumerate(sizes)]
    best = feasible.best(scores)
    values_of = sum(s[inside[:, i]] for i, s in enumerate(scores))
    assert sum(s[best[i]] for i, s in enumerate(scores)) == pytest.approx(values_of.max())


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.05, 1.0))
def test_real_costs_are_rounded_to_the_safe_side(seed, share):
    rng = np.random.default_rng(seed)
    sizes = [4, 3, 4, 2]
    cost = cost_of([rng.random(n) for n in sizes], offset=0.3)
    second = cost_of([rng.random(n) for n in sizes], name="params")
    codes = every(sizes)
    high, other = np.quantile(cost(codes), share), np.quantile(second(codes), 0.7)
    for budgets in ([at_most(cost, high)], [at_most(cost, high), at_most(second, other)]):
        inside = np.all([b.cost(codes) <= b.constraint.high for b in budgets], axis=0)
        tight = np.all(
            [
                b.cost(codes) <= b.constraint.high - 4 * (b.constraint.high - b.cost.least) / 500
                for b in budgets
            ],
            axis=0,
        )
        if not tight.any():
            continue
        feasible = FeasibleSet(space_of(sizes), budgets)
        assert tight.sum() <= feasible.count() <= inside.sum()
        assert feasible.contains(feasible.sample(100, rng)).all()


def chi_square(drawn, expected):
    keys = {tuple(row): i for i, row in enumerate(expected[0])}
    counts = np.zeros(len(keys))
    for row in drawn:
        counts[keys[tuple(row)]] += 1
    mean = expected[1] * len(drawn)
    return float(((counts - mean) ** 2 / mean).sum()), len(keys) - 1


def test_samples_are_uniform():
    sizes = [4, 3, 4]
    cost = cost_of([[0, 3, 5, 9], [1, 2, 8], [0, 1, 6, 7]])
    codes = every(sizes)
    inside = codes[cost(codes) <= 12]
    drawn = FeasibleSet(space_of(sizes), [at_most(cost, 12)]).sample(20_000, np.random.default_rng(1))
    statistic, freedom = chi_square(drawn, (inside, np.full(len(inside), 1 / len(inside))))
    assert statistic < freedom + 4 * np.sqrt(2 * freedom)


def test_mutation_is_the_plain_operator_given_feasibility():
    sizes = [4, 3, 4]
    cost = cost_of([[0, 3, 5, 9], [1, 2, 8], [0, 1, 6, 7]])
    codes = every(sizes)
    inside = codes[cost(codes) <= 12]
    parent = inside[len(inside) // 2]
    mass = np.ones(len(inside))
    for i, n in enumerate(sizes):
        mass *= np.where(inside[:, i] == parent[i], 0.7 + 0.3 / n, 0.3 / n)
    feasible = FeasibleSet(space_of(sizes), [at_most(cost, 12)])
    drawn = feasible.mutate(parent, 0.3, 20_000, np.random.default_rng(2))
    statistic, freedom = chi_square(drawn, (inside, mass / mass.sum()))
    assert statistic < freedom + 4 * np.sqrt(2 * freedom)


def test_crossover_takes_genes_from_its_parents():
    sizes = [4, 4, 4]
    cost = cost_of([[0, 3, 5, 9]] * 3)
    feasible = FeasibleSet(space_of(sizes), [at_most(cost, 12)])
    first, second = np.array([0, 3, 0]), np.array([1, 0, 2])
    drawn = feasible.cross(first, second, 500, np.random.default_rng(3))
    assert np.all((drawn == first) | (drawn == second)) and np.all(cost(drawn) <= 12)
    assert len(np.unique(drawn, axis=0)) > 3


def test_an_infeasible_budget_names_the_cheapest():
    cost = cost_of([[5, 2], [7, 9]], offset=1)
    with pytest.raises(InfeasibleError, match=r"the cheapest has macs 10 \(codes \[1, 0\]\)"):
        FeasibleSet(space_of([2, 2]), [at_most(cost, 9)])
    assert FeasibleSet(space_of([2, 2]), [at_most(cost, 10)]).count() == 1


def test_budgets_that_exclude_each_other_are_told_so():
    a, b = cost_of([[0, 10]]), cost_of([[10, 0]], name="params")
    with pytest.raises(InfeasibleError, match="together"):
        FeasibleSet(space_of([2]), [at_most(a, 5), at_most(b, 5)])


def test_a_budget_above_everything_leaves_the_whole_space(rng):
    space = make_space("proxyless-mini")
    feasible = FeasibleSet(space, [at_most(counted(space, "macs"), 1e12)])
    assert feasible.count() == space.size
    assert len(np.unique(feasible.sample(500, rng), axis=0)) > 490


def test_impossible_weights_are_refused(rng):
    cost = cost_of([[0, 1]])
    feasible = FeasibleSet(space_of([2]), [at_most(cost, 0)])
    with pytest.raises(InfeasibleError, match="positive weight"):
        feasible.weighted([np.array([0.0, 1.0])], 1, rng)


def test_lower_bounds_are_refused_until_they_are_exact():
    with pytest.raises(ConstraintError, match="only upper bounds"):
        FeasibleSet(space_of([2]), [Budget(parse_constraint("1<=macs<=5"), cost_of([[0, 1]]))])


def test_every_draw_is_accepted(rng):
    """There is no rejection: a thousand draws at a share of one in a million give a thousand."""
    sizes = [4] * 10
    values = [np.array([0.0, 1, 2, 3])] * 10
    cost = cost_of(values)
    feasible = FeasibleSet(space_of(sizes), [at_most(cost, 2)])
    assert feasible.count() / 4**10 < 1e-4
    drawn = feasible.sample(1000, rng)
    assert len(drawn) == 1000 and np.all(cost(drawn) <= 2)
