import numpy as np
import pytest
import torch

from nascli.progress import Silent
from nascli.spaces import load_space, make_space
from nascli.supernet.data.images import load_images
from nascli.supernet.evaluation.accuracy import SupernetEvaluator
from nascli.supernet.evaluation.prefix_tree import PrefixTree
from nascli.supernet.separate import Supernet
from nascli.supernet.training.recipe import Recipe
from nascli.supernet.training.trainer import Trainer


@pytest.fixture(scope="module")
def images():
    return load_images("digits", 14)


@pytest.mark.parametrize("spec", ["pcnas-small-mini:width=0.5", "nse-19-mini:width=0.5"])
def test_a_tree_says_what_one_at_a_time_says(spec, images):
    space = load_space(spec)
    torch.manual_seed(0)
    supernet = Supernet(space)
    path = lambda step: space.sample(1, np.random.default_rng([7, step]))[0].tolist()  # noqa: E731
    Trainer(supernet, images.train, Recipe(epochs=1, batch=64), seed=0, path_of_step=path, steps=6).run(
        None, "x", Silent(), "t"
    )
    codes = space.sample(4, np.random.default_rng(0))
    codes = np.concatenate([codes, codes])
    codes[4:, -1] = codes[[1, 2, 3, 0], -1]
    before = {k: v.clone() for k, v in supernet.state_dict().items()}
    tree = PrefixTree(supernet, codes.tolist())
    together = tree.accuracies(images, calibration=256)
    assert tree.node_count < len(codes) * len(space.blocks)
    assert all(torch.equal(v, before[k]) for k, v in supernet.state_dict().items())
    alone = SupernetEvaluator(supernet, images, calibration=256)
    for code, given in zip(codes, together, strict=True):
        expected = alone(code.tolist())
        assert given.top1 == pytest.approx(expected.top1, abs=1e-9)
        assert given.loss == pytest.approx(expected.loss, rel=1e-5)


def test_shared_prefixes_are_nodes_once():
    space = make_space("pcnas-small-mini")
    supernet = Supernet(space, aligned=False)
    row = space.sample(1, np.random.default_rng(0))[0]
    other = row.copy()
    other[-1] = (row[-1] + 1) % len(space.layers[-1].candidates)
    blocks = len(space.blocks)
    assert PrefixTree(supernet, [row.tolist()]).node_count == blocks
    # The last layer and the head after it differ.
    assert PrefixTree(supernet, [row.tolist(), other.tolist()]).node_count == blocks + 2
    assert PrefixTree(supernet, [row.tolist(), row.tolist()]).node_count == blocks
