"""Feasible sets against enumeration, on small chains of every kind."""

import numpy as np
import pytest
from feasible_cases import case, chain_space, chi_square, every, random_cost, random_scores, window
from hypothesis import given, settings
from hypothesis import strategies as st

from nascli.costmodel import (
    BinnedSampler,
    BoundedCost,
    ChainCost,
    FeasibleSet,
    best,
    counted,
    k_best,
    parse_constraint,
)
from nascli.costmodel.feasible import BranchWeights, additive
from nascli.errors import ConstraintError, InfeasibleError
from nascli.spaces import make_space

KINDS = st.sampled_from(["single", "paired", "branches"])
SIZES = st.lists(st.integers(1, 4), min_size=1, max_size=3)


@settings(max_examples=150, deadline=None)
@given(KINDS, SIZES, st.integers(0, 2**31), st.floats(0, 1), st.floats(0, 1))
def test_integer_costs_are_exact(kind, sizes, seed, a, b):
    space, cost, rng = case(kind, sizes, seed)
    codes = every(space)
    costs = cost(codes)
    assert cost.minimum == costs.min() and cost.maximum == costs.max()
    low, high = sorted(np.quantile(costs, [a, b]))
    low, high = np.floor(low) - 0.5, np.ceil(high) + 0.5
    inside = codes[(costs >= low) & (costs <= high)]
    if len(inside) == 0:
        with pytest.raises(InfeasibleError):
            FeasibleSet(space, [window(cost, low, high)])
        return
    feasible = FeasibleSet(space, [window(cost, low, high)])
    assert feasible.count() == len(inside)
    assert 10 ** feasible.log10_count() == pytest.approx(len(inside))
    assert set(feasible.slack.values()) == {0.0}
    assert np.array_equal(feasible.enumerate(), inside[np.lexsort(inside.T[::-1])])
    assert feasible.contains(feasible.sample(50, rng)).all()
    scores = random_scores(space, rng)
    values = np.sort(additive(feasible, scores, inside))[::-1]
    found = k_best(feasible, scores, 5)
    assert additive(feasible, scores, found) == pytest.approx(values[:5])
    assert len(np.unique(found, axis=0)) == min(5, len(inside))
    assert additive(feasible, scores, best(feasible, scores)[None])[0] == pytest.approx(values[0])


@settings(max_examples=80, deadline=None)
@given(KINDS, SIZES, st.integers(0, 2**31), st.floats(0.1, 1), st.floats(0.3, 1), st.booleans())
def test_real_costs_are_rounded_to_the_safe_side(kind, sizes, seed, share, other_share, windowed):
    space, cost, rng = case(kind, sizes, seed, integer=False)
    second = random_cost(space, rng, name="params", integer=False)
    codes = every(space)
    high, limit = np.quantile(cost(codes), share), np.quantile(second(codes), other_share)
    low = np.quantile(cost(codes), share / 2) if windowed else -np.inf
    budgets = [window(cost, low, high), window(second, -np.inf, limit)]
    inside = np.all([b.holds(b.cost(codes)) for b in budgets], axis=0)
    try:
        feasible = FeasibleSet(space, budgets)
    except InfeasibleError:
        assert not inside.any()
        return
    except ConstraintError:
        assert inside.any()
        return
    slack = feasible.slack
    tight = np.all(
        [
            (b.cost(codes) <= b.constraint.high - slack[b.cost.name])
            & (b.cost(codes) >= b.constraint.low + slack[b.cost.name])
            for b in budgets
        ],
        axis=0,
    )
    found = feasible.enumerate()
    assert feasible.contains(found).all()
    kept = {tuple(row) for row in found.tolist()}
    assert (
        {tuple(row) for row in codes[tight].tolist()}
        <= kept
        <= {tuple(row) for row in codes[inside].tolist()}
    )
    assert feasible.contains(feasible.sample(50, rng)).all()


