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
    architecture = [1, 4, 0, 11, 2, 7]
    plain = net(x, architecture)
    masked = net.mixture(x, [gates(2, 5), gates(1, 12), gates(3, 8)])
    assert torch.allclose(plain, masked, atol=1e-5)
