"""Convolutions: with normalisation, and at low bit widths."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nascli.spaces.primitives import Conv, Shape


class NormalisedConv(nn.Module):
    """A convolution with 'same' padding, followed by batch normalisation if the primitive has one."""

    def __init__(self, conv: Conv, x: Shape, affine: bool) -> None:
        super().__init__()
        padding = [d * (k - 1) // 2 for k, d in zip(conv.kernel, conv.dilation, strict=True)]
        self.conv = nn.Conv2d(
            x.channels,
            conv.out,
            conv.kernel,
            conv.stride,
            (padding[0], padding[1]),
            conv.dilation,
            conv.groups,
            bias=conv.bias,
        )
        self.norm = nn.BatchNorm2d(conv.out, affine=affine) if conv.norm else None
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Convolve and normalise."""
        h: Tensor = self.conv(x)
        return h if self.norm is None else self.norm(h)

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias with the normalisation's running statistics folded in."""
        weight = self.conv.weight.detach()
        bias = self.conv.bias
        shift = torch.zeros(weight.shape[0]) if bias is None else bias.detach()
        norm = self.norm
        if norm is None:
            return weight, shift
        assert norm.running_mean is not None and norm.running_var is not None
        gain = torch.rsqrt(norm.running_var + norm.eps)
        offset = -norm.running_mean * gain
        if norm.affine:
            gain = gain * norm.weight.detach()
            offset = offset * norm.weight.detach() + norm.bias.detach()
        return weight * gain[:, None, None, None], offset + shift * gain


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


def low_bit_weight(weight: Tensor, bits: int) -> Tensor:
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


def low_bit_activation(x: Tensor, clip: Tensor, bits: int) -> Tensor:
    """Activations clipped at a learned height and put on 2^bits levels (PACT, Eq. 1 and 2)."""
    if bits == 32:
        return x
    clipped = torch.minimum(F.relu(x), clip)
    levels = 2**bits - 1
    level: Tensor = _rounded(clipped / clip * levels) / levels * clip
    return level


class LowBitConv(NormalisedConv):
    """A convolution whose weights and inputs have low bit widths."""

    def __init__(self, conv: Conv, x: Shape, affine: bool) -> None:
        super().__init__(conv, x, affine)
        self.weight_bits, self.activation_bits = conv.weight_bits, conv.activation_bits
        self.clip = nn.Parameter(torch.tensor(_FIRST_CLIP)) if conv.activation_bits < 32 else None

    def forward(self, x: Tensor) -> Tensor:
        """Quantise, convolve and normalise."""
        if self.clip is not None:
            x = low_bit_activation(x, self.clip.clamp_min(1e-2), self.activation_bits)
        weight = low_bit_weight(self.conv.weight, self.weight_bits)
        c = self.conv
        h = F.conv2d(x, weight, c.bias, c.stride, c.padding, c.dilation, c.groups)
        return h if self.norm is None else self.norm(h)
