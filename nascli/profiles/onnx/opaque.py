"""From nodes of an ONNX graph to the canonical form of a piece, and back."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from nascli.errors import SpaceError
from nascli.profiles.onnx.random_arrays import random_array
from nascli.profiles.onnx.tidying import reads
from nascli.spaces.opaque_graphs import (
    ABSENT,
    ITEM_BYTES,
    Attribute,
    Constant,
    OpaqueGraph,
    OpaqueNode,
    TensorType,
)

Array = npt.NDArray[Any]
# Floats with more elements are weights wherever they stand.
_MAX_SCALARS = 1
# Integers of these types are quantised weights if there are many of them; others are indices and shapes.
_QUANTISED = ("int8", "uint8", "int4", "uint4")
_MAX_QUANTISED_CONSTANTS = 64
# Nodes whose float inputs decide the shape of their output.
_SHAPED_BY_FLOATS = ("Resize", "Upsample", "Range", "Pad")


def tensor_type(value: onnx.ValueInfoProto) -> TensorType | None:
    """Return the type of a value; None where its element type or a size is unknown."""
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not kind.HasField("shape"):
        return None
    dims = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim)
    element = known_element(kind.elem_type)
    return None if element is None or min(dims, default=0) < 0 else TensorType(element, dims)


def known_element(kind: int) -> str | None:
    """Return the name of an ONNX element type; None if pieces cannot hold it, or there is no such type."""
    try:
        name = element_name(kind)
    except KeyError:
        return None
    return name if name in ITEM_BYTES else None


def element_name(kind: int) -> str:
    """Return the name of an ONNX element type, such as 'float32'."""
    if kind == TensorProto.STRING:
        return "string"
    return str(np.dtype(helper.tensor_dtype_to_np_dtype(kind)).name)


def element_type(name: str) -> int:
    """Return the ONNX element type of a name.

    Raises:
        SpaceError: There is no such type.
    """
    for kind in TensorProto.DataType.values():
        if kind != TensorProto.UNDEFINED and element_name(kind) == name:
            return int(kind)
    raise SpaceError(f"unknown element type {name!r}")


def initializer_type(tensor: onnx.TensorProto) -> TensorType:
    """Return the type of an initialiser."""
    return TensorType(element_name(tensor.data_type), tuple(tensor.dims))


def is_weight(kind: TensorType, readers: Sequence[str]) -> bool:
    """Return whether the value of an initialiser that nodes of some types read does not matter."""
    if kind.element in _QUANTISED:
        return kind.size > _MAX_QUANTISED_CONSTANTS
    is_float = kind.element.startswith(("float", "bfloat"))
    return is_float and kind.size > _MAX_SCALARS and not set(readers) & set(_SHAPED_BY_FLOATS)


def opaque_graph(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[str],
    outputs: Sequence[str],
    *,
    types: Mapping[str, TensorType],
    initializers: Mapping[str, onnx.TensorProto],
    opset: Mapping[str, int],
    batch: int,
) -> OpaqueGraph:
    """Return the canonical form of some nodes of a graph.

    Args:
        nodes: The nodes, in any order in which each follows what it reads.
        inputs: Names of the computed values that they read from outside. The first is what is computed before.
        outputs: Names of the values that are read outside. The first is what is read next.
        types: Types of the values, as far as they are known. Those of inputs and outputs must be known.
        initializers: The graph's initialisers by name.
        opset: Versions of the sets of operators by domain.
        batch: Samples in the inputs.

    Raises:
        SpaceError: The type of an input or output is unknown.
    """
    for name in (*inputs, *outputs):
        if name not in types:
            raise SpaceError(f"the shape of {name!r} cannot be inferred")
    ordered = _in_canonical_order(nodes, outputs)
    weights, others = _split_initializers(ordered, inputs, initializers)
    constants: dict[Constant, list[str]] = {}
    for name in others:
        constants.setdefault(_constant(initializers[name]), []).append(name)
    numbers = {name: number for number, name in enumerate([*inputs, *weights])}
    for number, names in enumerate(constants.values(), len(numbers)):
        numbers.update(dict.fromkeys(names, number))
    following = len(inputs) + len(weights) + len(constants)
    canonical = []
    for node in ordered:
        sources = tuple(numbers[name] if name else ABSENT for name in node.input)
        for name in node.output:
            if name:
                numbers[name] = following
            following += 1
        canonical.append(
            OpaqueNode(
                node.op_type,
                _domain(node.domain),
                sources,
                tuple(types.get(name) if name else None for name in node.output),
                _attributes(node, numbers),
            )
        )
    domains = {_domain(node.domain) for node in ordered} | {""}
    return OpaqueGraph(
        batch=batch,
        opset=tuple(sorted((d, v) for d, v in opset.items() if d in domains)),
        inputs=tuple(types[name] for name in inputs),
        weights=tuple(initializer_type(initializers[name]) for name in weights),
        constants=tuple(constants),
        nodes=tuple(canonical),
        outputs=tuple(numbers[name] for name in outputs),
    )


def weight_names(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[str],
    outputs: Sequence[str],
    initializers: Mapping[str, onnx.TensorProto],
) -> list[str]:
    """Return the names of the initialisers that are the weights of a piece, in the order of `OpaqueGraph.weights`.

    The arguments are those of `opaque_graph`.
    """
    return _split_initializers(_in_canonical_order(nodes, outputs), inputs, initializers)[0]


def _split_initializers(
    ordered: Sequence[onnx.NodeProto], inputs: Sequence[str], initializers: Mapping[str, onnx.TensorProto]
) -> tuple[list[str], list[str]]:
    """Return the initialisers that nodes read: weights, whose values do not matter, and the others."""
    readers: dict[str, list[str]] = {}
    for node in ordered:
        for name in reads(node):
            readers.setdefault(name, []).append(node.op_type)
    used = [name for name in readers if name in initializers and name not in inputs]
    weights = [name for name in used if is_weight(initializer_type(initializers[name]), readers[name])]
    return weights, [name for name in used if name not in set(weights)]


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _in_canonical_order(nodes: Sequence[onnx.NodeProto], outputs: Sequence[str]) -> list[onnx.NodeProto]:
    """Return the nodes in the order of a depth-first walk from the outputs, whatever their order in the file.

    Nodes that no output depends on follow at the end: a runtime may remove them, but they are in the file.
    """
    maker = {name: position for position, node in enumerate(nodes) for name in node.output if name}
    order: dict[int, None] = {}
    for start in [*(maker[name] for name in outputs if name in maker), *range(len(nodes))]:
        stack = [(start, False)]
        while stack:
            position, is_done = stack.pop()
            if is_done:
                order.setdefault(position)
            elif position not in order:
                stack.append((position, True))
                sources = [maker[name] for name in reads(nodes[position]) if name in maker]
                stack.extend((source, False) for source in reversed(sources) if source not in order)
    return [nodes[position] for position in order]


def _constant(tensor: onnx.TensorProto) -> Constant:
    if tensor.data_type == TensorProto.STRING:
        return Constant.of(initializer_type(tensor), b"\0".join(tensor.string_data))
    array = numpy_helper.to_array(tensor)
    packed = helper.make_tensor("", tensor.data_type, tensor.dims, _packed(array, tensor), raw=True)
    return Constant.of(initializer_type(tensor), packed.raw_data)


def _packed(array: Array, tensor: onnx.TensorProto) -> bytes:
    if tensor.HasField("raw_data"):
        return bytes(tensor.raw_data)
    return bytes(numpy_helper.from_array(np.ascontiguousarray(array)).raw_data)


def _attributes(node: onnx.NodeProto, numbers: Mapping[str, int]) -> tuple[Attribute, ...]:
    return tuple(
        sorted((_attribute(attribute, numbers) for attribute in node.attribute), key=lambda a: a.name)
    )


def _attribute(attribute: onnx.AttributeProto, numbers: Mapping[str, int]) -> Attribute:
    name = attribute.name
    match attribute.type:
        case AttributeProto.INT:
            return Attribute(name, "int", int(attribute.i))
        case AttributeProto.FLOAT:
            return Attribute(name, "float", float(attribute.f))
        case AttributeProto.STRING:
            return Attribute(name, "string", attribute.s.decode("utf-8", "backslashreplace"))
        case AttributeProto.INTS:
            return Attribute(name, "ints", tuple(int(item) for item in attribute.ints))
        case AttributeProto.FLOATS:
            return Attribute(name, "floats", tuple(float(item) for item in attribute.floats))
        case AttributeProto.STRINGS:
            return Attribute(
                name, "strings", tuple(item.decode("utf-8", "backslashreplace") for item in attribute.strings)
            )
        case AttributeProto.TENSOR:
            return Attribute(name, "tensor", _constant(attribute.t))
        case AttributeProto.GRAPH:
            return Attribute(name, "graph", _subgraph(attribute.g, numbers))
        case _:
            raise SpaceError(f"attribute {name!r} has a kind that is not supported")


def _subgraph(graph: onnx.GraphProto, numbers: Mapping[str, int]) -> str:
    """Return a subgraph, in which values from outside have the names ``v0``, ``v1``, ...; its weights stay."""
    copy = onnx.GraphProto()
    copy.CopyFrom(graph)
    _rename_outer(copy, {name: f"v{number}" for name, number in numbers.items()})
    return base64.b64encode(copy.SerializeToString(deterministic=True)).decode()


def _rename_outer(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Rename what a subgraph reads from outside; names that it defines itself get a prefix and cannot be mixed up."""
    own: dict[str, str] = {}
    for value in [*graph.input, *graph.initializer]:
        own[value.name] = f"own.{value.name}"
        value.name = own[value.name]
    for node in graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = own.get(name) or names.get(name) or name
        for attribute in node.attribute:
            for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                _rename_outer(inner, {**names, **own})
        for position, name in enumerate(node.output):
            if name:
                own[name] = f"own.{name}"
                node.output[position] = own[name]
    for value in graph.output:
        value.name = own.get(value.name) or names.get(value.name) or value.name
    del graph.value_info[:]


