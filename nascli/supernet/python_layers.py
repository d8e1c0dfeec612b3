"""Each primitive as lines of PyTorch code, and its weights under the names of that code."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from nascli.errors import SpaceError
from nascli.spaces.primitives import (
    Act,
    Add,
    Attention,
    BatchNorm,
    Binary,
    ChannelBias,
    ChannelScale,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    Gain,
    GlobalPool,
    GroupNorm,
    LayerNorm,
    Linear,
    Pad,
    Padding,
    PixelShuffle,
    PixelUnshuffle,
    Pool,
    PRelu,
    Primitive,
    Resize,
    Scale,
    Shape,
    Shift,
    Shuffle,
    Split,
)
from nascli.spaces.programs import Node
from nascli.supernet.convolutions import NormalisedConv
from nascli.supernet.layers import LearnedBias, LearnedScale, Normalisation, TransposedConv

_ACTIVATIONS = {
    "relu": "F.relu({})",
    "relu6": "F.relu6({})",
    "hswish": "F.hardswish({})",
    "swish": "F.silu({})",
    "sigmoid": "torch.sigmoid({})",
    "gelu": "F.gelu({})",
    "gelu_tanh": 'F.gelu({}, approximate="tanh")',
    "selu": "F.selu({})",
    "mish": "F.mish({})",
    "softplus": "F.softplus({})",
    "tanh": "torch.tanh({})",
    "leaky_relu": "F.leaky_relu({}, {})",
    "elu": "F.elu({}, {})",
    "clip": "torch.clamp({}, {}, {})",
}
_OPERATORS = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
Code = tuple[list[str], str]


def layer_code(node: Node, attribute: str, shapes: Sequence[Shape], inputs: Sequence[str]) -> Code:
    """Return the lines of the constructor for a node, and the expression that computes it.

    Args:
        node: The node.
        attribute: Name of the attribute that holds its layer.
        shapes: Shapes of its inputs.
        inputs: Names of its inputs.

    Raises:
        SpaceError: The primitive has no PyTorch code.
    """
    x, channels, layer = inputs[0], shapes[0].channels, f"self.{attribute}"
    match node.primitive:
        case Conv() | ConvTranspose():
            return _convolution(node.primitive, attribute, channels, x)
        case Linear(out=out, bias=bias):
            return [f"{layer} = nn.Linear({channels}, {out}, bias={bias})"], f"{layer}(torch.flatten({x}, 1))"
        case Dense(out=out, bias=bias):
            return [f"{layer} = nn.Linear({channels}, {out}, bias={bias})"], _on_channels(layer, x)
        case LayerNorm(epsilon=epsilon, bias=bias):
            line = f"{layer} = nn.LayerNorm({channels}, eps={epsilon!r}, bias={bias})"
            return [line], _on_channels(layer, x)
        case GroupNorm(groups=groups, epsilon=epsilon):
            return [f"{layer} = nn.GroupNorm({groups}, {channels}, eps={epsilon!r})"], f"{layer}({x})"
        case BatchNorm():
            return [f"{layer} = nn.BatchNorm2d({channels})"], f"{layer}({x})"
        case PRelu(shared=shared):
            return [f"{layer} = nn.PReLU({1 if shared else channels})"], f"{layer}({x})"
        case ChannelScale():
            return [f"{layer} = nn.Parameter(torch.ones({channels}))"], f"{x} * {layer}[:, None, None]"
        case ChannelBias():
            return [f"{layer} = nn.Parameter(torch.zeros({channels}))"], f"{x} + {layer}[:, None, None]"
        case _:
            return [], _expression(node.primitive, inputs, shapes)


def _convolution(conv: Conv | ConvTranspose, attribute: str, channels: int, x: str) -> Code:
    padding = conv.pads if isinstance(conv, Conv) else conv.padding
    top, left, bottom, right = padding
    symmetric = (top, left) == (bottom, right)
    both = f"padding={(top, left) if symmetric else (0, 0)}"
    kind = "Conv2d"
    if isinstance(conv, ConvTranspose):
        kind, both = "ConvTranspose2d", f"{both}, output_padding={conv.output_padding}"
    elif not symmetric:
        x = _padded(x, padding)
    lines = [
        f"self.{attribute} = nn.{kind}({channels}, {conv.out}, {conv.kernel}, stride={conv.stride}, "
        f"{both}, dilation={conv.dilation}, groups={conv.groups}, bias={conv.bias})"
    ]
    result = f"self.{attribute}({x})"
    if isinstance(conv, ConvTranspose) and not symmetric:
        # Rows and columns are cut off: padding below zero.
        result = _padded(result, (-top, -left, -bottom, -right))
    if not conv.norm:
        return lines, result
    lines.append(f"self.{attribute}_bn = nn.BatchNorm2d({conv.out})")
    return lines, f"self.{attribute}_bn({result})"


def _on_channels(layer: str, x: str) -> str:
    return f"{layer}({x}.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)"


def _padded(x: str, padding: Padding, value: str = "") -> str:
    top, left, bottom, right = padding
    return f"F.pad({x}, ({left}, {right}, {top}, {bottom}){value})"


def _expression(primitive: Primitive, inputs: Sequence[str], shapes: Sequence[Shape]) -> str:
    """Return the expression of a primitive without parameters."""
    x = inputs[0]
    match primitive:
        case Act(function="hsigmoid", parameters=(slope, offset)):
            return f"torch.clamp({slope!r} * {x} + {offset!r}, 0, 1)"
        case Act(function="hsigmoid"):
            return f"F.hardsigmoid({x})"
        case Act() as act:
            return _ACTIVATIONS[act.function].format(x, *(repr(value) for value in act.values))
        case Pool() as pool:
            return _pool(pool, x)
        case GlobalPool():
            return f"{x}.mean((2, 3), keepdim=True)"
        case Add():
            return " + ".join(inputs)
        case Scale():
            return f"{x} * {inputs[1]}"
        case Binary(function=function):
            return f"{x} {_OPERATORS[function]} {inputs[1]}"
        case Gain(factor=factor):
            return f"{x} * {factor!r}"
        case Shift(amount=amount):
            return f"{x} + {amount!r}"
        case Split(start=start, stop=stop):
            return f"{x}[:, {start}:{stop}]"
        case Concat():
            return f"torch.cat([{', '.join(inputs)}], dim=1)"
        case Shuffle(groups=groups):
            return f"F.channel_shuffle({x}, {groups})"
        case Pad(padding=padding):
            return _padded(x, padding)
        case PixelShuffle() | PixelUnshuffle():
            return _pixel_shuffle(primitive, x)
        case Resize() as resize:
            corners = f", align_corners={resize.align_corners}" if resize.mode == "bilinear" else ""
            return f'F.interpolate({x}, ({resize.height}, {resize.width}), mode="{resize.mode}"{corners})'
        case Attention(heads=heads):
            q, k, v = (f"{value}.flatten(2).unflatten(1, ({heads}, -1)).transpose(2, 3)" for value in inputs)
            attended = f"F.scaled_dot_product_attention({q}, {k}, {v})"
            size = (shapes[0].height, shapes[0].width)
            return f"{attended}.transpose(2, 3).flatten(1, 2).unflatten(2, {size})"
        case _:
            raise SpaceError(f"the primitive {primitive.kind} has no PyTorch code.")


def _pixel_shuffle(primitive: PixelShuffle | PixelUnshuffle, x: str) -> str:
    factor = primitive.factor
    match primitive:
        case PixelShuffle(blocks_first=True):
            apart = f"{x}.unflatten(1, ({factor}, {factor}, -1)).permute(0, 3, 4, 1, 5, 2)"
            return f"{apart}.flatten(4, 5).flatten(2, 3)"
        case PixelShuffle():
            return f"F.pixel_shuffle({x}, {factor})"
        case PixelUnshuffle(blocks_first=True):
            apart = f"{x}.unflatten(3, (-1, {factor})).unflatten(2, (-1, {factor}))"
            return f"{apart}.permute(0, 3, 5, 1, 2, 4).flatten(1, 3)"
        case _:
            return f"F.pixel_unshuffle({x}, {factor})"


def _pool(pool: Pool, x: str) -> str:
    window, strides = pool.kernel, pool.stride
    top, left, bottom, right = pool.pads
    is_max = pool.mode == "max"
    counted = "" if is_max else f", count_include_pad={pool.count_padding}"
    function = "F.max_pool2d" if is_max else "F.avg_pool2d"
    # PyTorch pools with equal padding on both sides, of at most half a window.
    if (top, left) == (bottom, right) and all(
        2 * p <= k for p, k in zip((top, left), pool.window, strict=True)
    ):
        pads = top if top == left else (top, left)
        return f"{function}({x}, {window}, {strides}, {pads}{counted})"
    if is_max:
        lowest = ', value=float("-inf")'
        return f"{function}({_padded(x, pool.pads, lowest)}, {window}, {strides})"
    means = f"{function}({_padded(x, pool.pads)}, {window}, {strides})"
    if pool.count_padding:
        return means
    ones = _padded(f"torch.ones_like({x}[:1, :1])", pool.pads)
    return f"{means} / {function}({ones}, {window}, {strides})"


def layer_weights(module: nn.Module, attribute: str) -> dict[str, Tensor]:
    """Return the weights of a node's module under the names of its `layer_code`.

    Args:
        module: Module of a node of a `ProgramModule`.
        attribute: Name of the attribute that holds its layer.
    """
    match module:
        case LearnedScale():
            return {attribute: module.weight.detach()}
        case LearnedBias():
            return {attribute: module.bias.detach()}
        case NormalisedConv() | TransposedConv():
            parts: list[tuple[str, nn.Module]] = [(attribute, module.conv)]
            if module.norm is not None:
                parts.append((f"{attribute}_bn", module.norm))
        case Normalisation():
            parts = [(attribute, module.norm)]
        case _:
            parts = [(attribute, module)]
    return {f"{prefix}.{k}": v.contiguous() for prefix, part in parts for k, v in part.state_dict().items()}
