"""Programs as ONNX models with a static batch.

Models have the form in which they are deployed: normalisation is folded into the convolutions, so that each has a
bias. Weights are random unless they are given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from nascli.errors import SpaceError
from nascli.profiles.onnx.opaque import OpaqueWriter, value_info
from nascli.profiles.onnx.precisions import to_half_precision, to_int8
from nascli.profiles.onnx.random_arrays import random_array
from nascli.profiles.onnx.repeating import repeat_graph
from nascli.spaces.opaque_graphs import OpaqueGraph, TensorType
from nascli.spaces.primitives import (
    Act,
    Add,
    Concat,
    Conv,
    Gain,
    GlobalPool,
    Linear,
    Opaque,
    Pool,
    Scale,
    Shape,
    Shuffle,
    Split,
)
from nascli.spaces.programs import Node, Program

OPSET = 20
IR_VERSION = 10
PRECISIONS = ("fp32", "fp16", "int8", "int8-symmetric")
Array = npt.NDArray[np.float32]
Weights = Mapping[str, Array]


class _Writer:
    """Collects the nodes and initialisers of a program's graph."""

    def __init__(self, program: Program, batch: int, weights: Weights | None) -> None:
        self.program = program
        self.batch = batch
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        # Inputs and outputs of the model besides the first, which pieces of ONNX may have.
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []

    def emit(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, array: npt.NDArray[np.generic]) -> str:
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        self.initializers.append(
            helper.make_tensor(name, kind, array.shape, np.ascontiguousarray(array).tobytes(), raw=True)
        )
        return name

    def weight(self, name: str, shape: tuple[int, ...], fan_in: int, offset: int) -> str:
        """Add a given weight, or without given weights a random one."""
        if self.weights is None:
            scale = float(np.sqrt(2.0 / fan_in)) if len(shape) > 1 else 0.1
            return self.constant(name, random_array(shape, scale, offset))
        if name not in self.weights:
            raise SpaceError(f"weights lack {name!r}")
        array = np.asarray(self.weights[name], dtype=np.float32)
        if array.shape != shape:
            raise SpaceError(f"weight {name!r} must have shape {shape}, got {array.shape}")
        return self.constant(name, array)

    def write(self, index: int, node: Node, inputs: list[str]) -> str:
        name = f"n{index}"
        x = self.program.shape_of(node.inputs[0])
        match node.primitive:
            case Conv() as conv:
                return self._conv(name, index, conv, x, inputs[0])
            case Act(function=function):
                return self._act(name, function, inputs[0])
            case Pool(mode=mode, kernel=kernel, stride=stride):
                pad = kernel // 2
                return self.emit(
                    "MaxPool" if mode == "max" else "AveragePool",
                    inputs,
                    name,
                    kernel_shape=[kernel, kernel],
                    strides=[stride, stride],
                    pads=[pad] * 4,
                )
            case GlobalPool():
                return self.emit("GlobalAveragePool", inputs, name)
            case Add():
                total = inputs[0]
                for position, other in enumerate(inputs[1:], 1):
                    output = name if position == len(inputs) - 1 else f"{name}.{position}"
                    total = self.emit("Add", [total, other], output)
                return total
            case Scale():
                return self.emit("Mul", inputs, name)
            case Gain(factor=factor):
                constant = self.constant(f"{name}.factor", np.array(factor, dtype=np.float32))
                return self.emit("Mul", [inputs[0], constant], name)
            case Split(start=start, stop=stop):
                bounds = [
                    self.constant(f"{name}.{key}", np.array([value], dtype=np.int64))
                    for key, value in (("start", start), ("stop", stop), ("axis", 1))
                ]
                return self.emit("Slice", [inputs[0], *bounds], name)
            case Concat():
                return self.emit("Concat", inputs, name, axis=1)
            case Shuffle(groups=groups):
                return self._shuffle(name, groups, x, inputs[0])
            case Linear(out=out, bias=bias):
                return self._linear(name, index, out, bias, x, inputs[0])
            case Opaque():
                return self._opaque(name, node.primitive.parsed, inputs[0])

    def _opaque(self, name: str, graph: OpaqueGraph, source: str) -> str:
        if graph.batch != self.batch:
            raise SpaceError(
                f"a piece of ONNX written at batch {graph.batch} has no form at batch {self.batch}"
            )
        if self.weights is not None:
            raise SpaceError("a piece of ONNX takes no weights: it is good for measuring only")
        writer = OpaqueWriter(graph, f"{name}." if len(self.program.nodes) > 1 else "")
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

    def _conv(self, name: str, index: int, conv: Conv, x: Shape, source: str) -> str:
        if conv.low_bit:
            raise SpaceError(
                f"a convolution of {conv.weight_bits}-bit weights and {conv.activation_bits}-bit "
                "activations has no ONNX form; only its BitOps are counted"
            )
        per_group = x.channels // conv.groups
        shape = (conv.out, per_group, *conv.kernel)
        weight = self.weight(f"{name}.weight", shape, per_group * conv.kernel[0] * conv.kernel[1], index)
        bias = self.weight(f"{name}.bias", (conv.out,), 1, index + 1)
        pads = [d * (k - 1) // 2 for k, d in zip(conv.kernel, conv.dilation, strict=True)]
        return self.emit(
            "Conv",
            [source, weight, bias],
            name,
            kernel_shape=list(conv.kernel),
            strides=list(conv.stride),
            dilations=list(conv.dilation),
            group=conv.groups,
            pads=pads + pads,
        )

    def _act(self, name: str, function: str, source: str) -> str:
        match function:
            case "relu6":
                low = self.constant(f"{name}.low", np.array(0, dtype=np.float32))
                high = self.constant(f"{name}.high", np.array(6, dtype=np.float32))
                return self.emit("Clip", [source, low, high], name)
            case "swish":
                gate = self.emit("Sigmoid", [source], f"{name}.gate")
                return self.emit("Mul", [source, gate], name)
            case "hsigmoid":
                return self.emit("HardSigmoid", [source], name, alpha=1 / 6, beta=0.5)
            case _:
                names = {"relu": "Relu", "hswish": "HardSwish", "sigmoid": "Sigmoid"}
                return self.emit(names[function], [source], name)

    def _shuffle(self, name: str, groups: int, x: Shape, source: str) -> str:
        apart = [self.batch, groups, x.channels // groups, x.height, x.width]
        together = [self.batch, *x]
        shapes = [
            self.constant(f"{name}.{key}", np.array(value, dtype=np.int64))
            for key, value in (("apart", apart), ("together", together))
        ]
        h = self.emit("Reshape", [source, shapes[0]], f"{name}.reshaped")
        h = self.emit("Transpose", [h], f"{name}.transposed", perm=[0, 2, 1, 3, 4])
        return self.emit("Reshape", [h, shapes[1]], name)

    def _linear(self, name: str, index: int, out: int, bias: bool, x: Shape, source: str) -> str:
        flat = self.emit("Flatten", [source], f"{name}.flat", axis=1)
        inputs = [flat, self.weight(f"{name}.weight", (out, x.channels), x.channels, index)]
        if bias:
            inputs.append(self.weight(f"{name}.bias", (out,), 1, index + 1))
        return self.emit("Gemm", inputs, name, transB=1)


def _value_type(program: Program, value: int, batch: int) -> TensorType:
    """Return the type of a value, batch included."""
    if value == 0:
        return program.input_type or TensorType("float32", (batch, *program.input))
    raw = program.raw.get(value)
    if raw is not None:
        return raw
    return TensorType("float32", tuple(_dimensions(batch, program.shape_of(value), value in program.flat)))


def _dimensions(batch: int, shape: Shape, flat: bool) -> list[int]:
    return [batch, shape.channels] if flat else [batch, *shape]


def onnx_model(program: Program, batch: int, weights: Weights | None = None) -> onnx.ModelProto:
    """Write a program as an ONNX model in fp32.

    Args:
        program: The program, with at least one node.
        batch: The static batch, at least 1.
        weights: Arrays by name, such as ``n3.weight`` and ``n3.bias`` for the third node, with normalisation folded
            into them; None takes random weights.

    Returns:
        A model with input ``input`` of shape `(batch, channels, height, width)` and output ``output``.

    Raises:
        SpaceError: The program has no nodes or a low-bit convolution, the batch is below 1, a weight is missing or
            has the wrong shape, or weights are given for a program that is repeated.
    """
    if batch < 1:
        raise SpaceError(f"batch must be at least 1, got {batch}")
    if program.copies > 1 and weights is not None:
        raise SpaceError("a program that is repeated takes no weights: it is good for measuring only")
    if program.output == 0:
        raise SpaceError("a program that returns its input has no ONNX graph: it costs nothing")
    writer = _Writer(program, batch, weights)
    pieces = [n.primitive.parsed for n in program.nodes if isinstance(n.primitive, Opaque)]
    has_subgraphs = any(piece.has_subgraphs for piece in pieces)
    names = ["v0" if has_subgraphs else "input"]
    for index, node in enumerate(program.nodes, 1):
        names.append(writer.write(index, node, [names[i] for i in node.inputs]))
    output = names[program.output]
    if not has_subgraphs:
        _rename_output(writer.nodes, output)
        output = "output"
    graph = helper.make_graph(
        writer.nodes,
        "nascli",
        [value_info(names[0], _value_type(program, 0, batch)), *writer.inputs],
        [value_info(output, _value_type(program, program.output, batch)), *writer.outputs],
        writer.initializers,
    )
    if program.copies > 1:
        graph = repeat_graph(graph, program.copies)
    return helper.make_model(
        graph, ir_version=IR_VERSION, opset_imports=_opset(pieces), producer_name="nascli"
    )


def _opset(pieces: Sequence[OpaqueGraph]) -> list[onnx.OperatorSetIdProto]:
    """Return the versions of the sets of operators that pieces of ONNX and primitives need.

    Raises:
        SpaceError: Two pieces need different versions of one set.
    """
    versions: dict[str, int] = {}
    for domain, version in (pair for piece in pieces for pair in piece.opset):
        if versions.setdefault(domain, version) != version:
            raise SpaceError(
                f"pieces of ONNX at opset {version} and {versions[domain]} do not make up one model"
            )
    versions.setdefault("", OPSET)
    return [helper.make_opsetid(domain, version) for domain, version in sorted(versions.items())]


def _rename_output(nodes: list[onnx.NodeProto], name: str) -> None:
    """Give the value `name` the name ``output``."""
    for node in nodes:
        for field in (node.input, node.output):
            for position, value in enumerate(field):
                if value == name:
                    field[position] = "output"


def onnx_bytes(
    program: Program, batch: int, weights: Weights | None = None, *, precision: str = "fp32"
) -> bytes:
    """Write a program as a serialised ONNX model.

    Args:
        program: The program, with at least one node.
        batch: The static batch, at least 1.
        weights: Arrays by name, as for `onnx_model`.
        precision: 'fp32', 'fp16', 'int8', or 'int8-symmetric'. The scales of the integer models suit random weights,
            so these models are good for timing only.

    Raises:
        SpaceError: The precision is unknown, int8 is asked for with given weights, or `onnx_model` raises it.
    """
    if precision not in PRECISIONS:
        raise SpaceError(f"models are written in {', '.join(PRECISIONS)}, not {precision!r}")
    model = onnx_model(program, batch, weights)
    if precision == "fp16":
        model = to_half_precision(model)
    elif precision != "fp32":
        if any(isinstance(node.primitive, Opaque) for node in program.nodes):
            raise SpaceError(
                "pieces of ONNX are not written in int8: only the scales of primitives are known.",
                "Quantise the file itself, and measure that.",
            )
        if weights is not None:
            raise SpaceError("trained weights are not written in int8: that needs scales calibrated on data")
        model = to_int8(model, symmetric=precision == "int8-symmetric")
    data: bytes = model.SerializeToString()
    return data
