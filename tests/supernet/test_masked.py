"""Masks and slices of the supernet of a staged space."""

import torch

from nascli.spaces.catalog import load_space_of_any_kind
from nascli.supernet.masked import MaskedSupernet

SPACE = load_space_of_any_kind("nss-expanded-mini:resolution=8,depths=4,widths=16")


def gates(depth, width):
    """One-hot gates over two options each, the first of which is taken."""
    return (([depth, 3], torch.tensor([1.0, 0.0])), ([width, 16], torch.tensor([1.0, 0.0])))


def test_masks_and_slices_are_the_same_network():
    torch.manual_seed(0)
    net = MaskedSupernet(SPACE).eval()
    x = torch.randn(2, 1, 8, 8)
    code = [1, 4, 0, 11, 2, 7]
    plain = net(x, code)
    masked = net.mixture(x, [gates(2, 5), gates(1, 12), gates(3, 8)])
    assert torch.allclose(plain, masked, atol=1e-5)


def test_soft_gates_mix_networks_and_carry_gradients():
    torch.manual_seed(0)
    net = MaskedSupernet(SPACE).eval()
    x = torch.randn(2, 1, 8, 8)
    depths, widths = (
        torch.tensor([0.3, 0.7], requires_grad=True),
        torch.tensor([0.6, 0.4], requires_grad=True),
    )
    logits = net.mixture(x, [(([1, 3], depths), ([4, 16], widths)), gates(1, 12), gates(3, 8)])
    assert logits.shape == (2, 10)
    logits.square().sum().backward()
    assert depths.grad.abs().min() > 0 and widths.grad.abs().min() > 0


def test_a_narrow_network_moves_the_leading_statistics_alone():
    net = MaskedSupernet(SPACE).train()
    norm = net.stages[0][0].norms[0]
    net(torch.randn(4, 1, 8, 8), [0, 4, 0, 4, 0, 4])
    assert norm.running_mean[:5].abs().min() > 0
    assert norm.running_mean[5:].abs().max() == 0 and torch.all(norm.running_var[5:] == 1)
