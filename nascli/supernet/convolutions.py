"""Convolutions followed by batch normalisation, in full precision and at low bit widths."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nascli.errors import SpaceError
from nascli.spaces.primitives import Conv, Shape


class NormalisedConv(nn.Module):
    """A convolution with padding as in 'same', and batch normalisation if the primitive has it.

    Args:
        conv: Description of the convolution.
        x: Shape of the input: channels, height, width.
        affine: Whether batch normalisation has a learned scale and shift.
    """

    def __init__(self, conv: Conv, x: Shape, affine: bool) -> None:
        super().__init__()
        top, left, bottom, right = conv.pads
        symmetric = (top, left) == (bottom, right)
        self.conv = nn.Conv2d(
            x.channels,
            conv.out,
            conv.kernel,
            conv.stride,
            (top, left) if symmetric else (0, 0),
            conv.dilation,
            conv.groups,
            bias=conv.bias,
        )
        # PyTorch's convolutions have equal padding on both sides; other padding comes before them.
        self._before = (0, 0, 0, 0) if symmetric else (left, right, top, bottom)
        self.norm = nn.BatchNorm2d(conv.out, affine=affine) if conv.norm else None
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised convolution of `(batch, channels, height, width)`."""
        h: Tensor = self.conv(self._padded(x))
        return h if self.norm is None else self.norm(h)

    def _padded(self, x: Tensor) -> Tensor:
        return F.pad(x, self._before) if any(self._before) else x

    def folded(self) -> tuple[Tensor, Tensor]:
        """Return weight and bias of the convolution that computes the same in evaluation mode, without normalisation.

        Returns:
            Weight `(out, in / groups, height, width)` and bias `(out,)`, detached from the graph.
        """
        weight = self.conv.weight.detach()
        bias = self.conv.bias
        shift = weight.new_zeros(weight.shape[0]) if bias is None else bias.detach()
        if self.norm is None:
            return weight, shift
        gain, offset = fold(self.norm)
        return weight * gain[:, None, None, None], offset + shift * gain

    def deployed(self) -> dict[str, Tensor]:
        """Return `folded` by the names of the ONNX graph."""
        weight, bias = self.folded()
        return {"weight": weight, "bias": bias}

    def load_deployed(self, weights: dict[str, Tensor]) -> None:
        """Set weight and bias; normalisation passes values on and adds the bias.

        Raises:
            SpaceError: There is a bias, and neither normalisation nor a bias that could take it.
        """
        load_convolution(self.conv, self.norm, weights)


def fold(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return the scale and bias per channel, `(channels,)` each, that batch normalisation has in evaluation mode."""
    assert norm.running_mean is not None and norm.running_var is not None
    gain = torch.rsqrt(norm.running_var + norm.eps)
    offset = -norm.running_mean * gain
    if norm.affine:
        gain = gain * norm.weight.detach()
        offset = offset * norm.weight.detach() + norm.bias.detach()
    return gain, offset


def unfold(norm: nn.BatchNorm2d, gain: Tensor, offset: Tensor) -> None:
    """Make batch normalisation apply a scale and bias per channel in evaluation mode, in place.

    Raises:
        SpaceError: It has no learned scale and shift.
    """
    if not norm.affine:
        raise SpaceError("batch normalisation without learned scale and shift cannot take weights")
    assert norm.running_mean is not None and norm.running_var is not None
    with torch.no_grad():
        norm.running_mean.zero_()
        norm.running_var.fill_(1.0)
        norm.weight.copy_(gain * (1 + norm.eps) ** 0.5)
        norm.bias.copy_(offset)


def load_convolution(
    conv: nn.Conv2d | nn.ConvTranspose2d, norm: nn.BatchNorm2d | None, weights: dict[str, Tensor]
) -> None:
    """Set the weights of a convolution and of the normalisation behind it from their folded form, in place.

    Raises:
        SpaceError: There is a bias, and neither normalisation nor a bias that could take it.
    """
    bias = weights["bias"]
    with torch.no_grad():
        conv.weight.copy_(weights["weight"])
        if norm is not None:
            unfold(norm, torch.ones_like(bias), bias)
        elif conv.bias is not None:
            conv.bias.copy_(bias)
        elif bool(bias.any()):
            raise SpaceError("a convolution without a bias cannot take the bias of these weights")


# Initial clipping height of PACT, which is learned. Choi et al. (2018) start at 10; activations here are normalised.
_INITIAL_CLIP = 4.0


class _StraightThroughRound(torch.autograd.Function):
    """Rounding to integers whose gradient is 1 (straight-through estimator)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


def _round(x: Tensor) -> Tensor:
    rounded: Tensor = _StraightThroughRound.apply(x)
    return rounded


def low_bit_weight(weight: Tensor, bits: int) -> Tensor:
    """Quantise weights to 2^bits levels in [-1, 1] (DoReFa-Net, Zhou et al. 2016, Eq. 9).

    With 1 bit, the levels are the signs times the mean absolute weight. Gradients pass straight through the rounding.

    Args:
        weight: Weights of any shape.
        bits: Bit width; 32 returns the weights as they are.
    """
    if bits == 32:
        return weight
    if bits == 1:
        scale = weight.detach().abs().mean()
        return weight + (torch.sign(weight) * scale - weight).detach()
    squashed = torch.tanh(weight)
    unit = squashed / (2 * squashed.detach().abs().max()) + 0.5
    steps = 2**bits - 1
    quantised: Tensor = 2 * _round(unit * steps) / steps - 1
    return quantised


def low_bit_activation(x: Tensor, clip: Tensor, bits: int) -> Tensor:
    """Clip activations to [0, clip] and quantise them to 2^bits levels (PACT, Choi et al. 2018, Eq. 1 and 2).

    Gradients pass straight through the rounding; that of clipped activations goes to the clipping height.

    Args:
        x: Activations of any shape.
        clip: Clipping height, a positive scalar.
        bits: Bit width; 32 returns the activations as they are.
    """
    if bits == 32:
        return x
    clipped = torch.minimum(F.relu(x), clip)
    steps = 2**bits - 1
    quantised: Tensor = _round(clipped / clip * steps) / steps * clip
    return quantised


class LowBitConv(NormalisedConv):
    """A normalised convolution whose weights and inputs are quantised to low bit widths.

    Args:
        conv: Description of the convolution, with its bit widths.
        x: Shape of the input: channels, height, width.
        affine: Whether batch normalisation has a learned scale and shift.
    """

    def __init__(self, conv: Conv, x: Shape, affine: bool) -> None:
        super().__init__(conv, x, affine)
        self.weight_bits, self.activation_bits = conv.weight_bits, conv.activation_bits
        self.clip = nn.Parameter(torch.tensor(_INITIAL_CLIP)) if conv.activation_bits < 32 else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised convolution of quantised inputs `(batch, channels, height, width)`."""
        if self.clip is not None:
            x = low_bit_activation(x, self.clip.clamp_min(1e-2), self.activation_bits)
        weight = low_bit_weight(self.conv.weight, self.weight_bits)
        c = self.conv
        h = F.conv2d(self._padded(x), weight, c.bias, c.stride, c.padding, c.dilation, c.groups)
        return h if self.norm is None else self.norm(h)
