"""Paths of a supernet, the mean of branches, and random branches."""

import numpy as np
import torch
from torch import nn

from nascli.spaces import load_space
from nascli.supernet.separate import BranchMean, Supernet, sample_branches

WHOLE = load_space("nse-19-mini:width=0.25,resolution=8,branches=4")
SPACE = WHOLE.restricted("part", [[0, 2, 8, 16, 18]] * len(WHOLE.layers))


def test_the_mean_of_branches_is_equation_1():
    branches = [nn.Conv2d(2, 2, 1) for _ in range(3)]
    x = torch.randn(1, 2, 3, 3)
    normal = BranchMean(branches, True)(x)
    assert torch.allclose(normal, (sum(b(x) for b in branches) + x) / 4)
    reduction = BranchMean(branches, False)(x)
    assert torch.allclose(reduction, sum(b(x) for b in branches) / 3)
    assert BranchMean([], True)(x) is x


def test_uniform_branches_are_half_of_what_is_left():
    alive = [np.ones(len(layer.candidates), dtype=bool) for layer in SPACE.layers]
    for row in alive:
        row[3:] = False
    counts = np.zeros(3)
    for seed in range(400):
        code = sample_branches(SPACE.layers, alive, np.random.default_rng(seed))
        assert all(SPACE.layers[i].problem(c) is None for i, c in enumerate(code))
        counts += [code[-1] >> i & 1 for i in range(3)]
    assert np.all(np.abs(counts / 400 - 0.5) < 0.08)


def test_a_path_is_the_chosen_candidates(tiny):
    supernet = Supernet(tiny).eval()
    path = supernet.path([2, 4, 0, 5])
    layers = [i for i, block in enumerate(supernet.blocks) if isinstance(block, nn.ModuleList)]
    for position, choice in zip(layers, [2, 4, 0, 5], strict=True):
        assert path[position] is supernet.blocks[position][choice] is supernet.chosen_module(position, choice)
    x = torch.randn(2, *tiny.input)
    expected = x
    for module in path:
        expected = module(expected)
    assert expected.shape == (2, 10) and torch.equal(supernet(x, [2, 4, 0, 5]), expected)


def test_a_set_of_branches_is_a_mean_with_the_weights_of_its_candidates():
    supernet = Supernet(SPACE)
    position = next(i for i, block in enumerate(supernet.blocks) if isinstance(block, nn.ModuleList))
    layer = SPACE.blocks[position]
    mean = supernet.chosen_module(position, 0b101)
    assert isinstance(mean, BranchMean) and mean.with_input == (layer.join == "normal")
    assert all(
        branch is supernet.blocks[position][i] for branch, i in zip(mean.branches, (0, 2), strict=True)
    )


def test_normalisation_may_lack_scale_and_shift(tiny):
    def norms(affine):
        supernet = Supernet(tiny, aligned=False, affine=affine)
        return [m for m in supernet.modules() if isinstance(m, nn.BatchNorm2d)]

    assert all(norm.weight is None for norm in norms(False)) and all(norm.affine for norm in norms(True))
