import itertools

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.cost_queries import power_penalty
from nascli.costmodel import ChainCost
from nascli.errors import ConstraintError
from nascli.supernet.differentiable import (
    ExpectedCost,
    draw_pairs,
    frozen_weights,
    learned_state,
    load_learned_state,
    mixed_output,
    paired_forward,
)

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


def test_pairs_are_drawn_by_the_softmax_and_differ():
    theta = torch.log(torch.tensor([0.5, 0.3, 0.2]))
    first = np.zeros(3)
    for seed in range(3000):
        ((a, b),) = draw_pairs([theta], np.random.default_rng(seed))
        assert a != b
        first[a] += 1
    assert np.allclose(first / 3000, [0.5, 0.3, 0.2], atol=0.03)
    assert draw_pairs([torch.zeros(1)], np.random.default_rng(0)) == [(0, 0)]
    # One that is all but certain still has others beside it.
    ((a, b),) = draw_pairs([torch.tensor([0.0, 200.0, 0.0])], np.random.default_rng(0))
    assert a == 1 and b != 1


def test_a_choice_s_gradient_is_the_difference_of_both_outputs_along_the_loss():
    """dL/dtheta_a = p_a p_b (<dL/dh, o_a> - <dL/dh, o_b>) and its negative for b, with the pair's own softmax."""
    torch.manual_seed(0)
    layer = nn.ModuleList([nn.Linear(3, 3) for _ in range(3)])
    theta = torch.tensor([0.2, -0.4, 1.0], requires_grad=True)
    x = torch.randn(4, 3)
    (paired_forward([layer], x, [(2, 0)], [theta]) ** 3).sum().backward()
    a, b = layer[2](x).detach(), layer[0](x).detach()
    upstream = 3 * a**2
    p = torch.softmax(torch.tensor([1.0, 0.2]), 0)
    expected = float(p[0] * p[1] * ((upstream * a).sum() - (upstream * b).sum()))
    assert theta.grad.tolist() == pytest.approx([-expected, 0.0, expected], rel=1e-4)


def test_mixed_output_is_the_first():
    a, b = torch.tensor(0.3, requires_grad=True), torch.tensor(0.7, requires_grad=True)
    first, second = torch.randn(2, 3), torch.randn(2, 3)
    out = mixed_output(first, second, (a, b))
    assert torch.equal(out.detach(), first)
    out.sum().backward()
    assert float(a.grad) == pytest.approx(float(first.sum())) and float(b.grad) == pytest.approx(
        float(second.sum())
    )


def test_frozen_weights_get_no_gradients():
    layer, theta = nn.Linear(2, 2), torch.ones((), requires_grad=True)
    with pytest.raises(ZeroDivisionError), frozen_weights(layer):
        (layer(torch.ones(1, 2)).sum() * theta).backward()
        raise ZeroDivisionError
    assert layer.weight.grad is None and theta.grad is not None and layer.weight.requires_grad


def test_learned_parameters_go_on_from_their_state():
    def make():
        thetas = [torch.zeros(3, requires_grad=True), torch.zeros(2, requires_grad=True)]
        return thetas, torch.optim.Adam(thetas, lr=0.1)

    def step(thetas, optimizer):
        optimizer.zero_grad()
        thetas[0].exp()[1].backward()
        optimizer.step()

    thetas, optimizer = make()
    step(thetas, optimizer)
    state = learned_state(thetas, optimizer)
    # The second has had no gradient, and so has no moments.
    assert set(state) == {"theta0", "theta1", "adam0/step", "adam0/exp_avg", "adam0/exp_avg_sq"}
    others, again = make()
    load_learned_state(others, again, state)
    step(thetas, optimizer), step(others, again)
    assert all(torch.equal(a, b) for a, b in zip(thetas, others, strict=True))
