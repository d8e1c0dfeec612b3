"""Torch modules of the primitives that have parameters, and their weights as their ONNX graphs take them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nascli.spaces.primitives import (
    BatchNorm,
    ChannelBias,
    ChannelScale,
    Conv,
    ConvTranspose,
    Dense,
    GroupNorm,
    LayerNorm,
    Linear,
    PRelu,
    Primitive,
    Shape,
)
from nascli.supernet.convolutions import LowBitConv, NormalisedConv, fold, load_convolution, unfold

# Initial layer scale (Touvron et al. 2021): blocks start near the identity.
_INITIAL_SCALE = 1e-2


class Classifier(nn.Linear):
    """A fully connected layer on a vector `(batch, channels, 1, 1)` or `(batch, channels)`."""

    def forward(self, x: Tensor) -> Tensor:
        """Return `(batch, outputs)`."""
        return super().forward(x.flatten(1))


class ChannelLinear(nn.Linear):
    """A fully connected layer on the channels of each position of `(batch, channels, height, width)`."""

    def forward(self, x: Tensor) -> Tensor:
        """Return `(batch, outputs, height, width)`."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ChannelLayerNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each position of `(batch, channels, height, width)`."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised value in the shape of `x`."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class LearnedScale(nn.Module):
    """A learned factor for each channel.

    Args:
        channels: Number of channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), _INITIAL_SCALE))

    def forward(self, x: Tensor) -> Tensor:
        """Return `(batch, channels, height, width)` with each channel multiplied."""
        return x * self.weight[:, None, None]


class LearnedBias(nn.Module):
    """A learned summand for each channel.

    Args:
        channels: Number of channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return `(batch, channels, height, width)` with the bias added to each channel."""
        return x + self.bias[:, None, None]


class Normalisation(nn.Module):
    """Batch normalisation that does not follow a convolution.

    Args:
        channels: Number of channels.
        affine: Whether it has a learned scale and shift.
    """

    def __init__(self, channels: int, affine: bool) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised `(batch, channels, height, width)`."""
        normalised: Tensor = self.norm(x)
        return normalised

    def deployed(self) -> dict[str, Tensor]:
        """Return scale and bias in evaluation mode, detached."""
        gain, offset = fold(self.norm)
        return {"weight": gain, "bias": offset}

    def load_deployed(self, weights: dict[str, Tensor]) -> None:
        """Set scale and bias; the running mean becomes 0 and the running variance 1."""
        unfold(self.norm, weights["weight"], weights["bias"])


class TransposedConv(nn.Module):
    """A transposed convolution, and batch normalisation if the primitive has it.

    Args:
        conv: Description of the convolution.
        x: Shape of the input: channels, height, width.
        affine: Whether batch normalisation has a learned scale and shift.
    """

    def __init__(self, conv: ConvTranspose, x: Shape, affine: bool) -> None:
        super().__init__()
        top, left, bottom, right = conv.padding
        symmetric = (top, left) == (bottom, right)
        self.conv = nn.ConvTranspose2d(
            x.channels,
            conv.out,
            conv.kernel,
            conv.stride,
            (top, left) if symmetric else 0,
            conv.output_padding,
            conv.groups,
            bias=conv.bias,
            dilation=conv.dilation,
        )
        self._cut = (0, 0, 0, 0) if symmetric else conv.padding
        self.norm = nn.BatchNorm2d(conv.out, affine=affine) if conv.norm else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised convolution of `(batch, channels, height, width)`."""
        h: Tensor = self.conv(x)
        if any(self._cut):
            top, left, bottom, right = self._cut
            h = F.pad(h, (-left, -right, -top, -bottom))
        return h if self.norm is None else self.norm(h)

    def deployed(self) -> dict[str, Tensor]:
        """Return weight and bias of the convolution with its normalisation folded into it, detached."""
        weight = self.conv.weight.detach()
        bias = self.conv.bias
        shift = weight.new_zeros(self.conv.out_channels) if bias is None else bias.detach()
        if self.norm is None:
            return {"weight": weight, "bias": shift}
        gain, offset = fold(self.norm)
        # Weights are (in, out / groups, height, width).
        groups = self.conv.groups
        apart = weight.reshape(groups, -1, *weight.shape[1:])
        scaled = apart * gain.reshape(groups, 1, -1, 1, 1)
        return {"weight": scaled.reshape(weight.shape), "bias": offset + shift * gain}

    def load_deployed(self, weights: dict[str, Tensor]) -> None:
        """Set weight and bias; normalisation passes values on and adds the bias."""
        load_convolution(self.conv, self.norm, weights)


def layer_of(primitive: Primitive, x: Shape, affine: bool) -> nn.Module | None:
    """Return the module of a primitive that has parameters, and None for others.

    Args:
        primitive: The primitive.
        x: Shape of its input.
        affine: Whether batch normalisation has a learned scale and shift.
    """
    match primitive:
        case Conv():
            kind = LowBitConv if primitive.low_bit else NormalisedConv
            return kind(primitive, x, affine)
        case ConvTranspose():
            return TransposedConv(primitive, x, affine)
        case Linear(out=out, bias=bias):
            return Classifier(x.channels, out, bias=bias)
        case Dense(out=out, bias=bias):
            return ChannelLinear(x.channels, out, bias=bias)
        case BatchNorm():
            return Normalisation(x.channels, affine)
        case LayerNorm(epsilon=epsilon, bias=bias):
            return ChannelLayerNorm(x.channels, eps=epsilon, bias=bias)
        case GroupNorm(groups=groups, epsilon=epsilon):
            return nn.GroupNorm(groups, x.channels, eps=epsilon)
        case ChannelScale():
            return LearnedScale(x.channels)
        case ChannelBias():
            return LearnedBias(x.channels)
        case PRelu(shared=shared):
            return nn.PReLU(1 if shared else x.channels)
        case _:
            return None


def deployed_weights(module: nn.Module) -> dict[str, Tensor]:
    """Return the weights of a module that `layer_of` made, by their names in the ONNX graph of the primitive."""
    if isinstance(module, NormalisedConv | TransposedConv | Normalisation):
        return module.deployed()
    return {name: parameter.detach() for name, parameter in module.named_parameters()}


def load_deployed(module: nn.Module, weights: dict[str, Tensor]) -> None:
    """Set the weights of a module that `layer_of` made from what `deployed_weights` returned, in place.

    Batch normalisation then has a running mean of 0 and a running variance of 1.

    Raises:
        SpaceError: The module has no place for the bias.
        KeyError: A weight is missing.
    """
    if isinstance(module, NormalisedConv | TransposedConv | Normalisation):
        module.load_deployed(weights)
        return
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(weights[name])