class OpaqueWriter:
    """Writes a piece as nodes and initialisers of an ONNX graph, with random weights.

    Args:
        graph: The piece.
        name: What the names of its values begin with.

    Raises:
        SpaceError: A constant is damaged, or the piece has subgraphs, which know values by name, and a `name`.
    """

    def __init__(self, graph: OpaqueGraph, name: str = "") -> None:
        if graph.has_subgraphs and name:
            raise SpaceError(
                "a piece of ONNX with control flow stands alone: it cannot be put between others"
            )
        self._graph = graph
        self._name = name
        self._reader = {value: node for node in reversed(graph.nodes) for value in node.inputs}
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def value(self, number: int) -> str:
        """Return the name of a value."""
        return "" if number == ABSENT else f"{self._name}v{number}"

    def write(self, names: Mapping[int, str]) -> None:
        """Write everything.

        Args:
            names: Names of values by number that differ from `value`, such as that of the first input.
        """

        def name_of(number: int) -> str:
            return names.get(number) or self.value(number)

        graph = self._graph
        for number, kind in enumerate(graph.weights, graph.first_weight):
            self.initializers.append(self._weight(name_of(number), number, kind))
        for number, constant in enumerate(graph.constants, graph.first_constant):
            self.initializers.append(_tensor(name_of(number), constant))
        for node, outputs in graph.walk():
            written = helper.make_node(
                node.op,
                [name_of(number) for number in node.inputs],
                [name_of(number) for number in outputs],
                name=name_of(outputs[0]) if outputs else f"{self._name}{node.op}",
                domain=node.domain,
            )
            written.attribute.extend(_attribute_proto(attribute) for attribute in node.attributes)
            self.nodes.append(written)

    def _weight(self, name: str, number: int, kind: TensorType) -> onnx.TensorProto:
        # A weight that only a subgraph reads is an ordinary one.
        node = self._reader.get(number)
        op, position = (node.op, node.inputs.index(number)) if node is not None else ("", 0)
        values = _weight_values(op, position, kind, number)
        return helper.make_tensor(name, element_type(kind.element), kind.dims, values, raw=True)


