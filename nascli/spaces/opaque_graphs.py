"""Pieces of ONNX that no primitive describes, in a canonical form without names and without the values of weights.

Two pieces have the same text if they compute the same with other weights: the text contains nodes in the order of a
depth-first walk from the outputs, attributes, element types and shapes of all values, and the values of those
constants that decide shapes, indices, or scalars. Values are numbered: first the inputs, then the weights, then the
constants, then the outputs of the nodes.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from nascli.errors import SpaceError

# The number that stands for an optional input that a node leaves out.
ABSENT = -1
# Bytes of an element, by the names of numpy and of ml_dtypes.
ITEM_BYTES: Mapping[str, float] = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "float8_e4m3fn": 1, "float8_e5m2": 1,
    "float8_e4m3fnuz": 1, "float8_e5m2fnuz": 1, "float8_e8m0fnu": 1, "float4_e2m1fn": 0.5,
    "int64": 8, "int32": 4, "int16": 2, "int8": 1, "int4": 0.5, "int2": 0.25,
    "uint64": 8, "uint32": 4, "uint16": 2, "uint8": 1, "uint4": 0.5, "uint2": 0.25,
    "bool": 1, "complex64": 8, "complex128": 16, "string": 16,
}  # fmt: skip
_MAX_ELEMENTS = 1 << 36
_MAX_CONSTANT_BYTES = 1 << 28
_KINDS = ("int", "float", "string", "ints", "floats", "strings", "tensor", "graph")


class TensorType(NamedTuple):
    """Element type and static shape of a value, batch included."""

    element: str
    dims: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.dims)

    @property
    def bytes(self) -> int:
        """Number of bytes."""
        return math.ceil(self.size * ITEM_BYTES[self.element])

    @property
    def is_image(self) -> bool:
        """Whether it is what convolutions compute: floats as `(batch, channels, height, width)`."""
        return len(self.dims) == 4 and self.element in ("float32", "float16")

    @property
    def is_vector(self) -> bool:
        """Whether it is what linear layers give: floats as `(batch, features)`."""
        return len(self.dims) == 2 and self.element in ("float32", "float16")

    def __str__(self) -> str:
        return f"{self.element}[{', '.join(map(str, self.dims))}]"


class Constant(NamedTuple):
    """A constant whose value matters, as base64 of its zlib-compressed little-endian bytes."""

    type: TensorType
    data: str

    def raw(self) -> bytes:
        """Return the bytes of the elements.

        Raises:
            SpaceError: The data is damaged, or has another size than the type.
        """
        try:
            unpacker = zlib.decompressobj()
            data = unpacker.decompress(base64.b64decode(self.data, validate=True), _MAX_CONSTANT_BYTES)
        except (binascii.Error, zlib.error, ValueError) as error:
            raise SpaceError(f"a constant of an opaque operator is damaged: {error}") from error
        if self.type.element != "string" and len(data) != self.type.bytes:
            raise SpaceError(f"a constant {self.type} has {len(data)} bytes, not {self.type.bytes}")
        return data

    @staticmethod
    def of(kind: TensorType, raw: bytes) -> Constant:
        """Return a constant from the bytes of its elements."""
        return Constant(kind, base64.b64encode(zlib.compress(raw, 9)).decode())


class Attribute(NamedTuple):
    """An attribute of a node; its kind is 'int', 'float', 'string', one of their plurals, 'tensor', or 'graph'."""

    name: str
    kind: str
    value: Any


@dataclass(frozen=True)
class OpaqueNode:
    """A node of ONNX.

    Attributes:
        op: Its type, such as 'Softmax'.
        domain: The set of operators that the type belongs to; empty for ONNX's own.
        inputs: Numbers of its input values, or `ABSENT`.
        outputs: Types of its output values; None where the type is unknown or the output is left out.
        attributes: Its attributes, sorted by name.
    """

    op: str
    domain: str
    inputs: tuple[int, ...]
    outputs: tuple[TensorType | None, ...]
    attributes: tuple[Attribute, ...] = ()

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return the value of an attribute."""
        return next((attribute.value for attribute in self.attributes if attribute.name == name), default)


