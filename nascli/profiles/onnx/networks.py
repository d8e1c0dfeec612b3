"""Networks from ONNX models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx

from nascli.errors import ArchitectureError
from nascli.profiles.onnx.opaque import initializer_type, tensor_type
from nascli.profiles.onnx.taking_apart import Graph, Piece, take_apart
from nascli.spaces.blocks import FixedBlock
from nascli.spaces.network import Network

_MAX_FILE_BYTES = 1 << 31


def network_of(name: str, graph: Graph) -> Network:
    """Return the network that a graph computes, one block for each operator.

    Raises:
        ArchitectureError: The graph cannot be taken apart.
    """
    return Network(name, blocks_of(take_apart(graph)))


def blocks_of(pieces: Sequence[Piece]) -> tuple[FixedBlock, ...]:
    """Return one block for each operator of the pieces."""
    operators = [operator for piece in pieces for operator in piece.operators]
    return tuple(FixedBlock(f"layer{number}", operator) for number, operator in enumerate(operators))


def read_onnx_network(path: Path) -> Network:
    """Read an ONNX model as a network. Its weights are ignored.

    Raises:
        ArchitectureError: The file cannot be read, or a shape in it cannot be inferred.
    """
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise ArchitectureError(f"{path} is larger than {_MAX_FILE_BYTES} bytes")
        model = onnx.load(str(path), load_external_data=False)
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except OSError as error:
        raise ArchitectureError(f"cannot read {path}: {error.strerror or error}") from error
    except ArchitectureError:
        raise
    except Exception as error:
        raise ArchitectureError(f"{path} is not an ONNX model: {error}") from error
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    types = {name: initializer_type(tensor) for name, tensor in initializers.items()}
    for value in [*graph.input, *graph.output, *graph.value_info]:
        kind = tensor_type(value)
        if kind is not None:
            types.setdefault(value.name, kind)
    inputs = [value.name for value in graph.input if value.name not in initializers]
    batch = types[inputs[0]].dims[0] if inputs and inputs[0] in types and types[inputs[0]].dims else 1
    return network_of(
        path.stem,
        Graph(
            nodes=graph.node,
            inputs=inputs,
            outputs=[value.name for value in graph.output],
            types=types,
            initializers=initializers,
            opset={opset.domain: opset.version for opset in model.opset_import},
            batch=batch,
        ),
    )
