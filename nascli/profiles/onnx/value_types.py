"""Types of the values inside an ONNX model: inferred, and looked at where inference does not know an operator."""

from __future__ import annotations

import onnx

from nascli.errors import NascliError
from nascli.profiles.onnx.opaque import initializer_type, tensor_type, value_info
from nascli.profiles.onnx.running import run_model
from nascli.spaces.opaque_graphs import TensorType

# Initialisers with more elements decide no shapes, so inference gets only their types.
_MAX_DATA_SIZE = 4096
# Models whose inputs have more elements together are not run only to look at their values.
_MAX_FED_SIZE = 1 << 26


def value_types(proto: onnx.ModelProto) -> dict[str, TensorType]:
    """Return the types of a model's inputs, outputs, and intermediate values by name.

    Args:
        proto: A model whose inputs have static shapes.

    Returns:
        The types that are known. Those that ONNX cannot infer come from one run with random inputs; where the model
        does not run here, or its inputs are very large, they are missing.
    """
    inferred = infer_value_infos(proto)
    known = {name: kind for name, value in inferred.items() if (kind := tensor_type(value)) is not None}
    missing = [
        name
        for node in proto.graph.node
        for name in node.output
        if name and name not in known and _may_be_tensor(inferred.get(name))
    ]
    fed = sum(known[value.name].size for value in proto.graph.input if value.name in known)
    if not missing or fed > _MAX_FED_SIZE:
        return known
    return known | _types_by_running(proto, missing)


def infer_value_infos(proto: onnx.ModelProto) -> dict[str, onnx.ValueInfoProto]:
    """Return what ONNX infers about the values of a model by name; an empty mapping if it fails altogether."""
    lean = without_weights(proto)
    try:
        graph = onnx.shape_inference.infer_shapes(lean, strict_mode=False, data_prop=True).graph
    except Exception:
        # Whatever is wrong with the model, whoever needs a type says that it is unknown.
        graph = lean.graph
    return {value.name: value for value in [*graph.value_info, *graph.input, *graph.output]}


def without_weights(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy whose large initialisers are inputs, which have types but no data."""
    source = proto.graph
    # Since version 4 initialisers need not be inputs.
    lean = onnx.ModelProto(ir_version=max(4, proto.ir_version))
    lean.opset_import.extend(proto.opset_import)
    lean.functions.extend(proto.functions)
    graph = lean.graph
    graph.name = source.name
    graph.node.extend(source.node)
    graph.output.extend(source.output)
    graph.value_info.extend(source.value_info)
    large = {}
    for tensor in source.initializer:
        kind = initializer_type(tensor)
        if kind.size > _MAX_DATA_SIZE or tensor.data_location == onnx.TensorProto.EXTERNAL:
            large[tensor.name] = kind
        else:
            graph.initializer.append(tensor)
    graph.input.extend(value for value in source.input if value.name not in large)
    graph.input.extend(value_info(name, kind) for name, kind in large.items())
    return lean


def _may_be_tensor(value: onnx.ValueInfoProto | None) -> bool:
    """Return whether a value may be a tensor, as far as inference knows, and no sequence or optional."""
    return value is None or value.type.WhichOneof("value") in (None, "tensor_type")


def _types_by_running(proto: onnx.ModelProto, names: list[str]) -> dict[str, TensorType]:
    outputs = {value.name for value in proto.graph.output}
    extra = onnx.ModelProto()
    extra.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in outputs)
    try:
        # Protobuf merges messages that follow one another, so the model is not copied.
        values = run_model(proto.SerializeToString() + extra.SerializeToString())
    except (NascliError, ValueError):
        return {}
    wanted = set(names)
    return {
        name: TensorType("string" if array.dtype.hasobject else str(array.dtype), tuple(array.shape))
        for name, array in values.items()
        if name in wanted
    }
