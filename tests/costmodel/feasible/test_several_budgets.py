"""Several budgets at once: what the coarse grid that they share loses or lets through is not noticed."""

import numpy as np
import pytest
from feasible_cases import every
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nascli.costmodel import BoundedCost, ChainCost, Constraint, FeasibleSet, k_best
from nascli.costmodel.feasible import additive
from nascli.errors import ConstraintError, InfeasibleError
from nascli.spaces import Layer, Space
from nascli.spaces.operators.inverted_residual import mbconv
from nascli.units import format_estimated_count

KEEP = [mbconv((4, 2, 2), 4, expand=e) for e in range(1, 8)]
SINGLE = Space("single", (), tuple(Layer(f"l{i}", tuple(KEEP[:5])) for i in range(5)))
BRANCHES = Space("branches", (), tuple(Layer(f"l{i}", tuple(KEEP[:4]), "normal", 2) for i in range(4)))


def cost_of(space, name, rng):
    unary = tuple(rng.random(len(layer.candidates)) for layer in space.layers)
    joins = None
    if space.multi_branch:
        joins = tuple(np.concatenate([[0.0], rng.random(layer.max_branches)]) for layer in space.layers)
    return ChainCost(name, "count", float(rng.random()), unary, joins)


def case(kind, seed, windows, resolution=1.0, shares=(0.35, 0.7)):
    """Three costs; the middle half of each, or its lower part; with what satisfies them, told one by one."""
    rng = np.random.default_rng(seed)
    space = BRANCHES if kind == "branches" else SINGLE
    codes, budgets = every(space), []
    for name in ("macs", "params", "latency"):
        cost = cost_of(space, name, rng)
        low, high = (float(q) for q in np.quantile(cost(codes), shares))
        budgets.append(BoundedCost(Constraint(name, low if windows else -np.inf, high), cost))
    inside = codes[np.all([b.holds(b.cost(codes)) for b in budgets], axis=0)]
    return space, budgets, inside, rng


@settings(max_examples=25, deadline=None)
@example("single", 243899, True, 1e-3)
@given(
    st.sampled_from(["single", "branches"]),
    st.integers(0, 2**31),
    st.booleans(),
    st.sampled_from([1e-3, 1.0]),
)
def test_all_that_is_feasible_is_found_and_nothing_else(kind, seed, windows, resolution):
    space, budgets, inside, rng = case(kind, seed, windows)
    try:
        feasible = FeasibleSet(space, budgets, resolution=resolution)
    except InfeasibleError:
        assert len(inside) == 0
        return
    except ConstraintError:
        # So few on so coarse a grid that none was drawn: it is said that there are some.
        assert 0 < len(inside) < 20
        return
    assert np.array_equal(feasible.enumerate(), inside)
    if feasible.exact:
        assert feasible.count() == len(inside)
    else:
        assert feasible.count() == pytest.approx(len(inside), rel=0.25, abs=3)
    drawn = feasible.sample(50, rng)
    assert feasible.contains(drawn).all()
    scores = [rng.standard_normal(len(layer.candidates)) for layer in space.layers]
    best = k_best(feasible, scores, 5)
    expected = np.sort(additive(feasible, scores, inside))[::-1][:5]
    assert feasible.contains(best).all()
    assert additive(feasible, scores, best) == pytest.approx(expected)
    parent = inside[0]
    for children in (feasible.mutate(parent, 0.3, 20, rng), feasible.crossover(parent, inside[-1], 20, rng)):
        assert feasible.contains(children).all()
    assert all(feasible.has_completion(row[:2].tolist()) for row in inside[:20])


def test_what_nothing_satisfies_together_is_explained():
    """Also where the looser grid is empty too: the costs pull in opposite directions."""
    rng = np.random.default_rng(3)
    cost = cost_of(SINGLE, "macs", rng)
    other = ChainCost("params", "count", 10.0, tuple(1 - values for values in cost.unary))
    budgets = [
        BoundedCost(Constraint(c.name, -np.inf, c.minimum + 0.2 * (c.maximum - c.minimum)), c)
        for c in (cost, other)
    ]
    with pytest.raises(InfeasibleError, match=r"together\.\nWith the others kept, one of these is possible"):
        FeasibleSet(SINGLE, budgets)


def test_draws_are_uniform_over_all_of_it():
    space, budgets, inside, rng = case("single", 5, True)
    feasible = FeasibleSet(space, budgets, resolution=0.01)
    assert feasible.relaxed is not None and len(inside) > 50
    drawn = feasible.sample(200 * len(inside), rng)
    keys = {tuple(row): place for place, row in enumerate(inside.tolist())}
    counts = np.bincount([keys[tuple(row)] for row in drawn.tolist()], minlength=len(keys))
    statistic = float(((counts - 200) ** 2 / 200).sum())
    assert statistic < len(keys) + 4.5 * np.sqrt(2 * len(keys))


def test_an_estimate_is_said_to_be_one():
    space = Space("large", (), tuple(Layer(f"l{i}", tuple(KEEP[:5])) for i in range(8)))
    rng = np.random.default_rng(1)
    costs = [cost_of(space, name, rng) for name in ("macs", "params", "latency")]
    codes = space.sample(100_000, rng)
    budgets = [BoundedCost(Constraint(c.name, -np.inf, float(np.quantile(c(codes), 0.5))), c) for c in costs]
    feasible = FeasibleSet(space, budgets)
    share = feasible.contains(codes).mean()
    assert not feasible.exact
    assert feasible.count() / space.size == pytest.approx(share, rel=0.05)
    assert format_estimated_count(feasible.count(), feasible.exact).startswith("about ")
    assert (
        format_estimated_count(348_127, False) == "about 350,000"
        and format_estimated_count(348_127, True) == "348,127"
    )
    one = FeasibleSet(space, budgets[:1])
    assert one.exact and one.relaxed is None
    assert len(feasible.sample_distinct(300, rng)) == 300
