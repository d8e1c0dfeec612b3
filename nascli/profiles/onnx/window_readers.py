"""Convolutions, pooling, normalisation, and resampling of ONNX graphs as primitives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx

from nascli.errors import ArchitectureError
from nascli.profiles.onnx.reading import (
    Array,
    Held,
    Padded,
    Reading,
    attributes_of,
    name_of,
    pair_of,
    shortest,
)
from nascli.profiles.onnx.views import CHANNELS, View, positions
from nascli.spaces import primitives as p
from nascli.spaces.primitives import Padding, Shape


def _padding(
    node: onnx.NodeProto, a: dict[str, Any], shape: Shape, window: Sequence[int], stride: Sequence[int]
) -> Padding:
    """Return the padding of a node at the top, left, bottom, and right; `window` includes the dilation."""
    mode = a.get("auto_pad", b"NOTSET")
    if mode in (b"NOTSET", b""):
        pads = tuple(int(size) for size in a.get("pads", (0,) * 4))
        if len(pads) != 4 or min(pads) < 0:
            raise ArchitectureError(
                f"node {name_of(node)}: padding must be four sizes of at least 0, got {pads}"
            )
        return pads[0], pads[1], pads[2], pads[3]
    if mode == b"VALID":
        return 0, 0, 0, 0
    if mode not in (b"SAME_UPPER", b"SAME_LOWER"):
        raise ArchitectureError(f"node {name_of(node)}: unknown auto_pad {mode!r}")
    before, after = [], []
    for size, kernel, step in zip(shape[1:], window, stride, strict=True):
        total = max(0, (-(-size // step) - 1) * step + kernel - size)
        less, more = total // 2, total - total // 2
        before.append(less if mode == b"SAME_UPPER" else more)
        after.append(more if mode == b"SAME_UPPER" else less)
    return before[0], before[1], after[0], after[1]


def _input(r: Reading, node: onnx.NodeProto, fill: float) -> tuple[int, Padding]:
    """Return the value that a node reads, and the padding before it that the node can take over."""
    held = r.of(node.input[0])
    if isinstance(held, Padded) and held.fill == fill:
        return r.plain(held.name), held.padding
    return r.plain(node.input[0]), (0, 0, 0, 0)


def _sum(first: Padding, second: Padding) -> Padding:
    a, b, c, d = (x + y for x, y in zip(first, second, strict=True))
    return a, b, c, d


def read_conv(r: Reading, node: onnx.NodeProto) -> Held:
    """Read a convolution. A bias in the node is read as normalisation that was folded into it."""
    a = attributes_of(node)
    out, _, *kernel = r.dims(node.input[1])
    if len(kernel) != 2:
        raise ArchitectureError(f"{name_of(node)}: only 2-d convolutions are supported")
    dilation, stride = pair_of(a.get("dilations", (1, 1))), pair_of(a.get("strides", (1, 1)))
    window = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    value, before = _input(r, node, 0.0)
    shape = r.builder.shape_of(value)
    padding = _sum(before, _padding(node, a, shape, window, stride))
    conv = p.Conv(
        out,
        (kernel[0], kernel[1]),
        stride,
        dilation,
        int(a.get("group", 1)),
        norm=len(node.input) > 2,
        padding=padding,
    )
    return r.plain_view(r.append(conv, value, **_weights(r, node, out)))


def read_conv_transpose(r: Reading, node: onnx.NodeProto) -> Held:
    """Read a transposed convolution."""
    a = attributes_of(node)
    _, per_group, *kernel = r.dims(node.input[1])
    if len(kernel) != 2 or "output_shape" in a or a.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise ArchitectureError(
            f"{name_of(node)}: transposed convolutions are supported in 2-d and with `pads`"
        )
    groups = int(a.get("group", 1))
    value = r.plain(node.input[0])
    conv = p.ConvTranspose(
        per_group * groups,
        (kernel[0], kernel[1]),
        pair_of(a.get("strides", (1, 1))),
        _padding(node, a, r.builder.shape_of(value), kernel, (1, 1)),
        pair_of(a.get("output_padding", (0, 0))),
        pair_of(a.get("dilations", (1, 1))),
        groups,
        norm=len(node.input) > 2,
    )
    return r.plain_view(r.append(conv, value, **_weights(r, node, conv.out)))


def _weights(r: Reading, node: onnx.NodeProto, out: int) -> dict[str, Array]:
    if not r.keep_weights:
        return {}
    has_bias = len(node.input) > 2 and bool(node.input[2])
    bias = r.array(node.input[2]) if has_bias else np.zeros(out, np.float32)
    return {"weight": r.array(node.input[1]), "bias": bias}


def read_pool(r: Reading, node: onnx.NodeProto) -> Held:
    """Read maximum or average pooling. Windows that begin inside and end outside (ceil_mode) become padding."""
    a = attributes_of(node)
    mode = "max" if node.op_type == "MaxPool" else "avg"
    if len(a["kernel_shape"]) != 2:
        raise ArchitectureError(f"{name_of(node)}: only 2-d pooling is supported")
    kernel, stride = pair_of(a["kernel_shape"]), pair_of(a.get("strides", (1, 1)))
    if set(a.get("dilations", (1, 1))) != {1} or len([name for name in node.output if name]) > 1:
        raise ArchitectureError(f"node {name_of(node)}: pooling is supported without dilations and indices")
    value, before = _input(r, node, -math.inf if mode == "max" else 0.0)
    shape = r.builder.shape_of(value)
    own = _padding(node, a, shape, kernel, stride)
    counted = bool(a.get("count_include_pad", 0)) and any(own)
    if mode == "avg" and any(before):
        if any(own) and not counted:
            raise ArchitectureError(
                f"node {name_of(node)}: padding that averages count and padding that they do not"
            )
        counted = True
    padding = _sum(before, own)
    if a.get("ceil_mode", 0):
        extended = _ceiling(shape, kernel, stride, padding)
        if counted and extended != padding:
            raise ArchitectureError(
                f"node {name_of(node)}: windows that are cut off (ceil_mode) are supported where padding is not counted"
            )
        padding = extended
    pool = p.Pool(mode, kernel, stride, padding, counted)
    return r.plain_view(r.append(pool, value))


def _ceiling(shape: Shape, kernel: tuple[int, int], stride: tuple[int, int], padding: Padding) -> Padding:
    """Return padding with which windows that stick out at the end fit, as ceil_mode counts them."""
    after = []
    for axis, size in enumerate(shape[1:]):
        first, last = padding[axis], padding[axis + 2]
        windows = -(-(size + first + last - kernel[axis]) // stride[axis]) + 1
        # A window that begins behind the input is left out.
        if (windows - 1) * stride[axis] >= size + first:
            windows -= 1
        after.append(max(last, (windows - 1) * stride[axis] + kernel[axis] - size - first))
    return padding[0], padding[1], after[0], after[1]


def read_pad(r: Reading, node: onnx.NodeProto) -> Held:
    """Read constant padding of height and width, which the node behind it may take over."""
    a = attributes_of(node)
    if a.get("mode", b"constant") != b"constant":
        raise ArchitectureError(f"node {name_of(node)}: Pad is supported with a constant, got {a['mode']!r}")
    has_pads = len(node.input) > 1
    pads = (
        r.integers(node.input[1])
        if has_pads
        else [int(size) for size in a.get("pads", a.get("paddings", ()))]
    )
    fill = a.get("value", 0.0)
    if len(node.input) > 2 and node.input[2]:
        fill = r.scalar(node.input[2])
    if len(node.input) > 3 and node.input[3]:
        rank = len(pads) // 2
        axes = [axis % 4 for axis in r.integers(node.input[3])]
        spread = [0] * 8
        for i, axis in enumerate(axes):
            spread[axis], spread[axis + 4] = pads[i], pads[i + rank]
        pads = spread
    if len(pads) != 8 or any((pads[0], pads[1], pads[4], pads[5])) or min(pads) < 0:
        raise ArchitectureError(f"node {name_of(node)}: Pad is supported for height and width, got {pads}")
    if not any(pads):
        return r.view(node.input[0])
    if fill is None or (fill != 0 and not fill < -1e30):
        raise ArchitectureError(f"node {name_of(node)}: Pad is supported with zeros, got {fill}")
    # The value is brought into the order of channels, height, and width here, so that it is padded in that order.
    r.plain(node.input[0])
    return Padded(node.input[0], (pads[2], pads[3], pads[6], pads[7]), 0.0 if fill == 0 else -math.inf)


def read_batch_norm(r: Reading, node: onnx.NodeProto) -> Held:
    """Read batch normalisation, which folds into a convolution or fully connected layer that nothing else reads."""
    if attributes_of(node).get("training_mode", 0):
        raise ArchitectureError(f"node {name_of(node)}: normalisation is supported as at inference")
    view = r.view(node.input[0])
    before = r.primitive(view.value)
    gain, offset = _affine(r, node) if r.keep_weights else (np.zeros(0), np.zeros(0))
    if view.sole and isinstance(before, p.Conv | p.ConvTranspose | p.Dense) and r.has_channels_at(view, 1):
        r.replace(view.value, with_folded_bias(before))
        if r.keep_weights:
            weights = r.weights[view.value]
            bias = weights.get("bias", np.zeros(before.out, np.float32))
            r.weights[view.value] = {
                "weight": _scaled(before, weights["weight"], gain),
                "bias": (bias * gain + offset).astype(np.float32),
            }
        return view
    if not r.has_channels_at(view, 1):
        raise ArchitectureError(
            f"node {name_of(node)}: normalisation is supported over channels behind the batch"
        )
    weights = {"weight": gain, "bias": offset} if r.keep_weights else {}
    return view.of(r.append(p.BatchNorm(), view.value, **weights))


def with_folded_bias(layer: p.Conv | p.ConvTranspose | p.Dense) -> p.Primitive:
    """Return a layer with a bias that was folded into it; in a convolution, it is that of normalisation."""
    if isinstance(layer, p.Dense):
        return replace(layer, bias=True)
    return replace(layer, norm=True, bias=False)


def _affine(r: Reading, node: onnx.NodeProto) -> tuple[Array, Array]:
    """Return scale and bias per channel of a batch normalisation."""
    scale, bias, mean, variance = (r.array(name).astype(np.float64) for name in node.input[1:5])
    gain = scale / np.sqrt(variance + attributes_of(node).get("epsilon", 1e-5))
    return gain.astype(np.float32), (bias - mean * gain).astype(np.float32)


def _scaled(layer: p.Conv | p.ConvTranspose | p.Dense, weight: Array, gain: Array) -> Array:
    """Return the weight of a layer whose outputs are multiplied by `gain`."""
    if not isinstance(layer, p.ConvTranspose):
        return np.asarray(weight * gain.reshape(-1, *[1] * (weight.ndim - 1)), np.float32)
    apart = weight.reshape(layer.groups, -1, *weight.shape[1:])
    return np.asarray((apart * gain.reshape(layer.groups, 1, -1, 1, 1)).reshape(weight.shape), np.float32)


def read_layer_norm(r: Reading, node: onnx.NodeProto) -> Held:
    """Read layer normalisation over the channels of each position."""
    a = attributes_of(node)
    view = r.view(node.input[0])
    last = len(view.dims) - 1
    if int(a.get("axis", -1)) % (last + 1) != last or not r.has_channels_at(view, last):
        raise ArchitectureError(
            f"node {name_of(node)}: layer normalisation is supported over the channels of each position, got "
            f"{view.sizes}, axis {a.get('axis', -1)}"
        )
    has_bias = len(node.input) > 2 and bool(node.input[2])
    weights = {}
    if r.keep_weights:
        weights["weight"] = r.array(node.input[1])
        weights |= {"bias": r.array(node.input[2])} if has_bias else {}
    norm = p.LayerNorm(shortest(a.get("epsilon", 1e-5)), has_bias)
    return view.of(r.append(norm, view.value, **weights))


def read_instance_norm(r: Reading, node: onnx.NodeProto) -> Held:
    """Read instance normalisation, which is group normalisation where channels were reshaped to groups."""
    view = r.view(node.input[0])
    shape = r.shape(view)
    lead = view.dims[1]
    groups = lead[0].size if lead else 1
    rest = [atom for dim in view.dims[2:] for atom in dim]
    each = shape.channels // groups
    inner = [(CHANNELS, 1, each)] if each > 1 else []
    outer = [(CHANNELS, each, groups)] if groups > 1 else []
    if view.dims[0] != r.batch_dim or list(lead) != outer or rest != [*inner, *positions(shape)]:
        raise ArchitectureError(
            f"node {name_of(node)}: instance normalisation is supported over channels or groups, got {view.sizes}"
        )
    norm = p.GroupNorm(groups, shortest(attributes_of(node).get("epsilon", 1e-5)))
    weights = {}
    if r.keep_weights:
        weights = {
            key: np.repeat(r.array(name), each)
            for key, name in zip(("weight", "bias"), node.input[1:3], strict=True)
        }
    value = r.append(norm, view.value, **weights)
    r.folding[value] = "weight"
    return view.of(value)


def is_per_channel(r: Reading, name: str, view: View) -> bool:
    """Return whether a constant has one entry for each channel, where the view has its channels."""
    dims, place = r.dims(name), view.channel_dim
    if place is None or len(dims) > len(view.dims):
        return False
    sizes = [1] * (len(view.dims) - len(dims)) + list(dims)
    return all(size == (r.shape(view).channels if i == place else 1) for i, size in enumerate(sizes))


def fold_after_norm(r: Reading, view: View, name: str, key: str, sign: float) -> View | None:
    """Fold a scale or bias per channel behind group normalisation into it, as exporters write it.

    Args:
        r: State of the reader.
        view: The normalised value.
        name: The constant.
        key: 'weight' or 'bias'; a weight is folded before a bias, each once.
        sign: -1 where a bias is subtracted.

    Returns:
        The view with the constant applied; None if it cannot be folded.
    """
    stage = r.folding.get(view.value)
    if not view.sole or stage is None or (stage == "bias" and key == "weight"):
        return None
    if key == "weight":
        r.folding[view.value] = "bias"
    else:
        del r.folding[view.value]
    if r.keep_weights:
        weights, values = r.weights[view.value], r.array(name).reshape(-1)
        if key == "weight":
            weights["weight"] = weights["weight"] * values
            weights["bias"] = weights["bias"] * values
        else:
            weights["bias"] = weights["bias"] + sign * values
    return view


def read_resize(r: Reading, node: onnx.NodeProto) -> Held:
    """Read resampling in the coordinates of PyTorch's `interpolate`."""
    a = attributes_of(node)
    value = r.plain(node.input[0])
    shape = r.builder.shape_of(value)
    inputs = [*node.input, "", "", ""][:4]
    if inputs[3]:
        wanted = r.integers(inputs[3])
        scales = [size / old for size, old in zip(wanted[-2:], shape[1:], strict=True)]
    else:
        factors = [shortest(factor) for factor in r.constant(inputs[2]).reshape(-1)]
        wanted = [
            1,
            shape.channels,
            *(math.floor(n * f) for n, f in zip(shape[1:], factors[-2:], strict=True)),
        ]
        scales = factors[-2:]
    exact = all(
        math.isclose(new / old, scale, rel_tol=1e-6)
        for new, old, scale in zip(wanted[-2:], shape[1:], scales, strict=True)
    )
    mode = a.get("mode", b"nearest")
    corners = a.get("coordinate_transformation_mode", b"half_pixel")
    refused = ArchitectureError(
        f"node {name_of(node)}: Resize is supported as in PyTorch's interpolate, nearest or bilinear, got {mode!r}, "
        f"coordinates {corners!r}, {shape} to {wanted}"
    )
    if len(wanted) != 4 or wanted[1] != shape.channels or a.get("antialias", 0) or not exact:
        raise refused
    if mode == b"nearest":
        whole = all(new % old == 0 for new, old in zip(wanted[-2:], shape[1:], strict=True))
        floors = corners == b"asymmetric" and a.get("nearest_mode", b"round_prefer_floor") == b"floor"
        # With whole factors, the nearest centre is the pixel that the block belongs to.
        centres = corners in (b"half_pixel", b"pytorch_half_pixel") and whole
        if not floors and not centres:
            raise refused
        resize = p.Resize(wanted[2], wanted[3])
    elif mode == b"linear" and corners in (b"half_pixel", b"pytorch_half_pixel", b"align_corners"):
        if corners == b"pytorch_half_pixel" and 1 in wanted[-2:]:
            raise refused
        resize = p.Resize(wanted[2], wanted[3], "bilinear", corners == b"align_corners")
    else:
        raise refused
    if a.get("exclude_outside", 0):
        raise refused
    return r.plain_view(r.append(resize, value))