@dataclass(frozen=True)
class OpaqueGraph:
    """A piece of ONNX in canonical form.

    Attributes:
        batch: Samples in its inputs.
        opset: Version of each set of operators, by domain.
        inputs: Types of its inputs. The first comes from what is computed before; the others are inputs of the model.
        weights: Types of the weights, whose values do not matter.
        constants: The constants, whose values matter.
        nodes: The nodes in evaluation order.
        outputs: Numbers of its outputs. The first is read by what is computed next; the others are outputs of the
            model.
    """

    batch: int
    opset: tuple[tuple[str, int], ...]
    inputs: tuple[TensorType, ...]
    weights: tuple[TensorType, ...]
    constants: tuple[Constant, ...]
    nodes: tuple[OpaqueNode, ...]
    outputs: tuple[int, ...]

    @cached_property
    def types(self) -> tuple[TensorType | None, ...]:
        """Types of all values by number; None where unknown."""
        known: list[TensorType | None] = [*self.inputs, *self.weights]
        known.extend(constant.type for constant in self.constants)
        for node in self.nodes:
            known.extend(node.outputs)
        return tuple(known)

    def type_of(self, value: int) -> TensorType:
        """Return the type of a value.

        Raises:
            SpaceError: The type is unknown.
        """
        kind = self.types[value]
        if kind is None:
            raise SpaceError(
                "a shape inside of the piece of ONNX cannot be inferred, so it cannot be counted"
            )
        return kind

    @property
    def first_weight(self) -> int:
        """Number of the first weight."""
        return len(self.inputs)

    @property
    def first_constant(self) -> int:
        """Number of the first constant."""
        return len(self.inputs) + len(self.weights)

    @property
    def first_output(self) -> int:
        """Number of the first output of the first node."""
        return self.first_constant + len(self.constants)

    def is_weight(self, value: int) -> bool:
        """Return whether a value is a weight."""
        return self.first_weight <= value < self.first_constant

    def is_computed(self, value: int) -> bool:
        """Return whether a value is an input or an output of a node, and no weight or constant."""
        return 0 <= value < self.first_weight or value >= self.first_output

    @property
    def has_subgraphs(self) -> bool:
        """Whether a node has a graph of its own, such as the branches of an If."""
        return any(attribute.kind == "graph" for node in self.nodes for attribute in node.attributes)

    def walk(self) -> Iterator[tuple[OpaqueNode, range]]:
        """Yield each node with the numbers of its outputs."""
        number = self.first_output
        for node in self.nodes:
            yield node, range(number, number + len(node.outputs))
            number += len(node.outputs)

    @cached_property
    def text(self) -> str:
        """The canonical text, as JSON."""
        document = {
            "batch": self.batch,
            "opset": [list(pair) for pair in self.opset],
            "inputs": [_type_out(kind) for kind in self.inputs],
            "weights": [_type_out(kind) for kind in self.weights],
            "constants": [[*(_type_out(c.type) or ()), c.data] for c in self.constants],
            "nodes": [
                [
                    node.op,
                    node.domain,
                    list(node.inputs),
                    [_type_out(kind) for kind in node.outputs],
                    [[a.name, a.kind, _value_out(a)] for a in node.attributes],
                ]
                for node in self.nodes
            ],
            "outputs": list(self.outputs),
        }
        return json.dumps(document, separators=(",", ":"), allow_nan=False)

    @staticmethod
    @lru_cache(maxsize=4096)
    def parse(text: str) -> OpaqueGraph:
        """Read a canonical text, and check it.

        Raises:
            SpaceError: The text is not the canonical text of a piece.
        """
        try:
            graph = _read(json.loads(text))
        except SpaceError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise SpaceError(f"not an opaque operator: {error}") from error
        graph.check()
        return graph

    def check(self) -> None:
        """Check that values are numbered in evaluation order, and that there is something to compute.

        Raises:
            SpaceError: A rule is broken; the error names it.
        """
        _require(self.batch >= 1, f"a batch must be at least 1, got {self.batch}")
        _require(bool(self.inputs) and bool(self.nodes) and bool(self.outputs), "an opaque operator is empty")
        for node, numbers in self.walk():
            for value in node.inputs:
                _require(
                    value == ABSENT or 0 <= value < numbers.start,
                    f"a {node.op} reads value {value} before it is computed",
                )
        for value in self.outputs:
            _require(
                self.first_output <= value < len(self.types) and self.types[value] is not None,
                f"output {value} of an opaque operator does not exist, or has no shape",
            )
        for constant in self.constants:
            constant.raw()


