"""Models of somebody else's in half precision."""

from __future__ import annotations

import onnx
from onnx import AttributeProto, TensorProto

from nascli.errors import ArchitectureError
from nascli.profiles.onnx.model import OnnxModel
from nascli.profiles.onnx.precisions import to_half_precision
from nascli.profiles.onnx.tidying import said

# Inputs that are fp32 in models of any precision, by the types of the nodes that read them.
_ALWAYS_FLOAT = {"Resize": (2,), "Upsample": (1,)}
# Nodes that ONNX defines for fp32 alone, or that say how a model is quantised.
_FLOAT_ONLY = (
    "NonMaxSuppression", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger",
    "ConvInteger", "QLinearConv", "QLinearMatMul",
)  # fmt: skip


def half_precision(model: OnnxModel) -> bytes:
    """Return a model with every fp32 value in fp16, as bytes.

    Scales of Resize stay in fp32, as ONNX has it; a Cast to fp32 becomes one to fp16.

    Raises:
        ArchitectureError: A node has no form in fp16, or the model has fp32 inside of control flow.
    """
    keep: set[str] = set()
    others: set[str] = set()
    for node in model.proto.graph.node:
        _check(node)
        always = _ALWAYS_FLOAT.get(node.op_type, ())
        for position, name in enumerate(node.input):
            (keep if position in always else others).add(name)
    shared = sorted(name for name in keep & others if name in model.initializers)
    computed = sorted(name for name in keep if name and name not in model.initializers)
    for name in (*shared, *computed):
        raise ArchitectureError(
            f"{name!r} must stay fp32 for a Resize, and cannot: it is read or computed elsewhere"
        )
    proto = to_half_precision(model.proto, keep=frozenset(keep))
    del proto.graph.value_info[:]
    for node in proto.graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.INT and attribute.name in ("to", "dtype"):
                attribute.i = TensorProto.FLOAT16 if attribute.i == TensorProto.FLOAT else attribute.i
            elif attribute.type == AttributeProto.TENSOR and attribute.t.data_type == TensorProto.FLOAT:
                values = onnx.numpy_helper.to_array(attribute.t).astype("float16")
                attribute.t.CopyFrom(onnx.numpy_helper.from_array(values, attribute.t.name))
    data: bytes = proto.SerializeToString()
    return data


def _check(node: onnx.NodeProto) -> None:
    if node.op_type in _FLOAT_ONLY:
        raise ArchitectureError(
            f"{said(node)} has no form in fp16", "Measure the model in its own precision."
        )
    if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
        raise ArchitectureError(
            f"{said(node)} has graphs of its own, which are not converted to fp16",
            "Measure the model in its own precision.",
        )
