"""The ONNX nodes and initialisers of each primitive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from nascli.errors import SpaceError
from nascli.profiles.onnx.opaque import OpaqueWriter, value_info
from nascli.profiles.onnx.random_arrays import random_array
from nascli.spaces.layouts import channels_last
from nascli.spaces.opaque_graphs import OpaqueGraph
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
    Opaque,
    Pad,
    PixelShuffle,
    PixelUnshuffle,
    Pool,
    PRelu,
    Resize,
    Scale,
    Shape,
    Shift,
    Shuffle,
    Split,
)
from nascli.spaces.programs import Node, Program

Array = npt.NDArray[np.float32]
Weights = Mapping[str, Array]
# The version of ONNX's operators in which primitives are written, unless pieces of ONNX need an older one.
OPSET = 20
# Versions in which operators were introduced that primitives are written with.
_SINCE = {"Gelu": 20, "Mish": 18, "LayerNormalization": 17, "HardSwish": 14}
_ACT_NODES = {
    "relu": "Relu",
    "hswish": "HardSwish",
    "sigmoid": "Sigmoid",
    "gelu": "Gelu",
    "selu": "Selu",
    "mish": "Mish",
    "softplus": "Softplus",
    "tanh": "Tanh",
}
_BINARY_NODES = {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div"}
# Axes of a value whose channels come last, in the order of one whose channels come first, and the reverse.
_TO_LAST, _TO_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]


class GraphWriter:
    """Collects the nodes and initialisers of a program's graph.

    Args:
        program: Program to write.
        batch: The static batch.
        weights: Weights by name; None takes random ones.
        source: Name of the program's input.
        opset: Version of the operators; below 20, some are written as several nodes.

    Attributes:
        nodes: Nodes in evaluation order.
        initializers: Constants and weights.
        inputs: Inputs of the model besides the first, which pieces of ONNX may have.
        outputs: Outputs of the model besides the first.
    """

    def __init__(
        self,
        program: Program,
        batch: int,
        weights: Weights | None,
        *,
        source: str = "input",
        opset: int = OPSET,
    ) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self._program = program
        self._batch = batch
        self._weights = weights
        self._opset = opset
        self._last = channels_last(program)
        self._names = [source]
        self._transposed: dict[int, str] = {}

    def write_all(self) -> str:
        """Write every node, and return the name of the program's output."""
        for index, node in enumerate(self._program.nodes, 1):
            last = index in self._last
            inputs = [self._held(value, last=last) for value in node.inputs]
            self._names.append(self._write(index, node, inputs, last=last))
        return self._held(self._program.output, last=False)

    def _held(self, value: int, *, last: bool) -> str:
        """Return the name of a value with its channels last or first, transposed where it is held otherwise."""
        if (value in self._last) == last:
            return self._names[value]
        if value not in self._transposed:
            name = f"{self._names[value]}.{'last' if last else 'first'}"
            perm = _TO_LAST if last else _TO_FIRST
            self._transposed[value] = self._emit("Transpose", [self._names[value]], name, perm=perm)
        return self._transposed[value]

    def _emit(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def _constant(self, name: str, array: npt.NDArray[np.generic]) -> str:
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        self.initializers.append(
            helper.make_tensor(name, kind, array.shape, np.ascontiguousarray(array).tobytes(), raw=True)
        )
        return name

    def _scalar(self, name: str, value: float) -> str:
        return self._constant(name, np.array(value, dtype=np.float32))

    def _integers(self, name: str, values: list[int]) -> str:
        return self._constant(name, np.array(values, dtype=np.int64))

    def _array(self, name: str, shape: tuple[int, ...], fan_in: int, offset: int) -> Array:
        """Return a given weight, or without given weights a random one."""
        if self._weights is None:
            scale = float(np.sqrt(2.0 / fan_in)) if len(shape) > 1 else 0.1
            return random_array(shape, scale, offset)
        if name not in self._weights:
            raise SpaceError(f"weights lack {name!r}")
        array = np.asarray(self._weights[name], dtype=np.float32)
        if array.shape != shape:
            raise SpaceError(f"weight {name!r} must have shape {shape}, got {array.shape}")
        return array

    def _weight(self, name: str, shape: tuple[int, ...], fan_in: int, offset: int) -> str:
        return self._constant(name, self._array(name, shape, fan_in, offset))

    def _per_channel(self, name: str, size: int, offset: int, *, last: bool) -> str:
        """Add a weight of one entry per channel, in a shape that is repeated over positions."""
        values = self._array(name, (size,), 1, offset)
        return self._constant(name, values if last else values.reshape(size, 1, 1))

    def _write(self, index: int, node: Node, inputs: list[str], *, last: bool) -> str:
        """Write one node, and return the name of its output."""
        name = f"n{index}"
        x = self._program.shape_of(node.inputs[0])
        match node.primitive:
            case Conv() as conv:
                return self._conv(name, index, conv, x, inputs[0])
            case Act() as act:
                return self._act(name, act, inputs[0])
            case Pool() as pool:
                return self._pool(name, pool, inputs[0])
            case GlobalPool():
                return self._emit("GlobalAveragePool", inputs, name)
            case Add():
                total = inputs[0]
                for position, other in enumerate(inputs[1:], 1):
                    output = name if position == len(inputs) - 1 else f"{name}.{position}"
                    total = self._emit("Add", [total, other], output)
                return total
            case Scale():
                return self._emit("Mul", inputs, name)
            case Binary(function=function):
                return self._emit(_BINARY_NODES[function], inputs, name)
            case Gain(factor=factor):
                return self._emit("Mul", [inputs[0], self._scalar(f"{name}.factor", factor)], name)
            case Shift(amount=amount):
                return self._emit("Add", [inputs[0], self._scalar(f"{name}.amount", amount)], name)
            case Linear(out=out, bias=bias):
                return self._linear(name, index, out, bias, x, inputs[0])
            case Dense(out=out, bias=bias):
                return self._dense(name, index, out, bias, x, inputs[0])
            case ConvTranspose() as conv_transpose:
                return self._conv_transpose(name, index, conv_transpose, x, inputs[0])
            case Attention(heads=heads):
                return self._attention(name, heads, node, inputs)
            case BatchNorm() | LayerNorm() | GroupNorm():
                return self._norm(name, index, node.primitive, x, inputs[0])
            case ChannelScale() | ChannelBias():
                is_scale = isinstance(node.primitive, ChannelScale)
                weight = f"{name}.weight" if is_scale else f"{name}.bias"
                constant = self._per_channel(weight, x.channels, index, last=last)
                return self._emit("Mul" if is_scale else "Add", [inputs[0], constant], name)
            case PRelu(shared=shared):
                slope = self._per_channel(f"{name}.weight", 1 if shared else x.channels, index, last=last)
                return self._emit("PRelu", [inputs[0], slope], name)
            case Opaque():
                return self._opaque(name, node.primitive.parsed, node.inputs[0], inputs[0])
            case _:
                return self._move(name, node, x, inputs)

    def _opaque(self, name: str, graph: OpaqueGraph, value: int, source: str) -> str:
        if graph.batch != self._batch:
            raise SpaceError(
                f"a piece of ONNX written at batch {graph.batch} has no form at batch {self._batch}"
            )
        if self._weights is not None:
            raise SpaceError("a piece of ONNX takes no weights: it is good for measuring only")
        writer = OpaqueWriter(graph, f"{name}." if len(self._program.nodes) > 1 else "")
        wanted = graph.inputs[0]
        if value and value not in self._program.raw and wanted.is_vector != (value in self._program.flat):
            # An image of one pixel is a vector with two more sizes.
            source = self._emit(
                "Reshape", [source, self._integers(f"{name}.sizes", list(wanted.dims))], f"{name}.reshaped"
            )
        # Subgraphs know values by the names that the writer gives.
        output = writer.value(graph.outputs[0]) if graph.has_subgraphs else name
        writer.write({0: source, graph.outputs[0]: output})
        self.nodes += writer.nodes
        self.initializers += writer.initializers
        for number, kind in enumerate(graph.inputs[1:], 1):
            self.inputs.append(value_info(writer.value(number), kind))
        for number in graph.outputs[1:]:
            self.outputs.append(value_info(writer.value(number), graph.type_of(number)))
        return output

    def _move(self, name: str, node: Node, x: Shape, inputs: list[str]) -> str:
        """Write a primitive that only moves elements."""
        match node.primitive:
            case Split(start=start, stop=stop):
                bounds = [
                    self._constant(f"{name}.{key}", np.array([value], dtype=np.int64))
                    for key, value in (("start", start), ("stop", stop), ("axis", 1))
                ]
                return self._emit("Slice", [inputs[0], *bounds], name)
            case Concat():
                return self._emit("Concat", inputs, name, axis=1)
            case Shuffle(groups=groups):
                apart = [groups, x.channels // groups, x.height, x.width]
                return self._rearrange(name, inputs[0], apart, [0, 2, 1, 3, 4], node.shape)
            case Pad(padding=(top, left, bottom, right)):
                pads = self._integers(f"{name}.pads", [0, 0, top, left, 0, 0, bottom, right])
                return self._emit("Pad", [inputs[0], pads], name)
            case PixelShuffle(factor=factor, blocks_first=blocks_first):
                mode = "DCR" if blocks_first else "CRD"
                return self._emit("DepthToSpace", inputs, name, blocksize=factor, mode=mode)
            case PixelUnshuffle(factor=factor, blocks_first=True):
                return self._emit("SpaceToDepth", inputs, name, blocksize=factor)
            case PixelUnshuffle(factor=factor):
                apart = [x.channels, x.height // factor, factor, x.width // factor, factor]
                return self._rearrange(name, inputs[0], apart, [0, 1, 3, 5, 2, 4], node.shape)
            case Resize() as resize:
                sizes = self._integers(f"{name}.sizes", [self._batch, *node.shape])
                modes = {
                    "mode": "nearest",
                    "coordinate_transformation_mode": "asymmetric",
                    "nearest_mode": "floor",
                }
                if resize.mode == "bilinear":
                    corners = "align_corners" if resize.align_corners else "half_pixel"
                    modes = {"mode": "linear", "coordinate_transformation_mode": corners}
                return self._emit("Resize", [inputs[0], "", "", sizes], name, **modes)
            case other:
                raise SpaceError(f"the primitive {other.kind} has no ONNX form")

    def _rearrange(self, name: str, source: str, apart: list[int], perm: list[int], out: Shape) -> str:
        """Write a value with its sizes taken apart, transposed, and put together to another shape."""
        before = self._integers(f"{name}.apart", [self._batch, *apart])
        after = self._integers(f"{name}.together", [self._batch, *out])
        h = self._emit("Reshape", [source, before], f"{name}.reshaped")
        h = self._emit("Transpose", [h], f"{name}.transposed", perm=perm)
        return self._emit("Reshape", [h, after], name)

    def _conv(self, name: str, index: int, conv: Conv, x: Shape, source: str) -> str:
        if conv.low_bit:
            raise SpaceError(
                f"a convolution of {conv.weight_bits}-bit weights and {conv.activation_bits}-bit "
                "activations has no ONNX form; only its BitOps are counted"
            )
        per_group = x.channels // conv.groups
        shape = (conv.out, per_group, *conv.kernel)
        weight = self._weight(f"{name}.weight", shape, per_group * conv.kernel[0] * conv.kernel[1], index)
        return self._convolve("Conv", name, index, conv, [source, weight], pads=list(conv.pads))

    def _conv_transpose(self, name: str, index: int, conv: ConvTranspose, x: Shape, source: str) -> str:
        per_group = conv.out // conv.groups
        shape = (x.channels, per_group, *conv.kernel)
        weight = self._weight(f"{name}.weight", shape, x.channels // conv.groups, index)
        return self._convolve(
            "ConvTranspose",
            name,
            index,
            conv,
            [source, weight],
            pads=list(conv.padding),
            output_padding=list(conv.output_padding),
        )

    def _convolve(
        self, op: str, name: str, index: int, conv: Conv | ConvTranspose, inputs: list[str], **pads: list[int]
    ) -> str:
        """Write a convolution of either direction, which has a bias in any case."""
        bias = self._weight(f"{name}.bias", (conv.out,), 1, index + 1)
        return self._emit(
            op,
            [*inputs, bias],
            name,
            kernel_shape=list(conv.kernel),
            strides=list(conv.stride),
            dilations=list(conv.dilation),
            group=conv.groups,
            **pads,
        )

    def _pool(self, name: str, pool: Pool, source: str) -> str:
        attributes: dict[str, list[int] | int] = {
            "kernel_shape": list(pool.window),
            "strides": list(pool.strides),
            "pads": list(pool.pads),
        }
        if pool.count_padding:
            attributes["count_include_pad"] = 1
        return self._emit("MaxPool" if pool.mode == "max" else "AveragePool", [source], name, **attributes)

    def _act(self, name: str, act: Act, source: str) -> str:
        match act.function:
            case "relu6" | "clip":
                low, high = act.values or (0, 6)
                bounds = [self._scalar(f"{name}.low", low), self._scalar(f"{name}.high", high)]
                return self._emit("Clip", [source, *bounds], name)
            case "swish":
                gate = self._emit("Sigmoid", [source], f"{name}.gate")
                return self._emit("Mul", [source, gate], name)
            case "hsigmoid":
                slope, offset = act.values
                return self._emit("HardSigmoid", [source], name, alpha=slope, beta=offset)
            case "leaky_relu":
                return self._emit("LeakyRelu", [source], name, alpha=act.values[0])
            case "elu":
                return self._emit("Elu", [source], name, alpha=act.values[0])
            case "gelu_tanh" if self._opset >= _SINCE["Gelu"]:
                return self._emit("Gelu", [source], name, approximate="tanh")
            case "gelu" | "gelu_tanh" if self._opset < _SINCE["Gelu"]:
                return self._old_gelu(name, source, tanh=act.function == "gelu_tanh")
            case "mish" if self._opset < _SINCE["Mish"]:
                h = self._emit("Softplus", [source], f"{name}.softplus")
                return self._emit("Mul", [source, self._emit("Tanh", [h], f"{name}.tanh")], name)
            case "hswish" if self._opset < _SINCE["HardSwish"]:
                gate = self._emit("HardSigmoid", [source], f"{name}.gate", alpha=1 / 6, beta=0.5)
                return self._emit("Mul", [source, gate], name)
            case _:
                return self._emit(_ACT_NODES[act.function], [source], name)

    def _old_gelu(self, name: str, source: str, *, tanh: bool) -> str:
        """Write Gelu in the operators of versions below 20, as exporters did."""
        h = source
        if tanh:
            # tanh(sqrt(2 / pi) (x + 0.044715 x^3))
            h = self._emit("Mul", [h, h], f"{name}.square")
            h = self._emit("Mul", [h, self._scalar(f"{name}.cubic", 0.044715)], f"{name}.scaled")
            h = self._emit("Add", [h, self._scalar(f"{name}.linear", 1.0)], f"{name}.sum")
            h = self._emit("Mul", [source, h], f"{name}.inner")
        factor = np.sqrt(2 / np.pi) if tanh else np.sqrt(0.5)
        h = self._emit("Mul", [h, self._scalar(f"{name}.factor", float(factor))], f"{name}.argument")
        h = self._emit("Tanh" if tanh else "Erf", [h], f"{name}.function")
        h = self._emit("Add", [h, self._scalar(f"{name}.one", 1.0)], f"{name}.plus")
        h = self._emit("Mul", [source, h], f"{name}.twice")
        return self._emit("Mul", [h, self._scalar(f"{name}.half", 0.5)], name)

    def _linear(self, name: str, index: int, out: int, bias: bool, x: Shape, source: str) -> str:
        flat = self._emit("Flatten", [source], f"{name}.flat", axis=1)
        inputs = [flat, self._weight(f"{name}.weight", (out, x.channels), x.channels, index)]
        if bias:
            inputs.append(self._weight(f"{name}.bias", (out,), 1, index + 1))
        return self._emit("Gemm", inputs, name, transB=1)

    def _dense(self, name: str, index: int, out: int, bias: bool, x: Shape, source: str) -> str:
        weight = f"{name}.weight"
        columns = self._array(weight, (out, x.channels), x.channels, index).T
        inputs = [source, self._constant(weight, columns)]
        if not bias:
            return self._emit("MatMul", inputs, name)
        h = self._emit("MatMul", inputs, f"{name}.product")
        return self._emit("Add", [h, self._weight(f"{name}.bias", (out,), 1, index + 1)], name)

    def _norm(
        self, name: str, index: int, norm: BatchNorm | LayerNorm | GroupNorm, x: Shape, source: str
    ) -> str:
        weight, bias, channels = f"{name}.weight", f"{name}.bias", (x.channels,)
        match norm:
            case BatchNorm():
                # Weight and bias are those of the deployed layer, so that mean and variance are 0 and 1.
                inputs = [
                    self._weight(weight, channels, 1, index),
                    self._weight(bias, channels, 1, index + 1),
                    self._constant(f"{name}.mean", np.zeros(channels, np.float32)),
                    self._constant(f"{name}.variance", np.ones(channels, np.float32)),
                ]
                return self._emit("BatchNormalization", [source, *inputs], name, epsilon=0.0)
            case LayerNorm():
                inputs = [self._weight(weight, channels, 1, index)]
                inputs += [self._weight(bias, channels, 1, index + 1)] if norm.bias else []
                if self._opset < _SINCE["LayerNormalization"]:
                    raise SpaceError(
                        f"layer normalisation has no form beside pieces of ONNX at opset {self._opset}"
                    )
                return self._emit(
                    "LayerNormalization", [source, *inputs], name, axis=-1, epsilon=norm.epsilon
                )
            case GroupNorm(groups=groups):
                apart = self._integers(f"{name}.apart", [self._batch, groups, x.size // groups])
                together = self._integers(f"{name}.together", [self._batch, *x])
                ones = self._constant(f"{name}.ones", np.ones(groups, np.float32))
                zeros = self._constant(f"{name}.zeros", np.zeros(groups, np.float32))
                h = self._emit("Reshape", [source, apart], f"{name}.reshaped")
                h = self._emit(
                    "InstanceNormalization", [h, ones, zeros], f"{name}.normalised", epsilon=norm.epsilon
                )
                h = self._emit("Reshape", [h, together], f"{name}.restored")
                scale = self._per_channel(weight, x.channels, index, last=False)
                h = self._emit("Mul", [h, scale], f"{name}.scaled")
                return self._emit(
                    "Add", [h, self._per_channel(bias, x.channels, index + 1, last=False)], name
                )

    def _attention(self, name: str, heads: int, node: Node, sources: list[str]) -> str:
        shapes = [self._program.shape_of(value) for value in node.inputs]
        rows = []
        for key, shape, source in zip(("queries", "keys", "values"), shapes, sources, strict=True):
            sizes = [self._batch, heads, shape.channels // heads, shape.height * shape.width]
            rows.append(
                self._emit("Reshape", [source, self._integers(f"{name}.{key}.sizes", sizes)], f"{name}.{key}")
            )
        queries, keys, values = rows
        swap = [0, 1, 3, 2]
        queries = self._emit("Transpose", [queries], f"{name}.queries.rows", perm=swap)
        scores = self._emit("MatMul", [queries, keys], f"{name}.scores")
        factor = self._scalar(f"{name}.factor", (shapes[0].channels // heads) ** -0.5)
        scores = self._emit("Mul", [scores, factor], f"{name}.scaled")
        scores = self._emit("Softmax", [scores], f"{name}.softmax", axis=-1)
        values = self._emit("Transpose", [values], f"{name}.values.rows", perm=swap)
        h = self._emit("MatMul", [scores, values], f"{name}.sums")
        h = self._emit("Transpose", [h], f"{name}.columns", perm=swap)
        return self._emit("Reshape", [h, self._integers(f"{name}.sizes", [self._batch, *node.shape])], name)