def _weight_values(op: str, position: int, kind: TensorType, seed: int) -> bytes:
    """Return bytes for a weight: normal floats of a size that keeps activations near 1, positive where they must be."""
    if not kind.element.startswith(("float", "bfloat")):
        return np.random.default_rng(seed).bytes(kind.bytes)
    dtype = helper.tensor_dtype_to_np_dtype(element_type(kind.element))
    if (op == "BatchNormalization" and position == 4) or (
        position == 1 and op.startswith(("Quantize", "Dequantize"))
    ):
        values = np.abs(random_array(kind.dims, 0.1, seed)) + np.float32(0.5)
    elif op == "Div" and position == 1:
        values = np.abs(random_array(kind.dims, 0.1, seed)) + np.float32(1)
    else:
        rows = kind.dims[1:] if op in ("Conv", "ConvTranspose", "Gemm") else kind.dims[-2:-1]
        fan_in = int(np.prod(rows, dtype=np.int64)) if len(kind.dims) > 1 else 0
        values = random_array(kind.dims, (2.0 / fan_in) ** 0.5 if fan_in else 0.1, seed)
    return bytes(values.astype(dtype).tobytes())


def _tensor(name: str, constant: Constant) -> onnx.TensorProto:
    kind = constant.type
    if kind.element == "string":
        return TensorProto(
            name=name,
            data_type=TensorProto.STRING,
            dims=kind.dims,
            string_data=constant.raw().split(b"\0") if kind.size else [],
        )
    return helper.make_tensor(name, element_type(kind.element), kind.dims, constant.raw(), raw=True)


_ATTRIBUTE_TYPES = {
    "int": AttributeProto.INT, "float": AttributeProto.FLOAT, "string": AttributeProto.STRING,
    "ints": AttributeProto.INTS, "floats": AttributeProto.FLOATS, "strings": AttributeProto.STRINGS,
}  # fmt: skip


def _attribute_proto(attribute: Attribute) -> onnx.AttributeProto:
    if attribute.kind == "tensor":
        return helper.make_attribute(attribute.name, _tensor("", attribute.value))
    if attribute.kind == "graph":
        try:
            graph = onnx.GraphProto.FromString(base64.b64decode(attribute.value, validate=True))
        except Exception as error:
            raise SpaceError(f"a subgraph of a piece of ONNX is damaged: {error}") from error
        return helper.make_attribute(attribute.name, graph)
    value = list(attribute.value) if isinstance(attribute.value, tuple) else attribute.value
    return helper.make_attribute(attribute.name, value, attr_type=_ATTRIBUTE_TYPES[attribute.kind])


def value_info(name: str, kind: TensorType) -> onnx.ValueInfoProto:
    """Return the declaration of an input or output."""
    return helper.make_tensor_value_info(name, element_type(kind.element), list(kind.dims))
