"""Dropout and drop path: cases worked by hand, expectations, and a training that resumes."""

import copy
from itertools import product

import pytest
import torch
from commanding import TINY
from torch import nn

from nascli.errors import NascliError
from nascli.progress import Silent
from nascli.spaces import load_space
from nascli.spaces.primitives import Add, Gain, Linear, Shape
from nascli.spaces.programs import Builder
from nascli.supernet.data.images import load_images
from nascli.supernet.modules import ProgramModule, network_module
from nascli.supernet.separate import Supernet
from nascli.supernet.training.recipe import Recipe
from nascli.supernet.training.regularisation import regularise, residual_additions
from nascli.supernet.training.trainer import Trainer

SPACE = load_space(TINY)


def doubling(*inputs):
    """A program that adds its input and twice its input, in this order of operands."""
    builder = Builder(Shape(1, 1, 1))
    builder.append(Gain(2.0), (0,))
    builder.append(Add(), inputs)
    return builder.build(2)


def classifier(features, outputs=1):
    builder = Builder(Shape(features, 1, 1))
    builder.append(Linear(outputs, False), (0,))
    return builder.build(1)


def two_blocks():
    return network_module([doubling(0, 1), doubling(1, 0)])


def test_an_addition_is_residual_where_one_operand_leads_to_all_others():
    assert residual_additions(doubling(0, 1)) == [(2, 0)]
    assert residual_additions(doubling(1, 0)) == [(2, 1)]
    builder = Builder(Shape(1, 1, 1))
    # Two branches and the input, as NSE joins them; then two branches without the input.
    builder.append(Gain(2.0), (0,))
    builder.append(Gain(3.0), (0,))
    builder.append(Add(), (1, 2, 0))
    builder.append(Add(), (1, 2))
    assert residual_additions(builder.build(4)) == [(3, 2)]


def test_drop_path_by_hand():
    """Of 3x and 3x again, the branches 2x survive with 3/4 and 1/2: each is left out, or divided by that."""
    network, images = two_blocks().train(), 4096
    regularisation = regularise(network, Recipe(1, batch=images, drop_path=0.5), seed=3)
    x = torch.ones(images, 1, 1, 1)
    regularisation.begin(0)
    y = network(x).flatten()
    first, second = (1.0, 1 + 2 / 0.75), (1.0, 1 + 2 / 0.5)
    outcomes = torch.tensor([a * b for a, b in product(first, second)])
    nearest = (y[:, None] - outcomes).abs().min(1)
    assert nearest.values.max() < 1e-5
    shares = torch.bincount(nearest.indices, minlength=4) / images
    assert torch.allclose(shares, torch.tensor([0.125, 0.125, 0.375, 0.375]), atol=0.03)
    assert float(y.mean()) == pytest.approx(9.0, rel=0.05)


def test_dropout_by_hand():
    """With weights of 1, the logit is the sum of what is left, times 1 / (1 - 0.25)."""
    network, images = nn.Sequential(ProgramModule(classifier(8))).train(), 2048
    nn.init.ones_(next(network.parameters()))
    regularisation = regularise(network, Recipe(1, batch=images, dropout=0.25), seed=3)
    regularisation.begin(0)
    y = network(torch.ones(images, 8, 1, 1)).detach().flatten() * 0.75
    assert torch.allclose(y, y.round(), atol=1e-4) and y.min() >= 0 and y.max() <= 8
    assert float(y.mean()) == pytest.approx(8 * 0.75, rel=0.02)
    assert len(y.round().unique()) > 4


def test_in_evaluation_nothing_is_dropped():
    network = network_module([*(block.program for block in two_blocks()), classifier(1)])
    plain = copy.deepcopy(network)
    regularise(network, Recipe(1, batch=4, drop_path=0.5, dropout=0.5), seed=0)
    x = torch.randn(4, 1, 1, 1)
    assert torch.equal(network.eval()(x), plain.eval()(x))


def test_a_recipe_without_either_changes_nothing():
    network = two_blocks().train()
    regularise(network, Recipe(1), seed=0)
    assert all(not block.input_filters for block in network)
    assert torch.equal(network(torch.ones(2, 1, 1, 1)), torch.full((2, 1, 1, 1), 9.0))


def test_what_is_dropped_follows_from_the_seed_the_step_and_the_image():
    def outputs(seed, step, *rows):
        network = two_blocks().train()
        regularisation = regularise(network, Recipe(1, batch=64, drop_path=0.5), seed)
        parts = []
        for part in rows:
            regularisation.begin(step, part)
            parts.append(network(torch.ones(64, 1, 1, 1)[part]))
        return torch.cat(parts)

    whole = outputs(1, 5, slice(None))
    # The same in two parts, and in the rows of two processes.
    assert torch.equal(whole, outputs(1, 5, slice(0, 32), slice(32, 64)))
    assert torch.equal(whole[1::2], outputs(1, 5, torch.arange(1, 64, 2)))
    assert not torch.equal(whole, outputs(1, 6, slice(None)))
    assert not torch.equal(whole, outputs(2, 5, slice(None)))


def test_a_step_must_be_named_with_the_images_that_it_computes():
    network = two_blocks().train()
    regularisation = regularise(network, Recipe(1, batch=4, drop_path=0.5), seed=0)
    with pytest.raises(RuntimeError, match="begin must name the step"):
        network(torch.ones(4, 1, 1, 1))
    regularisation.begin(0)
    with pytest.raises(RuntimeError, match="begin named 4 images, and 3 are computed"):
        network(torch.ones(3, 1, 1, 1))


def test_networks_without_a_place_for_it_are_refused():
    with pytest.raises(NascliError, match="residual additions, and the network has none"):
        regularise(network_module([classifier(1)]), Recipe(1, drop_path=0.1), seed=0)
    with pytest.raises(NascliError, match="the input of a classifier, and the network has none"):
        regularise(two_blocks(), Recipe(1, dropout=0.1), seed=0)
    for wrong in ({"drop_path": 0.1}, {"dropout": 0.1}):
        with pytest.raises(NascliError, match="not for supernets"):
            regularise(Supernet(SPACE), Recipe(1, **wrong), seed=0)
    regularise(Supernet(SPACE), Recipe(1), seed=0)


def test_a_training_resumes_bit_for_bit(tmp_path):
    network = SPACE.network([1] * len(SPACE.layers), "mine")
    images = load_images("digits", 8)
    recipe = Recipe(epochs=1, batch=64, dropout=0.3, drop_path=0.4, accumulate=2)

    def trainer():
        torch.manual_seed(0)
        module = network_module([operator.program for operator in network.operators])
        return Trainer(module, images.train, recipe, seed=2)

    def weights(trained):
        return trained.module.state_dict()

    whole = trainer()
    whole.run(None, "id", Silent(), "whole", until=6)
    file = tmp_path / "checkpoint.safetensors"
    trainer().run(file, "id", Silent(), "first half", until=3)
    second = trainer()
    second.run(file, "id", Silent(), "second half", until=6)
    assert second.step == 6
    for name, tensor in weights(whole).items():
        assert torch.equal(tensor, weights(second)[name]), name
