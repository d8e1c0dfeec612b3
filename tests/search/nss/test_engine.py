"""The distribution over spaces: its cost against the closed form, and what it learns."""

import numpy as np
import pytest
import torch
from trainings import Killed

from nascli.costmodel.staged_costs import StagedCost, staged_macs
from nascli.progress import Silent
from nascli.search.nss.engine import SpaceDistribution, mixture_cost, search_space
from nascli.search.nss.settings import NssSettings
from nascli.spaces.catalog import load_space_of_any_kind
from nascli.supernet.data.images import load_images
from nascli.supernet.masked import MaskedSupernet
from nascli.supernet.training.recipe import Recipe

SPACE = load_space_of_any_kind("nss-expanded-mini:resolution=8,depths=4,widths=16")


def gates(depth, width):
    """One-hot gates over two options each, the first of which is taken."""
    return (([depth, 3], torch.tensor([1.0, 0.0])), ([width, 16], torch.tensor([1.0, 0.0])))


def test_the_mixtures_cost_is_the_closed_form():
    code = np.array([[1, 4, 0, 11, 2, 6]])
    given = mixture_cost(staged_macs(SPACE), [gates(2, 5), gates(1, 12), gates(3, 7)])
    assert float(given) == pytest.approx(float(SPACE.macs(code)[0]))
    soft = torch.tensor([0.3, 0.7], requires_grad=True)
    stages = [(([1, 2], soft), ([4, 8], torch.tensor([1.0, 0.0])))] + [gates(1, 8)] * 2
    mixture_cost(staged_macs(SPACE), stages).backward()
    assert soft.grad[1] > soft.grad[0] > 0


def distribution(target, weight=20.0):
    torch.manual_seed(0)
    return SpaceDistribution(
        MaskedSupernet(SPACE),
        2,
        4,
        target=target,
        cost=staged_macs(SPACE),
        weight=weight,
        rate=0.1,
        temperatures=(2.0, 0.5),
        seed=1,
    )


def test_the_cost_term_finds_spaces_near_the_target():
    torch.manual_seed(1)
    x, y = torch.randn(8, 1, 8, 8), torch.randint(0, 10, (8,))
    means = []
    for target in (float(SPACE.macs([[0, 1] * 3])[0]), float(SPACE.macs([[3, 14] * 3])[0])):
        one = distribution(target)
        for step in range(60):
            one.step(step, step / 60, x, y)
        codes = np.array([one.draw(s, False) for s in range(200)])
        means.append(SPACE.macs(codes).mean())
    assert means[0] < 0.5 * means[1]


def test_warm_up_is_uniform_and_state_survives():
    one, two = distribution(1e6), distribution(1e6)
    x, y = torch.randn(4, 1, 8, 8), torch.randint(0, 10, (4,))
    for step in range(3):
        one.step(step, 0.5, x, y)
    two.load(one.state())
    for each in (one, two):
        each.step(3, 0.5, x, y)
    assert all(torch.equal(a, b) for a, b in zip(one.thetas, two.thetas, strict=True))
    codes = np.array([one.draw(s, True) for s in range(600)])
    assert np.all(np.abs(np.bincount(codes[:, 0], minlength=4) / 600 - 0.25) < 0.08)


def test_the_whole_search_resumes_and_ends_in_a_space(tmp_path, monkeypatch):
    monkeypatch.setattr("nascli.supernet.training.trainer._SAVE_EVERY_SECONDS", 0.0)
    images = load_images("digits", 8)
    target = float(SPACE.macs([[1, 7] * 3])[0])
    settings, recipe = NssSettings(depth_bin=2, width_bin=4, drawn=3), Recipe(epochs=1, batch=128)

    def job(file, progress):
        return search_space(SPACE, images, target, settings, recipe, seed=0, file=file, progress=progress)

    whole = job(tmp_path / "a", Silent())
    with pytest.raises(KeyboardInterrupt):
        job(tmp_path / "b", Killed(5))
    again = job(tmp_path / "b", Silent())
    assert again == whole
    assert whole.chain().output == (10, 1, 1) and whole.mean > 0


def test_a_latency_of_the_mixture_is_the_closed_form():
    cost = StagedCost(
        "latency", SPACE, 1e-4, ((1e-9, 2e-5, 3e-8), (2e-9, 1e-5, 1e-8), (1e-9, 0.0, 0.0), (1e-9, 0.0, 0.0))
    )
    code = np.array([[1, 4, 0, 11, 2, 6]])
    given = mixture_cost(cost, [gates(2, 5), gates(1, 12), gates(3, 7)])
    assert float(given) == pytest.approx(float(cost(code)[0]), rel=1e-5)