@pytest.mark.parametrize("kind", ["single", "paired", "branches"])
def test_draws_have_the_distribution_that_they_should(kind):
    space, cost, rng = case(kind, [3, 4, 3], 7)
    codes = every(space)
    high = np.quantile(cost(codes), 0.5)
    inside = codes[cost(codes) <= high]
    feasible = FeasibleSet(space, [window(cost, -np.inf, high)])
    assert chi_square(feasible.sample(20_000, rng), inside, np.ones(len(inside)))
    parent, other = inside[len(inside) // 3], inside[-1]
    mutated = np.ones(len(inside))
    crossed = np.ones(len(inside))
    for i, layer in enumerate(space.layers):
        same = inside[:, i] == parent[i]
        mutated *= 0.3 / layer.size + np.where(same, 0.7, 0.0)
        crossed *= 0.5 * same + 0.5 * (inside[:, i] == other[i])
    assert chi_square(feasible.mutate(parent, 0.3, 20_000, rng), inside, mutated)
    reachable = crossed > 0
    drawn = feasible.crossover(parent, other, 5000, rng)
    assert chi_square(drawn, inside[reachable], crossed[reachable])
    prefix = parent[:2].tolist()
    begins = np.all(inside[:, :2] == prefix, axis=1)
    assert feasible.count(prefix) == begins.sum()
    assert chi_square(feasible.sample(4000, rng, prefix), inside[begins], np.ones(begins.sum()))


def test_branches_drawn_by_their_probabilities():
    space, cost, rng = case("branches", [3, 4], 3)
    codes = every(space)
    high = np.quantile(cost(codes), 0.6)
    inside = codes[cost(codes) <= high]
    probabilities = [rng.uniform(0.1, 0.9, len(layer.candidates)) for layer in space.layers]
    mass = np.ones(len(inside))
    for i, p in enumerate(probabilities):
        bits = (inside[:, i, None] >> np.arange(len(p))) & 1
        mass *= np.prod(np.where(bits, p, 1 - p), axis=1)
    feasible = FeasibleSet(space, [window(cost, -np.inf, high)])
    assert chi_square(
        feasible.weighted(
            [BranchWeights(np.asarray(p), 1 - np.asarray(p)) for p in probabilities], 30_000, rng
        ),
        inside,
        mass,
    )


def test_distinct_architectures():
    space, cost, rng = case("single", [4, 4, 4, 4], 5)
    feasible = FeasibleSet(space, [window(cost, -np.inf, np.quantile(cost(every(space)), 0.7))])
    for n in (10, 100, 10_000):
        drawn = feasible.sample_distinct(n, rng)
        assert len(drawn) == len(np.unique(drawn, axis=0)) == min(n, feasible.count())
        assert feasible.contains(drawn).all()


def test_counts_beyond_64_bits_are_exact():
    space = make_space("nse-27")
    free = FeasibleSet(space, [])
    assert free.count() == space.size == 101_584**16 * 101_583**6
    assert free.log10_count() == pytest.approx(110.15, abs=0.01)
    single = make_space("pcnas-large")
    cost = counted(single, "macs")
    budget = window(cost, -np.inf, (cost.minimum + cost.maximum) / 2)
    feasible = FeasibleSet(single, [budget])
    assert np.log10(float(feasible.count())) == pytest.approx(feasible.log10_count(), abs=1e-9)
    # Splitting by the first layer adds up to the whole, to the last digit.
    assert sum(feasible.count([code]) for code in range(single.layers[0].size)) == feasible.count()


def test_windows_of_the_papers(rng):
    space = make_space("nse-27")
    cost = counted(space, "macs")
    feasible = FeasibleSet(space, [BoundedCost(parse_constraint("300M<=macs<=350M"), cost)])
    drawn = cost(feasible.sample(300, rng))
    assert drawn.min() >= 300e6 and drawn.max() <= 350e6
    spos = make_space("spos")
    macs = counted(spos, "macs")
    bins = BinnedSampler(spos, macs, np.arange(290e6, 361e6, 10e6))
    drawn = macs(bins.sample(7000, rng))
    counts, _ = np.histogram(drawn, np.arange(290e6, 361e6, 10e6))
    assert len(bins.bins) == 7 and counts.min() > 880 and counts.sum() == 7000
    with pytest.raises(ConstraintError, match="ascending"):
        BinnedSampler(spos, macs, [3.0, 2.0])
    with pytest.raises(InfeasibleError, match="no architecture"):
        BinnedSampler(spos, macs, [1.0, 2.0])
    partly = BinnedSampler(spos, macs, [1e6, 2e6, 300e6])
    assert partly.empty == [(1e6, 2e6)]


def test_nasbench_macro_budgets(data_folder):
    import pandas as pd

    table = pd.read_csv(data_folder / "nasbench_macro" / "nasbench_macro.csv", dtype={"arch": str})
    space = make_space("nasbench-macro")
    codes = np.array([[int(digit) for digit in arch] for arch in table["arch"]], dtype=np.int16)
    for name, column in (("macs", "flops"), ("params", "params")):
        cost = counted(space, name)
        for share in (0.001, 0.1, 0.5, 0.9):
            high = table[column].quantile(share)
            feasible = FeasibleSet(space, [window(cost, -np.inf, high)])
            inside = codes[table[column] <= high]
            if set(feasible.slack.values()) == {0.0}:
                assert feasible.count() == len(inside)
                assert np.array_equal(feasible.enumerate(), inside[np.lexsort(inside.T[::-1])])
            else:
                assert feasible.count() <= len(inside)


def test_several_devices_and_costs_at_once(rng):
    space = make_space("proxyless-mini")
    macs, params = counted(space, "macs"), counted(space, "params")
    noise = np.random.default_rng(1)
    slow = ChainCost("latency", "time", 0.0, tuple(u * 1e-9 * (1 + noise.random(len(u))) for u in macs.unary))
    codes = space.sample(3000, rng)
    budgets = [
        window(macs, -np.inf, np.quantile(macs(codes), 0.5)),
        window(params, np.quantile(params(codes), 0.2), np.quantile(params(codes), 0.9)),
        window(slow, -np.inf, np.quantile(slow(codes), 0.5)),
    ]
    feasible = FeasibleSet(space, budgets)
    assert feasible.contains(feasible.sample(500, rng)).all()
    share = np.all([b.holds(b.cost(codes)) for b in budgets], axis=0).mean()
    assert feasible.count() / space.size == pytest.approx(share, rel=0.15)


def test_infeasible_budgets_say_which_and_by_how_much():
    space = chain_space([2, 2])
    cheap = ChainCost("macs", "count", 1.0, (np.array([5.0, 2.0]), np.array([7.0, 9.0])))
    with pytest.raises(InfeasibleError, match=r"the cheapest has macs 10 \(architecture \[1, 0\]\)"):
        FeasibleSet(space, [window(cheap, -np.inf, 9)])
    assert FeasibleSet(space, [window(cheap, -np.inf, 10)]).count() == 1
    with pytest.raises(InfeasibleError, match="the most expensive has macs 15"):
        FeasibleSet(space, [window(cheap, 16, np.inf)])
    other = ChainCost("params", "count", 0.0, (np.array([2.0, 5.0]), np.array([0.0, 0.0])))
    with pytest.raises(InfeasibleError) as caught:
        FeasibleSet(space, [window(cheap, -np.inf, 11), window(other, -np.inf, 3)])
    assert "macs at least 13" in str(caught.value) and "params at least 5" in str(caught.value)
    with pytest.raises(InfeasibleError):
        # Between two neighbouring costs there is nothing.
        FeasibleSet(space, [window(cheap, 10.5, 11.5)])


def test_a_coarse_grid_never_says_infeasible_wrongly():
    rng = np.random.default_rng(0)
    space = chain_space([4] * 6)
    cost = random_cost(space, rng, integer=False)
    second = random_cost(space, rng, name="params", integer=False)
    codes = every(space)
    one = codes[1234]
    budgets = [
        window(cost, -np.inf, cost(one[None])[0] * (1 + 1e-7)),
        window(second, -np.inf, second(one[None])[0] * (1 + 1e-7)),
    ]
    try:
        feasible = FeasibleSet(space, budgets, resolution=1e-3)
        assert feasible.contains(feasible.sample(10, rng)).all()
    except ConstraintError as error:
        assert not isinstance(error, InfeasibleError) and "satisfy the constraints" in str(error)


def test_impossible_weights_and_prefixes_are_refused(rng):
    space = chain_space([2, 2])
    cost = ChainCost("macs", "count", 0.0, (np.array([0.0, 1.0]),) * 2)
    feasible = FeasibleSet(space, [window(cost, -np.inf, 1)])
    with pytest.raises(InfeasibleError, match=r"begins with \[1, 1\]"):
        feasible.sample(1, rng, [1, 1])
    with pytest.raises(InfeasibleError):
        feasible.weighted([np.array([0.0, 1.0])] * 2, 1, rng)
    with pytest.raises(ConstraintError, match="more than 2"):
        feasible.enumerate(limit=2)


def test_every_draw_is_accepted(rng):
    """There is no rejection: what is drawn is what is returned, at a share of one in a hundred thousand."""
    space = chain_space([4] * 10)
    cost = ChainCost("macs", "count", 0.0, (np.array([0.0, 1.0, 2.0, 3.0]),) * 10)
    feasible = FeasibleSet(space, [window(cost, -np.inf, 2)])
    assert feasible.count() == 1 + 10 + 10 + 45 and feasible.count() / 4**10 < 1e-4

    class Counting(np.random.Generator):
        draws = 0

        def random(self, *args, **kwargs):
            Counting.draws += 1
            return super().random(*args, **kwargs)

    counting = Counting(np.random.PCG64(0))
    drawn = feasible.sample(1000, counting)
    assert len(drawn) == 1000 and feasible.contains(drawn).all()
    assert Counting.draws == len(space.layers)


@settings(max_examples=60, deadline=None)
@given(SIZES, st.integers(0, 2**31), st.floats(0, 1))
def test_without_an_upper_bound_the_most_expensive_is_inside(sizes, seed, share):
    space, cost, _ = case("single", sizes, seed, integer=False)
    codes = every(space)
    low = np.quantile(cost(codes), share)
    try:
        feasible = FeasibleSet(space, [window(cost, low, np.inf)])
    except ConstraintError as error:
        # Only the most expensive architecture itself is that close to its bound, and then it is not called infeasible.
        assert cost.maximum - low < 1e-3 * (cost.maximum - cost.minimum + 1e-9) and not isinstance(
            error, InfeasibleError
        )
        return
    kept = {tuple(row) for row in feasible.enumerate().tolist()}
    most_expensive = codes[cost(codes).argmax()]
    if cost.maximum - low > feasible.slack["macs"]:
        assert tuple(most_expensive.tolist()) in kept
    assert feasible.contains(feasible.enumerate()).all()


def test_seconds_do_not_drown_in_the_solvers_tolerance():
    rng = np.random.default_rng(3)
    space = chain_space([4, 4, 4])
    latency = ChainCost("latency", "time", 1e-5, tuple(rng.random(4) * 1e-6 for _ in range(3)))
    codes = every(space)
    costs = np.sort(latency(codes))
    gap = int(np.argmax(np.diff(costs)))
    low, high = costs[gap] + 1e-9, costs[gap + 1] - 1e-9
    with pytest.raises(InfeasibleError):
        FeasibleSet(space, [window(latency, low, high)])
