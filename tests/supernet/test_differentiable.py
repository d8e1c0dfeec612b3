import itertools

import numpy as np
import pytest
import torch

from benchmarks.cost_queries import power_penalty
from nascli.costmodel import ChainCost
from nascli.errors import ConstraintError
from nascli.search.nse.fitness import branch_probability, configuration_probability, pair_cost
from nascli.supernet.differentiable import ExpectedCost

RNG = np.random.default_rng(0)


def chain(sizes, *, joins=False, pairwise=False):
    return ChainCost(
        "macs", "count", 2.0, tuple(RNG.random(n) for n in sizes),
        tuple(RNG.random(n + 1) for n in sizes) if joins else None,
        pairwise=tuple(RNG.random((a, b)) for a, b in itertools.pairwise(sizes)) if pairwise else None,
    )  # fmt: skip


@pytest.mark.parametrize("pairwise", [False, True])
def test_expectation_over_single_paths_equals_enumeration(pairwise):
    cost = chain([3, 2, 4], pairwise=pairwise)
    p = [torch.softmax(torch.randn(n, dtype=torch.double), 0) for n in (3, 2, 4)]
    expected = sum(
        float(p[0][a] * p[1][b] * p[2][c]) * cost(np.array([[a, b, c]]))[0]
        for a, b, c in itertools.product(range(3), range(2), range(4))
    )
    assert float(ExpectedCost(cost, dtype=torch.double)(p)) == pytest.approx(expected)


def test_expectation_over_branches_equals_enumeration():
    cost = chain([3, 2], joins=True)
    p = [torch.rand(n, dtype=torch.double) for n in (3, 2)]
    expected = 0.0
    for a, b in itertools.product(range(8), range(4)):
        chance = 1.0
        for layer, code in enumerate((a, b)):
            for i, value in enumerate(p[layer].tolist()):
                chance *= value if code >> i & 1 else 1 - value
        expected += chance * cost(np.array([[a, b]]))[0]
    assert float(ExpectedCost(cost, dtype=torch.double)(p)) == pytest.approx(expected)


def test_equation_4_sums_to_one():
    p = torch.rand(4, dtype=torch.double)
    total = sum(
        configuration_probability(p, torch.tensor(g, dtype=torch.double))
        for g in itertools.product((0, 1), repeat=4)
    )
    assert float(total) == pytest.approx(1)


def test_equation_8_by_hand_and_its_gradient():
    cost = ChainCost("macs", "count", 1.0, (np.array([2.0, 3.0]),))
    theta = torch.tensor([0.3, -0.7], dtype=torch.double, requires_grad=True)
    a, b = torch.tensor([1.0, 0.0], dtype=torch.double), torch.tensor([1.0, 1.0], dtype=torch.double)
    p = branch_probability(theta).tolist()
    chance_a, chance_b = p[0] * (1 - p[1]), p[0] * p[1]
    by_hand = 1 + (chance_a * 2 + chance_b * 5) / (chance_a + chance_b)
    assert float(pair_cost([theta], [a], [b], cost)) == pytest.approx(by_hand)
    assert torch.autograd.gradcheck(lambda t: pair_cost([t], [a], [b], cost), (theta,))


def test_equation_8_with_joins_over_several_layers_and_certain_indicators():
    cost = chain([2, 3], joins=True)
    thetas = [torch.tensor([0.2, -0.1]), torch.tensor([40.0, 40.0, 40.0])]
    a, b = (
        [torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0, 0.0])],
        [torch.tensor([1.0, 1.0]), torch.tensor([0.0, 0.0, 1.0])],
    )
    expected = cost.offset
    for layer in range(2):
        p = (0.999 * torch.sigmoid(thetas[layer].double()) + 0.0005).numpy()
        shares = []
        for gates in (a[layer].numpy(), b[layer].numpy()):
            shares.append(np.prod(np.where(gates == 1, p, 1 - p)))
        for share, gates in zip(shares, (a[layer].numpy(), b[layer].numpy()), strict=True):
            expected += (
                share / sum(shares) * (gates @ cost.unary[layer] + cost.joins[layer][int(gates.sum())])
            )
    # Indicators so large that a sigmoid in single precision is 1 would give 0 over 0.
    assert float(pair_cost(thetas, a, b, cost)) == pytest.approx(expected, rel=1e-4)


def test_gradients():
    for cost, sizes in ((chain([3, 4], pairwise=True), (3, 4)), (chain([3, 4], joins=True), (3, 4))):
        expected = ExpectedCost(cost, dtype=torch.double)
        inputs = tuple(torch.rand(n, dtype=torch.double, requires_grad=True) for n in sizes)
        assert torch.autograd.gradcheck(lambda *p, e=expected: e(p), inputs)
    x = torch.tensor(3.0, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: power_penalty(v, 5.0, alpha=0.1), (x,))


def test_values_by_hand():
    demand = torch.tensor(6.0)
    assert float(power_penalty(demand, 4.0, alpha=0.5)) == 2.0
    with pytest.raises(ConstraintError, match="2 layers have costs, got 1"):
        ExpectedCost(chain([2, 2]))([torch.ones(2)])