def _require(condition: bool, rule: str) -> None:
    if not condition:
        raise SpaceError(rule)


def _type_out(kind: TensorType | None) -> list[Any] | None:
    return None if kind is None else [kind.element, list(kind.dims)]


def _value_out(attribute: Attribute) -> Any:
    value = attribute.value
    if attribute.kind == "tensor":
        return [*(_type_out(value.type) or ()), value.data]
    if attribute.kind in ("float", "floats"):
        # JSON has no infinity, which attributes such as the padding value of a pooling may be.
        return repr(value) if attribute.kind == "float" else [repr(item) for item in value]
    return list(value) if isinstance(value, tuple) else value


def _type_in(document: Any) -> TensorType:
    element, dims = document
    _require(element in ITEM_BYTES, f"unknown element type {element!r}")
    sizes = tuple(int(size) for size in dims)
    _require(all(size >= 0 for size in sizes), f"sizes must not be negative, got {sizes}")
    _require(math.prod(sizes) <= _MAX_ELEMENTS, f"a value of {sizes} is too large")
    return TensorType(element, sizes)


def _constant_in(document: Any) -> Constant:
    element, dims, data = document
    _require(isinstance(data, str), "the data of a constant is a text")
    return Constant(_type_in((element, dims)), data)


def _attribute_in(document: Any) -> Attribute:
    name, kind, value = document
    _require(isinstance(name, str) and kind in _KINDS, f"unknown kind of attribute {kind!r}")
    match kind:
        case "int":
            return Attribute(name, kind, int(value))
        case "float":
            return Attribute(name, kind, float(value))
        case "ints":
            return Attribute(name, kind, tuple(int(item) for item in value))
        case "floats":
            return Attribute(name, kind, tuple(float(item) for item in value))
        case "strings":
            return Attribute(name, kind, tuple(str(item) for item in value))
        case "tensor":
            return Attribute(name, kind, _constant_in(value))
        case _:
            return Attribute(name, kind, str(value))


def _node_in(document: Any) -> OpaqueNode:
    op, domain, inputs, outputs, attributes = document
    _require(isinstance(op, str) and isinstance(domain, str) and bool(op), "a node has a type and a domain")
    return OpaqueNode(
        op,
        domain,
        tuple(int(value) for value in inputs),
        tuple(None if kind is None else _type_in(kind) for kind in outputs),
        tuple(_attribute_in(attribute) for attribute in attributes),
    )


def _read(document: Any) -> OpaqueGraph:
    return OpaqueGraph(
        batch=int(document["batch"]),
        opset=tuple((str(domain), int(version)) for domain, version in document["opset"]),
        inputs=tuple(_type_in(kind) for kind in document["inputs"]),
        weights=tuple(_type_in(kind) for kind in document["weights"]),
        constants=tuple(_constant_in(constant) for constant in document["constants"]),
        nodes=tuple(_node_in(node) for node in document["nodes"]),
        outputs=tuple(int(value) for value in document["outputs"]),
    )


def sample_shape(kind: TensorType, batch: int) -> tuple[int, int, int]:
    """Return channels, height, and width under which a program knows a value of a piece.

    Tokens, `(batch, tokens, features)`, become (features, tokens, 1). A value of any other form is a vector of all of
    its elements for one sample.

    Raises:
        SpaceError: The value has no elements.
    """
    if not kind.size:
        raise SpaceError(f"a value {kind} has no elements")
    if kind.dims and kind.dims[0] == batch:
        match kind.dims[1:]:
            case (channels,):
                return channels, 1, 1
            case (tokens, features):
                return features, tokens, 1
            case (channels, height, width):
                return channels, height, width
    return math.ceil(kind.size / batch), 1, 1
