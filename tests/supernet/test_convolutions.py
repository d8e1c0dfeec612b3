import pytest
import torch

from nascli.errors import SpaceError
from nascli.progress import Silent
from nascli.spaces import load_space
from nascli.spaces.operators.residual_blocks import basic_block
from nascli.supernet.convolutions import LowBitConv, low_bit_activation, low_bit_weight
from nascli.supernet.data.images import load_images
from nascli.supernet.evaluation.accuracy import SupernetEvaluator
from nascli.supernet.modules import ProgramModule, exported_weights
from nascli.supernet.separate import Supernet
from nascli.supernet.training.recipe import Recipe
from nascli.supernet.training.trainer import Trainer


def test_weights_lie_on_their_levels():
    weight = torch.randn(8, 3, 3, 3)
    for bits in (2, 3, 4):
        q = low_bit_weight(weight, bits)
        levels = torch.unique(((q + 1) / 2 * (2**bits - 1)).round(decimals=4))
        assert len(levels) <= 2**bits and torch.allclose(levels, levels.round())
        assert q.abs().max() <= 1
    one = low_bit_weight(weight, 1)
    assert torch.allclose(one.abs(), weight.abs().mean().expand_as(one))
    assert torch.equal(torch.sign(one), torch.sign(weight))
    assert low_bit_weight(weight, 32) is weight


def test_activations_by_hand():
    """Clip 3, two bits: levels 0, 1, 2, 3."""
    x = torch.tensor([-1.0, 0.4, 0.6, 1.6, 2.9, 7.0])
    given = low_bit_activation(x, torch.tensor(3.0), 2)
    assert given.tolist() == [0.0, 0.0, 1.0, 2.0, 3.0, 3.0]


def test_gradients_pass_straight_through():
    x = torch.tensor([-1.0, 0.5, 2.0, 7.0], requires_grad=True)
    clip = torch.tensor(3.0, requires_grad=True)
    low_bit_activation(x, clip, 2).sum().backward()
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 0.0]
    # What is clipped moves with the clip (PACT, Eq. 3); rounding's own error is the rest.
    assert clip.grad is not None and clip.grad > 0.5
    w = torch.randn(4, 4, requires_grad=True)
    low_bit_weight(w, 1).sum().backward()
    assert torch.equal(w.grad, torch.ones(4, 4))


def test_a_block_at_few_bits_is_quantised_and_not_exported():
    module = ProgramModule(basic_block((8, 6, 6), 8, weight_bits=2, activation_bits=4).program)
    convs = [m for m in module.modules() if isinstance(m, LowBitConv)]
    assert len(convs) == 2 and {(c.weight_bits, c.activation_bits) for c in convs} == {(2, 4)}
    assert module(torch.randn(2, 8, 6, 6)).shape == (2, 8, 6, 6)
    with pytest.raises(SpaceError, match="bit widths"):
        exported_weights([module])


def test_a_network_at_four_bits_learns():
    space = load_space("spos-resnet18-bits-mini:resolution=8,width=0.5")
    images = load_images("digits", 8)
    code = [11] * len(space.layers)
    torch.manual_seed(0)
    supernet = Supernet(space)
    before = SupernetEvaluator(supernet, images)(code).top1
    recipe = Recipe(epochs=6, batch=64, rate=0.05)
    Trainer(supernet, images.train, recipe, seed=0, path_of_step=lambda step: code).run(
        None, "x", Silent(), "t"
    )
    assert SupernetEvaluator(supernet, images)(code).top1 > max(0.6, before)
