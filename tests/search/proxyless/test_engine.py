"""Choices learned through pairs of candidates, against enumeration and a case whose answer is known."""

import numpy as np
import pytest
import torch
from torch import nn

from nascli.costmodel import BoundedCost, Constraint, counted
from nascli.progress import Silent
from nascli.search.proxyless.engine import PathDistribution, ProxylessEngine
from nascli.spaces import load_space
from nascli.supernet.data.images import load_images
from nascli.supernet.differentiable import draw_pairs, mixed_output, paired_forward
from nascli.supernet.separate import Supernet
from nascli.supernet.training.recipe import ArchitectureParameterSettings, Recipe

SPACE = load_space("proxyless-mini:resolution=8,width=0.25,depth=1")


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


def test_a_heavy_cost_drives_the_expectation_to_its_limit():
    torch.manual_seed(0)
    cost = counted(SPACE, "macs")
    limit = (cost.minimum + cost.maximum) / 2.6
    choice = PathDistribution(Supernet(SPACE), cost, limit, ArchitectureParameterSettings(weight=200.0), 0)
    x, y = torch.randn(8, 1, 8, 8), torch.randint(0, 10, (8,))
    demands = [choice.step(number, x, y)[1] for number in range(60)]
    assert demands[0] > 1.1 and demands[-1] < 1.03


def test_an_engine_learns_and_resumes(tmp_path):
    images, cost = load_images("digits", 8), counted(SPACE, "macs")
    budget = BoundedCost(Constraint("macs", -np.inf, cost.maximum), cost)

    class Killed(Silent):
        left = 30

        def advance(self, steps=1, note=""):
            self.left -= bool(note)
            if not self.left:
                raise KeyboardInterrupt

    def engine(file, progress):
        return ProxylessEngine(
            SPACE,
            images,
            Recipe(2, 64),
            ArchitectureParameterSettings(),
            budget,
            seed=0,
            file=file,
            progress=progress,
        )

    whole = engine(tmp_path / "a", Silent()).train()
    assert any(np.ptp(row) > 0.1 for row in whole)
    with pytest.raises(KeyboardInterrupt):
        engine(tmp_path / "b", Killed()).train()
    again = engine(tmp_path / "b", Silent()).train()
    assert all(np.array_equal(a, b) for a, b in zip(whole, again, strict=True))
