import itertools

import numpy as np
import pytest
import torch

from benchmarks.cost_queries import power_penalty
from nascli.costmodel import ChainCost
from nascli.errors import ConstraintError
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
