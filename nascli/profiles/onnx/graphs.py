"""Programs as ONNX models with a static batch.

Models have the form in which they are deployed: normalisation is folded into the convolutions, so that each has a
bias. Weights are random unless they are given.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import helper

from nascli.errors import SpaceError
from nascli.profiles.onnx.graph_writer import OPSET, GraphWriter, Weights
from nascli.profiles.onnx.opaque import value_info
from nascli.profiles.onnx.precisions import to_half_precision, to_int8
from nascli.profiles.onnx.repeating import repeat_graph
from nascli.spaces.opaque_graphs import OpaqueGraph, TensorType
from nascli.spaces.primitives import Opaque, Shape
from nascli.spaces.programs import Program

IR_VERSION = 10
# What a protobuf message can hold, with room for nodes.
_MAX_BYTES = (1 << 31) - (1 << 24)
PRECISIONS = ("fp32", "fp16", "int8", "int8-symmetric")


def _value_type(program: Program, value: int, batch: int) -> TensorType:
    """Return the type of a value, batch included."""
    if value == 0:
        return program.input_type or TensorType("float32", (batch, *program.input))
    made_by = program.nodes[value - 1].primitive
    if isinstance(made_by, Opaque):
        # A piece may compute in half precision.
        return made_by.parsed.type_of(made_by.parsed.outputs[0])
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
    pieces = [n.primitive.parsed for n in program.nodes if isinstance(n.primitive, Opaque)]
    has_subgraphs = any(piece.has_subgraphs for piece in pieces)
    source = "v0" if has_subgraphs else "input"
    opset = _opset(pieces)
    version = next(item.version for item in opset if not item.domain)
    writer = GraphWriter(program, batch, weights, source=source, opset=version)
    output = writer.write_all()
    if not has_subgraphs:
        _rename_output(writer.nodes, output)
        output = "output"
    size = sum(len(tensor.raw_data) for tensor in writer.initializers) * program.copies
    if size >= _MAX_BYTES:
        raise SpaceError(
            f"a model with {size / 1e9:.1f} GB of weights is larger than an ONNX message can be, "
            f"{_MAX_BYTES / 1e9:.1f} GB"
        )
    graph = helper.make_graph(
        writer.nodes,
        "nascli",
        [value_info(source, _value_type(program, 0, batch)), *writer.inputs],
        [value_info(output, _value_type(program, program.output, batch)), *writer.outputs],
        writer.initializers,
    )
    if program.copies > 1:
        graph = repeat_graph(graph, program.copies)
    return helper.make_model(graph, ir_version=IR_VERSION, opset_imports=opset, producer_name="nascli")


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
