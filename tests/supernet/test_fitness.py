"""NSE's equations against enumeration and numeric gradients on small layers."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from nascli.costmodel import counted
from nascli.spaces import load_space
from nascli.supernet.fitness import Fitness, mixed_output, probability, renormalised
from nascli.supernet.recipe import FitnessSettings
from nascli.supernet.supernet import Branches, Supernet, uniform_branches

WHOLE = load_space("nse-19-mini:width=0.25,resolution=8,branches=4")
SPACE = WHOLE.restricted("part", [[0, 2, 8, 16, 18]] * len(WHOLE.layers))


def test_equation_4_adds_up_to_one():
    theta = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
    p = probability(theta)
    total = sum(
        float(torch.prod(torch.where(torch.tensor(g) == 1, p, 1 - p)))
        for g in itertools.product((0, 1), repeat=3)
    )
    assert total == pytest.approx(1.0)
    assert float(probability(torch.tensor(-50.0))) == pytest.approx(0.0005)


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


def test_the_mean_of_branches_is_equation_1():
    branches = [nn.Conv2d(2, 2, 1) for _ in range(3)]
    x = torch.randn(1, 2, 3, 3)
    normal = Branches(branches, True)(x)
    assert torch.allclose(normal, (sum(b(x) for b in branches) + x) / 4)
    reduction = Branches(branches, False)(x)
    assert torch.allclose(reduction, sum(b(x) for b in branches) / 3)
    assert Branches([], True)(x) is x


def fitness(weight=0.9, target=None):
    torch.manual_seed(0)
    cost = counted(SPACE, "macs")
    supernet = Supernet(SPACE)
    return Fitness(supernet, cost, target or cost.least * 1.5, FitnessSettings(weight=weight), 7)


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
    assert float(np.mean([float(probability(t.detach()).mean()) for t in one.thetas])) < 0.46


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
                assert least <= int(gates.sum()) <= layer.most and not gates[4:].any()


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


def test_uniform_branches_are_half_of_what_is_left():
    alive = [np.ones(len(layer.candidates), dtype=bool) for layer in SPACE.layers]
    for row in alive:
        row[3:] = False
    counts = np.zeros(3)
    for seed in range(400):
        code = uniform_branches(SPACE.layers, alive, np.random.default_rng(seed))
        assert all(SPACE.layers[i].problem(c) is None for i, c in enumerate(code))
        counts += [code[-1] >> i & 1 for i in range(3)]
    assert np.all(np.abs(counts / 400 - 0.5) < 0.08)
