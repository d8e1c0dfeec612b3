"""Convolutions at few bits: PACT activations and DoReFa-like weights, trained through straight-through gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nascli.spaces.primitives import Conv, Shape
from nascli.supernet.modules import NormalisedConv

# Where PACT's clipping starts; it is learned from there (Choi et al. 2018 start at 10, ours are normalised).
_FIRST_CLIP = 4.0


class _Rounded(torch.autograd.Function):
    """Rounding whose gradient is 1."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


def _rounded(x: Tensor) -> Tensor:
    result: Tensor = _Rounded.apply(x)
    return result


def quantised_weight(weight: Tensor, bits: int) -> Tensor:
    """Weights on 2^bits levels in [-1, 1] (DoReFa-Net, Eq. 9); with 1 bit, signs times their mean size."""
    if bits == 32:
        return weight
    if bits == 1:
        size = weight.detach().abs().mean()
        # The sign's gradient passes straight through, as for all roundings here.
        return weight + (torch.sign(weight) * size - weight).detach()
    squashed = torch.tanh(weight)
    unit = squashed / (2 * squashed.detach().abs().max()) + 0.5
    levels = 2**bits - 1
    level: Tensor = 2 * _rounded(unit * levels) / levels - 1
    return level


def quantised_activation(x: Tensor, clip: Tensor, bits: int) -> Tensor:
    """Activations clipped at a learned height and put on 2^bits levels (PACT, Eq. 1 and 2)."""
    if bits == 32:
        return x
    clipped = torch.minimum(F.relu(x), clip)
    levels = 2**bits - 1
    level: Tensor = _rounded(clipped / clip * levels) / levels * clip
    return level


class QuantisedConv(NormalisedConv):
    """A convolution whose weights and inputs have few bits."""

    def __init__(self, conv: Conv, x: Shape, affine: bool) -> None:
        super().__init__(conv, x, affine)
        self.weight_bits, self.activation_bits = conv.weight_bits, conv.activation_bits
        self.clip = nn.Parameter(torch.tensor(_FIRST_CLIP)) if conv.activation_bits < 32 else None

    def forward(self, x: Tensor) -> Tensor:
        """Quantise, convolve and normalise."""
        if self.clip is not None:
            x = quantised_activation(x, self.clip.clamp_min(1e-2), self.activation_bits)
        weight = quantised_weight(self.conv.weight, self.weight_bits)
        c = self.conv
        h = F.conv2d(x, weight, c.bias, c.stride, c.padding, c.dilation, c.groups)
        return h if self.norm is None else self.norm(h)
