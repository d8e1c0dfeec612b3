"""Choices learned through pairs of candidates, against enumeration and a case whose answer is known."""

import numpy as np
import pytest
import torch

from nascli.costmodel import BoundedCost, Constraint, counted
from nascli.progress import Silent
from nascli.search.proxyless.engine import PathDistribution, ProxylessEngine
from nascli.spaces import load_space
from nascli.supernet.data.images import load_images
from nascli.supernet.separate import Supernet
from nascli.supernet.training.recipe import ArchitectureParameterSettings, Recipe

SPACE = load_space("proxyless-mini:resolution=8,width=0.25,depth=1")


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
