"""NSE's equations against enumeration and numeric gradients on small layers."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from nascli.costmodel import ChainCost, counted
from nascli.errors import TrainingError
from nascli.search.nse.fitness import (
    FitnessIndicators,
    branch_probability,
    configuration_probability,
    pair_cost,
    renormalised,
    truncated_bernoulli,
)
from nascli.spaces import load_space
from nascli.supernet.differentiable import mixed_output
from nascli.supernet.separate import Supernet, sample_branches
from nascli.supernet.training.recipe import ArchitectureParameterSettings

WHOLE = load_space("nse-19-mini:width=0.25,resolution=8,branches=4")
SPACE = WHOLE.restricted("part", [[0, 2, 8, 16, 18]] * len(WHOLE.layers))


def test_equation_4_adds_up_to_one():
    theta = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
    p = branch_probability(theta)
    total = sum(
        float(torch.prod(torch.where(torch.tensor(g) == 1, p, 1 - p)))
        for g in itertools.product((0, 1), repeat=3)
    )
    assert total == pytest.approx(1.0)
    assert float(branch_probability(torch.tensor(-50.0))) == pytest.approx(0.0005)


def test_configurations_of_four_branches_add_up_to_one():
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
    assert float(pair_cost([theta.detach()], [a], [b], cost)) == pytest.approx(by_hand)
    assert torch.autograd.gradcheck(lambda t: pair_cost([t], [a], [b], cost), (theta,))


def test_equation_8_with_joins_over_several_layers_and_certain_indicators():
    rng = np.random.default_rng(0)
    cost = ChainCost(
        "macs", "count", 2.0, tuple(rng.random(n) for n in (2, 3)), tuple(rng.random(n + 1) for n in (2, 3))
    )
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


def test_equation_7_is_the_gradient_of_both_probabilities():
    """dL/dtheta = <dL/do, o_a> dp_a/dtheta + <dL/do, o_b> dp_b/dtheta, with dL/do taken at o_a."""
    torch.manual_seed(0)
    theta = torch.randn(3, dtype=torch.float64, requires_grad=True)
    a, b = torch.tensor([1.0, 0, 1]).double(), torch.tensor([0.0, 1, 1]).double()
    first, second = torch.randn(4, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    out = mixed_output(first, second, renormalised(theta, a, b))
    assert torch.equal(out.detach(), first)
    loss = (out**3).sum()
    loss.backward()
    upstream = 3 * first**2
    numeric = torch.zeros(3, dtype=torch.float64)
    for n in range(3):
        for sign in (1, -1):
            moved = theta.detach().clone()
            moved[n] += sign * 1e-6
            pa, pb = renormalised(moved, a, b)
            numeric[n] += sign * ((upstream @ first) * pa + (upstream @ second) * pb) / 2e-6
    assert torch.allclose(theta.grad, numeric, atol=1e-5)


def fitness(weight=0.9, target=None):
    torch.manual_seed(0)
    cost = counted(SPACE, "macs")
    supernet = Supernet(SPACE)
    return FitnessIndicators(
        supernet, cost, target or cost.minimum * 1.5, ArchitectureParameterSettings(weight=weight), 7
    )


def batch():
    torch.manual_seed(1)
    return torch.randn(8, 1, 8, 8), torch.randint(0, 10, (8,))


def test_a_step_moves_indicators_and_no_weight():
    one = fitness()
    before = [p.detach().clone() for p in one.supernet.parameters()]
    one.step(0, *batch())
    assert all(torch.equal(a, b) for a, b in zip(before, one.supernet.parameters(), strict=True))
    assert all(p.requires_grad for p in one.supernet.parameters())
    assert any(float(theta.detach().abs().max()) > 0 for theta in one.thetas)


def test_a_heavy_resource_term_drives_indicators_down():
    one = fitness(weight=1000.0)
    images, labels = batch()
    start = None
    for number in range(80):
        _, demand = one.step(number, images, labels)
        start = start or demand
    assert sum(float(t.detach().sum()) for t in one.thetas) < 0
    assert float(np.mean([float(branch_probability(t.detach()).mean()) for t in one.thetas])) < 0.46


def test_two_distinct_configurations_that_the_layer_allows():
    one = fitness()
    rng = np.random.default_rng(0)
    for number, layer in enumerate(one.layers):
        one.alive[number][4:] = False
        for _ in range(20):
            a, b = one.draw(number, rng)
            assert not torch.equal(a, b)
            for gates in (a, b):
                least = 0 if layer.join == "normal" else 1
                assert least <= int(gates.sum()) <= layer.max_branches and not gates[4:].any()


@pytest.mark.parametrize(("least", "most"), [(0, 3), (1, 2), (2, 2)])
def test_truncated_gates_against_enumeration(least, most):
    p = np.array([0.1, 0.5, 0.9])
    drawn = truncated_bernoulli(p, least, most, 20_000, np.random.default_rng(0))
    chances = {
        g: float(np.prod(np.where(g, p, 1 - p)))
        for g in itertools.product((False, True), repeat=3)
        if least <= sum(g) <= most
    }
    total = sum(chances.values())
    rows, counts = np.unique(drawn, axis=0, return_counts=True)
    found = {tuple(map(bool, row)): count / 20_000 for row, count in zip(rows, counts, strict=True)}
    assert found.keys() <= chances.keys()
    for gates, chance in chances.items():
        assert found.get(gates, 0.0) == pytest.approx(chance / total, abs=0.015)
    with pytest.raises(TrainingError, match="no set of 2 to 3"):
        truncated_bernoulli(np.array([0.5, 0.0, 0.0]), 2, 3, 1, np.random.default_rng(0))


def test_many_operations_and_few_branches_are_drawn_at_once():
    """Three of 45 operations at one half each come once in a billion plain draws."""
    drawn = truncated_bernoulli(np.full(45, 0.5), 1, 3, 256, np.random.default_rng(0))
    assert drawn.sum(axis=1).max() == 3 and drawn.sum(axis=1).min() >= 1
    space = load_space("nse-second-mini:resolution=8")
    alive = [np.ones(len(layer.candidates), dtype=bool) for layer in space.layers]
    assert len(sample_branches(space.layers, alive, np.random.default_rng(0))) == len(space.layers)


def test_equation_6_is_the_mean_over_pairs_of_the_full_gradient_s_direction():
    """Through a layer: the two configurations' own outputs carry the gradient, each with its own probability."""
    torch.manual_seed(3)
    one = fitness()
    number = next(i for i, layer in enumerate(one.layers) if layer.join == "reduction")
    candidates = [block for block in one.supernet.blocks if isinstance(block, nn.ModuleList)][number]
    layer = one.layers[number]
    one.supernet.eval()
    x = torch.randn(4, *layer.input)
    with torch.no_grad():
        one.thetas[number].copy_(torch.tensor([0.4, -0.3, 0.2, 0.0, -0.1]))
    upstream = torch.randn(4, *layer.output)
    a, b = torch.tensor([1.0, 0, 1, 0, 0]), torch.tensor([0.0, 1, 0, 0, 1])
    probabilities = renormalised(one.thetas[number], a, b)
    out = one._forward_layer(candidates, number, x, (a, b), probabilities)
    (out * upstream).sum().backward()
    with torch.no_grad():
        both = [(candidates[0](x) + candidates[2](x)) / 2, (candidates[1](x) + candidates[4](x)) / 2]
        along = [float((o * upstream).sum()) for o in both]
    theta = one.thetas[number].detach().clone().requires_grad_()
    pa, pb = renormalised(theta, a, b)
    (pa * along[0] + pb * along[1]).backward()
    assert torch.allclose(one.thetas[number].grad, theta.grad, atol=1e-4)
    assert float(theta.grad.abs().max()) > 1e-3
    # Over all pairs of a small layer, weighted by how often they are drawn, it is the gradient of the mixture over
    # all configurations, up to one factor.
    theta = torch.tensor([0.3, -0.8], dtype=torch.double, requires_grad=True)
    values = {
        g: v for g, v in zip(itertools.product((0.0, 1.0), repeat=2), (0.7, -1.1, 0.4, 2.0), strict=True)
    }
    p = branch_probability(theta)
    chance = {
        g: torch.prod(torch.tensor(g).double() * p + (1 - torch.tensor(g).double()) * (1 - p)) for g in values
    }
    (sum(chance[g] * v for g, v in values.items())).backward()
    full, theta.grad = theta.grad.clone(), None
    paired = torch.zeros(2, dtype=torch.double)
    for g, h in itertools.permutations(values, 2):
        qa, qb = renormalised(theta, torch.tensor(g).double(), torch.tensor(h).double())
        (grad,) = torch.autograd.grad(qa * values[g] + qb * values[h], theta)
        paired += (chance[g] * (chance[g] + chance[h])).detach() * grad
    cosine = torch.nn.functional.cosine_similarity(paired, full, dim=0)
    assert float(cosine) > 0.9


def test_a_single_remaining_operation_is_drawn_twice():
    one = fitness()
    index = next(i for i, layer in enumerate(one.layers) if layer.join == "reduction")
    one.alive[index][1:] = False
    a, b = one.draw(index, np.random.default_rng(0))
    assert torch.equal(a, b) and a[0] == 1
    one.step(0, *batch())


def test_state_survives():
    one, two = fitness(), fitness()
    images, labels = batch()
    for number in range(3):
        one.step(number, images, labels)
    two.load(one.state())
    for f in (one, two):
        f.step(3, images, labels)
    assert all(torch.equal(a, b) for a, b in zip(one.thetas, two.thetas, strict=True))


def test_equation_4_sums_to_one():
    p = torch.rand(4, dtype=torch.double)
    total = sum(
        configuration_probability(p, torch.tensor(g, dtype=torch.double))
        for g in itertools.product((0, 1), repeat=4)
    )
    assert float(total) == pytest.approx(1)
