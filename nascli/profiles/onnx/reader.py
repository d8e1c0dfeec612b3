"""Reading nodes of ONNX as primitives, and cutting what was read into operators where one value flows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from nascli.errors import ArchitectureError, SpaceError
from nascli.spaces import primitives as p
from nascli.spaces.operators.definition import Operator
from nascli.spaces.primitives import Shape
from nascli.spaces.programs import Builder, Program

# Initialisers with more elements are weights, whose values do not matter.
_MAX_CONSTANT_SIZE = 64
# Nodes that change nothing at inference.
_PASS_THROUGH = ("Identity", "Dropout", "Flatten")
_ACTS = {"Relu": "relu", "HardSwish": "hswish", "Sigmoid": "sigmoid", "HardSigmoid": "hsigmoid"}
Array = npt.NDArray[Any]


class UnreadableNodeError(ArchitectureError):
    """A node that no primitive describes.

    Attributes:
        position: Its position among the nodes that were to be read.
    """

    def __init__(self, position: int, message: str) -> None:
        super().__init__(message)
        self.position = position


def read_program(
    nodes: Sequence[onnx.NodeProto],
    source: tuple[str, Shape],
    output: str,
    *,
    initializers: Mapping[str, onnx.TensorProto],
    uses: Mapping[str, int],
) -> Program:
    """Read nodes as primitives. Weights are ignored.

    Args:
        nodes: Nodes in evaluation order.
        source: Name and shape of the one value that they read from outside.
        output: Name of the value that they give.
        initializers: Initialisers of the graph by name.
        uses: How many readers each value has.

    Raises:
        UnreadableNodeError: A node has no primitive.
        SpaceError: The output is not among what they compute.
    """
    return _Reader(source, initializers, uses).program(nodes, output)


def split_program(program: Program) -> list[Operator]:
    """Return one operator for each piece of a program between two consecutive cut points."""
    points = [point for point in program.cut_points if not _belongs_together(program, point)]
    operators = []
    for start, end in itertools.pairwise(points):
        piece = program.segment(start, end)
        kinds = "-".join(dict.fromkeys(node.primitive.kind for node in piece.nodes))
        operators.append(Operator(kinds, (), piece))
    return operators


def _belongs_together(program: Program, value: int) -> bool:
    """Return whether no cut is wanted at a value: before an activation, or behind global pooling."""
    if value in (0, len(program.nodes)):
        return False
    following = program.nodes[value].primitive
    return isinstance(following, p.Act) or isinstance(program.nodes[value - 1].primitive, p.GlobalPool)


class _SmallConstants(dict[str, Array]):
    """Constants by name, read from initialisers when they are asked for; large ones are weights, and missing."""

    def __init__(self, initializers: Mapping[str, onnx.TensorProto]) -> None:
        super().__init__()
        self._initializers = initializers

    def __missing__(self, name: str) -> Array:
        if name not in self:
            raise KeyError(f"{name!r} is no constant that is known")
        self[name] = numpy_helper.to_array(self._initializers[name])
        return self[name]

    def __contains__(self, name: object) -> bool:
        if super().__contains__(name):
            return True
        tensor = self._initializers.get(str(name))
        return tensor is not None and int(np.prod(tensor.dims, initial=1)) <= _MAX_CONSTANT_SIZE


class _Reader:
    """Appends the primitive of each node of a model to a program."""

    def __init__(
        self, source: tuple[str, Shape], initializers: Mapping[str, onnx.TensorProto], uses: Mapping[str, int]
    ) -> None:
        self._initializers = initializers
        self._constants = _SmallConstants(initializers)
        self._dims = {name: tuple(tensor.dims) for name, tensor in initializers.items()}
        self._builder = Builder(source[1])
        self._values: dict[str, int] = {source[0]: 0}
        self._uses = uses

    def program(self, nodes: Sequence[onnx.NodeProto], output: str) -> Program:
        position = 0
        while position < len(nodes):
            node = nodes[position]
            try:
                position += self._shuffle(list(nodes[position : position + 3])) or self._read(node)
            except (SpaceError, ArchitectureError, KeyError, ValueError, TypeError, IndexError) as error:
                name = node.name or ", ".join(node.output)
                raise UnreadableNodeError(position, f"node {name} ({node.op_type}): {error}") from error
        if output not in self._values:
            raise SpaceError(f"{output!r} is not computed")
        return self._builder.build(self._values[output])

    def _read(self, node: onnx.NodeProto) -> int:
        """Read one node, and return how many nodes were read."""
        if node.op_type == "Constant":
            self._constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
            return 1
        reader = self._readers.get(node.op_type)
        if reader is None or len(node.output) < 1:
            raise ArchitectureError(
                f"node {node.name or node.output[0]} is a {node.op_type}, which nascli has no primitive for; "
                f"supported are {', '.join(sorted(self._readers))} and channel shuffles"
            )
        self._values[node.output[0]] = reader(self, node)
        return 1

    def _value(self, name: str) -> int:
        if name not in self._values:
            raise ArchitectureError(f"{name!r} is computed from no input, or used before it is computed")
        return self._values[name]

    def _x(self, node: onnx.NodeProto) -> int:
        return self._value(node.input[0])

    def _append(self, primitive: p.Primitive, *inputs: int) -> int:
        return self._builder.append(primitive, inputs)

    def _conv(self, node: onnx.NodeProto) -> int:
        a = _attributes(node)
        out, _, *kernel = self._dims[node.input[1]]
        if len(kernel) != 2:
            raise ArchitectureError(f"{node.name}: only 2-d convolutions are supported")
        dilation = tuple(a.get("dilations", (1, 1)))
        self._same_padding(node, a, kernel, dilation)
        conv = p.Conv(
            out,
            (kernel[0], kernel[1]),
            _pair(a.get("strides", (1, 1))),
            _pair(dilation),
            int(a.get("group", 1)),
            norm=len(node.input) > 2,
        )
        return self._append(conv, self._x(node))

    def _same_padding(
        self, node: onnx.NodeProto, a: dict[str, Any], kernel: list[int], dilation: tuple[int, ...]
    ) -> None:
        wanted = [d * (k - 1) // 2 for k, d in zip(kernel, dilation, strict=True)]
        pads = list(a.get("pads", (0,) * 4))
        if a.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"SAME_UPPER") or pads != wanted * 2:
            raise ArchitectureError(
                f"node {node.name or node.output[0]}: padding must keep the size ({wanted} on either side), "
                f"got {pads}"
            )

    def _norm(self, node: onnx.NodeProto) -> int:
        """Read a batch normalisation, which folds into the convolution before it."""
        value = self._x(node)
        before = self._builder.nodes[value - 1].primitive if value else None
        if not isinstance(before, p.Conv):
            raise ArchitectureError("batch normalisation is supported right after a convolution only")
        return value

    def _act(self, node: onnx.NodeProto) -> int:
        return self._append(p.Act(_ACTS[node.op_type]), self._x(node))

    def _clip(self, node: onnx.NodeProto) -> int:
        a = _attributes(node)
        bounds = [float(self._constants[name]) for name in node.input[1:] if name]
        low, high = bounds if len(bounds) == 2 else (a.get("min"), a.get("max"))
        if (low, high) != (0.0, 6.0):
            raise ArchitectureError(f"Clip is supported between 0 and 6, got {low} and {high}")
        return self._append(p.Act("relu6"), self._x(node))

    def _pool(self, node: onnx.NodeProto) -> int:
        a = _attributes(node)
        kernel, strides = list(a["kernel_shape"]), _pair(a.get("strides", (1, 1)))
        if kernel[0] != kernel[1] or strides[0] != strides[1]:
            raise ArchitectureError(f"pooling is supported with square windows, got {kernel}, {strides}")
        self._same_padding(node, a, kernel, (1, 1))
        value = self._x(node)
        height, width = self._builder.shape_of(value)[1:]
        over = [(size + 2 * (kernel[0] // 2) - kernel[0]) % strides[0] for size in (height, width)]
        if set(a.get("dilations", (1, 1))) != {1} or (a.get("ceil_mode", 0) and any(over)):
            raise ArchitectureError(
                f"node {node.name or node.output[0]}: pooling is supported without dilations, and where its windows "
                f"fit without being cut off (ceil_mode), got {height}x{width}, window {kernel}, strides {strides}"
            )
        mode = "max" if node.op_type == "MaxPool" else "avg"
        return self._append(p.Pool(mode, kernel[0], strides[0]), value)

    def _global_pool(self, node: onnx.NodeProto) -> int:
        if node.op_type == "ReduceMean":
            a = _attributes(node)
            axes = a.get("axes") or self._constants[node.input[1]].tolist()
            if sorted(int(axis) % 4 for axis in axes) != [2, 3]:
                raise ArchitectureError(f"ReduceMean is supported over height and width, got {list(axes)}")
        return self._append(p.GlobalPool(), self._x(node))

    def _add(self, node: onnx.NodeProto) -> int:
        constant = [name for name in node.input if name in self._dims or name in self._constants]
        if constant:
            value = self._value(next(name for name in node.input if name not in constant))
            before = self._builder.nodes[value - 1].primitive if value else None
            dims = self._dims.get(constant[0]) or self._constants[constant[0]].shape
            # A separate bias behind a convolution or a linear layer.
            if not isinstance(before, p.Conv | p.Linear) or math.prod(dims) not in (1, before.out):
                raise ArchitectureError(
                    f"node {node.name or node.output[0]}: adding a constant is supported as a bias per channel right "
                    f"behind a convolution or a linear layer, got a constant of {list(dims)}"
                )
            return value
        return self._append(p.Add(), *(self._value(name) for name in node.input))

    def _mul(self, node: onnx.NodeProto) -> int:
        first, second = node.input
        for constant, other in ((first, second), (second, first)):
            if constant in self._constants and self._constants[constant].size == 1:
                return self._append(p.Gain(float(self._constants[constant].reshape(()))), self._value(other))
        a, b = self._value(first), self._value(second)
        for gate, x in ((a, b), (b, a)):
            made = self._builder.nodes[gate - 1] if gate else None
            if made and made.primitive == p.Act("sigmoid") and made.inputs == (x,):
                # The sigmoid is removed unless another node reads it.
                if gate == len(self._builder.nodes) and self._readers_of(gate) == 1:
                    self._builder.nodes.pop()
                return self._append(p.Act("swish"), x)
        gates = [value for value in (b, a) if self._builder.shape_of(value)[1:] == (1, 1)]
        if not gates:
            raise ArchitectureError("Mul is supported as swish, as a gate per channel, and by a constant")
        return self._append(p.Scale(), a if gates[0] == b else b, gates[0])

    def _readers_of(self, value: int) -> int:
        """Return how many nodes read a value under any of its names; the graph's output counts as one."""
        names = [name for name, other in self._values.items() if other == value]
        # Each further name was made by a node that only passes the value on.
        pass_through_nodes = len(names) - 1
        return sum(self._uses.get(name, 0) for name in names) - pass_through_nodes

    def _slice(self, node: onnx.NodeProto) -> int:
        start, stop, axis = (int(self._constants[name].reshape(-1)[0]) for name in node.input[1:4])
        if axis != 1:
            raise ArchitectureError(f"Slice is supported along the channels, got axis {axis}")
        value = self._x(node)
        return self._append(p.Split(start, min(stop, self._builder.shape_of(value).channels)), value)

    def _linear(self, node: onnx.NodeProto) -> int:
        dims = self._dims[node.input[1]]
        transposed = node.op_type == "Gemm" and _attributes(node).get("transB", 0)
        out = dims[0] if transposed else dims[1]
        return self._append(p.Linear(out, node.op_type == "MatMul" or len(node.input) > 2), self._x(node))

    def _concat(self, node: onnx.NodeProto) -> int:
        if _attributes(node).get("axis") != 1:
            raise ArchitectureError("Concat is supported along the channels")
        return self._append(p.Concat(), *(self._value(name) for name in node.input))

    def _reshape(self, node: onnx.NodeProto) -> int:
        value = self._x(node)
        shape = self._builder.shape_of(value)
        wanted = [int(size) for size in self._constants[node.input[1]].reshape(-1)]
        if shape[1:] == (1, 1) and len(wanted) == 2:
            return value
        raise ArchitectureError(f"Reshape is supported before a classifier only, got {shape} to {wanted}")

    def _shuffle(self, nodes: list[onnx.NodeProto]) -> int:
        """Read a channel shuffle (Reshape, Transpose, Reshape), and return how many nodes it had; 0 without one."""
        if [node.op_type for node in nodes] != ["Reshape", "Transpose", "Reshape"]:
            return 0
        apart = [int(size) for size in self._constants[nodes[0].input[1]].reshape(-1)]
        if len(apart) != 5 or list(_attributes(nodes[1]).get("perm", ())) != [0, 2, 1, 3, 4]:
            return 0
        self._values[nodes[2].output[0]] = self._append(p.Shuffle(apart[1]), self._x(nodes[0]))
        return 3

    def _pass(self, node: onnx.NodeProto) -> int:
        return self._x(node)

    _readers: dict[str, Callable[[_Reader, onnx.NodeProto], int]] = {  # noqa: RUF012
        "Conv": _conv,
        "BatchNormalization": _norm,
        "Clip": _clip,
        "MaxPool": _pool,
        "AveragePool": _pool,
        "GlobalAveragePool": _global_pool,
        "ReduceMean": _global_pool,
        "Add": _add,
        "Mul": _mul,
        "Slice": _slice,
        "Gemm": _linear,
        "MatMul": _linear,
        "Concat": _concat,
        "Reshape": _reshape,
        **dict.fromkeys(_ACTS, _act),
        **dict.fromkeys(_PASS_THROUGH, _pass),
    }


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}


def _pair(values: Any) -> tuple[int, int]:
    first, second = values
    return int(first), int(second)
