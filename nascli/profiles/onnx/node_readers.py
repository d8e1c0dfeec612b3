"""Nodes of ONNX graphs as primitives: the table of all readers, and those of element-wise functions and means.

Convolutions, pooling, and normalisation are in `window_readers.py`, matrix products in `product_readers.py`, and what
moves elements in `shape_readers.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import onnx
from onnx import TensorProto

from nascli.errors import ArchitectureError
from nascli.profiles.onnx.product_readers import fold_bias, read_gemm, read_matmul, read_softmax
from nascli.profiles.onnx.reading import Above, Erf, Held, Reading, Scores, attributes_of, name_of, shortest
from nascli.profiles.onnx.shape_readers import (
    read_concat,
    read_depth_to_space,
    read_flatten,
    read_gather,
    read_reshape,
    read_slice,
    read_split,
    read_squeeze,
    read_transpose,
)
from nascli.profiles.onnx.views import View, positions
from nascli.profiles.onnx.window_readers import (
    fold_after_norm,
    is_per_channel,
    read_batch_norm,
    read_conv,
    read_conv_transpose,
    read_instance_norm,
    read_layer_norm,
    read_pad,
    read_pool,
    read_resize,
)
from nascli.spaces import primitives as p
from nascli.spaces.primitives import Shape

Reader = Callable[[Reading, onnx.NodeProto], Held]
_ACTS = {
    "Relu": "relu",
    "HardSwish": "hswish",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Softplus": "softplus",
    "Mish": "mish",
}
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
# Softplus of what is above is the same number in float32.
_LINEAR_SOFTPLUS = 17.0
# What x times the function of x is, where that is an activation of its own.
_GATED = {"sigmoid": "swish", "hsigmoid": "hswish"}


def passes_through(node: onnx.NodeProto) -> bool:
    """Return whether a node returns its first input unchanged at inference."""
    if node.op_type == "Cast":
        return int(attributes_of(node)["to"]) in _FLOATS
    return node.op_type in ("Identity", "Dropout")


def _act(r: Reading, node: onnx.NodeProto) -> Held:
    return _elementwise(r, p.Act(_ACTS[node.op_type]), r.view(node.input[0]))


def _elementwise(r: Reading, primitive: p.Primitive, view: View) -> View:
    return view.of(r.append(primitive, view.value))


def _gelu(r: Reading, node: onnx.NodeProto) -> Held:
    is_tanh = attributes_of(node).get("approximate", b"none") == b"tanh"
    return _elementwise(r, p.Act("gelu_tanh" if is_tanh else "gelu"), r.view(node.input[0]))


def _sloped(r: Reading, node: onnx.NodeProto) -> Held:
    """Read LeakyRelu, Elu, and HardSigmoid, which have their parameters as attributes."""
    a = attributes_of(node)
    if node.op_type == "HardSigmoid":
        values: tuple[float, ...] = (shortest(a.get("alpha", 0.2)), shortest(a.get("beta", 0.5)))
        if all(math.isclose(x, y, rel_tol=1e-6) for x, y in zip(values, (1 / 6, 0.5), strict=True)):
            values = ()
        act = p.Act("hsigmoid", values)
    elif node.op_type == "LeakyRelu":
        act = p.Act("leaky_relu", (shortest(a.get("alpha", 0.01)),))
    else:
        act = p.Act("elu", (shortest(a.get("alpha", 1.0)),))
    return _elementwise(r, act, r.view(node.input[0]))


def _selu(r: Reading, node: onnx.NodeProto) -> Held:
    a = attributes_of(node)
    given = a.get("alpha", 1.6732632), a.get("gamma", 1.050701)
    if not all(math.isclose(x, y, rel_tol=1e-4) for x, y in zip(given, (1.6732632, 1.050701), strict=True)):
        raise ArchitectureError(f"Selu is supported with its usual parameters, got {given}")
    return _elementwise(r, p.Act("selu"), r.view(node.input[0]))


def _prelu(r: Reading, node: onnx.NodeProto) -> Held:
    view, slope = r.view(node.input[0]), node.input[1]
    channels = r.shape(view).channels
    has_one = math.prod(r.dims(slope)) == 1
    shared = has_one and channels != 1
    if not has_one and not is_per_channel(r, slope, view):
        raise ArchitectureError(f"PRelu is supported with a slope per channel, got {list(r.dims(slope))}")
    weights = {"weight": r.array(slope).reshape(-1)} if r.keep_weights else {}
    return view.of(r.append(p.PRelu(shared), view.value, **weights))


def _clip(r: Reading, node: onnx.NodeProto) -> Held:
    a = attributes_of(node)
    names = [*node.input[1:], "", ""][:2]
    low = r.scalar(names[0]) if names[0] else a.get("min")
    high = r.scalar(names[1]) if names[1] else a.get("max")
    view = r.view(node.input[0])
    if (low, high) == (0.0, 6.0):
        return _elementwise(r, p.Act("relu6"), view)
    if low == 0 and (high is None or high > 1e30):
        return _elementwise(r, p.Act("relu"), view)
    if low is None or high is None:
        raise ArchitectureError(f"Clip is supported between two constants, got {low} and {high}")
    return _elementwise(r, p.Act("clip", (float(low), float(high))), view)


def _constant_and_other(r: Reading, node: onnx.NodeProto) -> tuple[str, str] | None:
    """Return the constant among two inputs and the other one; None if both are values."""
    first, second = node.input
    for constant, other in ((second, first), (first, second)):
        if r.is_constant(constant):
            return constant, other
    return None


def _unsupported_constant(r: Reading, node: onnx.NodeProto, name: str) -> ArchitectureError:
    return ArchitectureError(
        f"node {name_of(node)}: {node.op_type} of a value and a constant is supported with one number, or with one per "
        f"channel, got a constant of {list(r.dims(name))}"
    )


def _sum(r: Reading, node: onnx.NodeProto) -> Held:
    """Read Sum, which is Add for any number of values."""
    if len(node.input) == 2:
        return _add(r, node)
    views = [r.view(name) for name in node.input]
    if any(view.dims != views[0].dims or r.shape(view) != r.shape(views[0]) for view in views):
        raise ArchitectureError(f"node {name_of(node)}: Sum is supported for values of one shape")
    return views[0].of(r.append(p.Add(), *(view.value for view in views)))


def _add(r: Reading, node: onnx.NodeProto) -> Held:
    """Read Add and Sub."""
    split = _constant_and_other(r, node)
    if split is None:
        if node.op_type == "Sub":
            return _binary(r, node, "sub")
        views = [r.view(name) for name in node.input]
        if views[0].dims == views[1].dims and r.shape(views[0]) == r.shape(views[1]):
            return views[0].of(r.append(p.Add(), views[0].value, views[1].value))
        return _binary(r, node, "add")
    name, other = split
    sign = -1.0 if node.op_type == "Sub" and node.input[1] == name else 1.0
    held = r.of(other)
    amount = r.scalar(name)
    if isinstance(held, Erf) and held.stage == "erf" and amount == 1 and sign == 1:
        return replace(held, stage="plus")
    view = r.view(other)
    if node.op_type == "Sub" and sign > 0:
        view = _elementwise(r, p.Gain(-1.0), view)
    folded = fold_bias(r, view, name, sign)
    if folded is not None:
        return folded
    if amount is not None:
        return view if amount == 0 else _elementwise(r, p.Shift(sign * amount), view)
    if not is_per_channel(r, name, view):
        raise _unsupported_constant(r, node, name)
    after_norm = fold_after_norm(r, view, name, "bias", sign)
    if after_norm is not None:
        return after_norm
    weights = {"bias": sign * r.array(name).reshape(-1)} if r.keep_weights else {}
    return view.of(r.append(p.ChannelBias(), view.value, **weights))


def _mul(r: Reading, node: onnx.NodeProto) -> Held:
    """Read Mul and Div."""
    split = _constant_and_other(r, node)
    if split is None:
        return _product(r, node) if node.op_type == "Mul" else _binary(r, node, "div")
    name, other = split
    is_div = node.op_type == "Div"
    if is_div and node.input[0] == name:
        raise ArchitectureError(f"node {name_of(node)}: a constant divided by a value has no primitive")
    held, factor = r.of(other), r.scalar(name)
    if factor is not None:
        if is_div and factor == 0:
            raise ArchitectureError(f"node {name_of(node)} divides by zero")
        factor = shortest(1 / factor) if is_div else factor
        if isinstance(held, Scores):
            return replace(held, factor=held.factor * factor)
        if isinstance(held, Erf) and held.stage == "twice" and factor == 0.5:
            return _elementwise(r, p.Act("gelu"), held.view)
        if math.isclose(factor, math.sqrt(0.5), rel_tol=1e-5) and _feeds_erf(r, node):
            return Erf(r.view(other), "scaled")
        view = r.view(other)
        return view if factor == 1 else _elementwise(r, p.Gain(factor), view)
    view = r.view(other)
    if not is_per_channel(r, name, view):
        raise _unsupported_constant(r, node, name)
    after_norm = None if is_div else fold_after_norm(r, view, name, "weight", 1.0)
    if after_norm is not None:
        return after_norm
    weights = {}
    if r.keep_weights:
        values = r.array(name).reshape(-1)
        weights = {"weight": 1 / values if is_div else values}
    return view.of(r.append(p.ChannelScale(), view.value, **weights))


def _feeds_erf(r: Reading, node: onnx.NodeProto) -> bool:
    return node.output[0] in r.erf_inputs


def _product(r: Reading, node: onnx.NodeProto) -> Held:
    first, second = (r.of(name) for name in node.input)
    for gate, name in ((first, node.input[1]), (second, node.input[0])):
        if isinstance(gate, Erf) and gate.stage == "plus":
            return _gelu_product(r, gate, r.view(name))
    a, b = r.view(node.input[0]), r.view(node.input[1])
    for gate_view, x in ((a, b), (b, a)):
        function = _gated(r, gate_view, x)
        if function is not None:
            return _elementwise(r, p.Act(function), x)
    for gate_view, x in ((b, a), (a, b)):
        gate_shape, shape = r.shape(gate_view), r.shape(x)
        is_gate = gate_shape == Shape(shape.channels, 1, 1) != shape
        if is_gate and _is_aligned(gate_view, x):
            return x.of(r.append(p.Scale(), x.value, gate_view.value))
    return _binary(r, node, "mul")


def _gated(r: Reading, gate: View, x: View) -> str | None:
    """Return the activation that `x` times `gate` is; None if it is none."""
    if gate.dims != x.dims or not gate.value:
        return None
    made = r.builder.nodes[gate.value - 1]
    if not isinstance(made.primitive, p.Act) or made.primitive.parameters:
        return None
    source = made.inputs[0]
    if source == x.value:
        return _GATED.get(made.primitive.function)
    if made.primitive.function == "tanh" and source:
        inner = r.builder.nodes[source - 1]
        if inner.primitive == p.Act("softplus") and inner.inputs == (x.value,):
            return "mish"
    return None


def _gelu_product(r: Reading, gate: Erf, x: View) -> Held:
    """Read x (1 + erf(x / sqrt(2))), which half of is Gelu, with the half before or behind it."""
    if x.value == gate.view.value:
        return Erf(gate.view, "twice")
    made = r.builder.nodes[x.value - 1] if x.value else None
    if made is not None and made.primitive == p.Gain(0.5) and made.inputs == (gate.view.value,):
        return _elementwise(r, p.Act("gelu"), gate.view)
    raise ArchitectureError("the error function is supported as a part of Gelu")


def _erf(r: Reading, node: onnx.NodeProto) -> Held:
    held = r.of(node.input[0])
    if not isinstance(held, Erf) or held.stage != "scaled":
        raise ArchitectureError(
            f"node {name_of(node)} is a Erf, which nascli has no primitive for but as a part of Gelu"
        )
    return replace(held, stage="erf")


def _greater(r: Reading, node: onnx.NodeProto) -> Held:
    bound = r.scalar(node.input[1])
    if bound is None:
        raise ArchitectureError("Greater is supported beside Softplus, with a constant")
    return Above(r.view(node.input[0]), bound)


def _where(r: Reading, node: onnx.NodeProto) -> Held:
    """Read Softplus as newer exporters write it: x itself where x is large, which makes no difference."""
    condition, x, other = (r.of(name) for name in node.input)
    if (
        isinstance(condition, Above)
        and isinstance(x, View)
        and isinstance(other, View)
        and condition.bound >= _LINEAR_SOFTPLUS
        and condition.view.value == x.value
        and r.primitive(other.value) == p.Act("softplus")
        and r.builder.nodes[other.value - 1].inputs == (x.value,)
        and other.dims == x.dims
    ):
        return other
    raise ArchitectureError("Where is supported as a part of Softplus")


def _is_aligned(small: View, large: View) -> bool:
    """Return whether each dimension of a view is that of the other one, or has size 1."""
    if len(small.dims) > len(large.dims):
        return False
    offset = len(large.dims) - len(small.dims)
    return all(dim in ((), large.dims[offset + i]) for i, dim in enumerate(small.dims))


def _binary(r: Reading, node: onnx.NodeProto, function: str) -> Held:
    a, b = (r.view(name) for name in node.input)
    if a.dims == b.dims and r.shape(a) == r.shape(b):
        return a.of(r.append(p.Binary(function), a.value, b.value))
    if len(a.dims) == len(b.dims) and (_is_aligned(a, b) or _is_aligned(b, a)):
        large = a if _is_aligned(b, a) else b
        value = r.append(p.Binary(function), a.value, b.value)
        if r.builder.shape_of(value) == r.shape(large):
            return large.of(value)
    first, second = (r.plain(name) for name in node.input)
    return r.plain_view(r.append(p.Binary(function), first, second))


def _neg(r: Reading, node: onnx.NodeProto) -> Held:
    return _elementwise(r, p.Gain(-1.0), r.view(node.input[0]))


def _pow(r: Reading, node: onnx.NodeProto) -> Held:
    exponent, view = r.scalar(node.input[1]), r.view(node.input[0])
    if exponent != 2:
        raise ArchitectureError(f"node {name_of(node)}: Pow is supported with exponent 2, got {exponent}")
    return view.of(r.append(p.Binary("mul"), view.value, view.value))


def _mean(r: Reading, node: onnx.NodeProto) -> Held:
    """Read GlobalAveragePool, and ReduceMean over all positions."""
    view = r.view(node.input[0])
    shape = r.shape(view)
    if node.op_type == "GlobalAveragePool":
        return r.plain_view(r.append(p.GlobalPool(), r.plain(node.input[0])))
    a = attributes_of(node)
    axes = a.get("axes") or (r.integers(node.input[1]) if len(node.input) > 1 and node.input[1] else [])
    places = sorted(int(axis) % len(view.dims) for axis in axes)
    reduced = sorted(atom for place in places for atom in view.dims[place])
    if not places or reduced != sorted(positions(shape)):
        raise ArchitectureError(f"{node.op_type} is supported over height and width, got axes {list(axes)}")
    value = r.append(p.GlobalPool(), view.value)
    keep = bool(a.get("keepdims", 1))
    dims = tuple(() if i in places else dim for i, dim in enumerate(view.dims) if keep or i not in places)
    return View(value, dims)


READERS: dict[str, Reader] = {
    "Add": _add,
    "Sum": _sum,
    "AveragePool": read_pool,
    "BatchNormalization": read_batch_norm,
    "Clip": _clip,
    "Concat": read_concat,
    "Conv": read_conv,
    "ConvTranspose": read_conv_transpose,
    "DepthToSpace": read_depth_to_space,
    "Div": _mul,
    "Elu": _sloped,
    "Erf": _erf,
    "Flatten": read_flatten,
    "Gather": read_gather,
    "Gelu": _gelu,
    "Gemm": read_gemm,
    "GlobalAveragePool": _mean,
    "Greater": _greater,
    "HardSigmoid": _sloped,
    "InstanceNormalization": read_instance_norm,
    "LayerNormalization": read_layer_norm,
    "LeakyRelu": _sloped,
    "MatMul": read_matmul,
    "MaxPool": read_pool,
    "Mul": _mul,
    "Neg": _neg,
    "PRelu": _prelu,
    "Pad": read_pad,
    "Pow": _pow,
    "ReduceMean": _mean,
    "Reshape": read_reshape,
    "Resize": read_resize,
    "Selu": _selu,
    "Slice": read_slice,
    "Softmax": read_softmax,
    "SpaceToDepth": read_depth_to_space,
    "Split": read_split,
    "Squeeze": read_squeeze,
    "Sub": _add,
    "Transpose": read_transpose,
    "Unsqueeze": read_squeeze,
    "Where": _where,
    **dict.fromkeys(_ACTS, _act),
}
