"""An ONNX model of ours with 8-bit convolutions: weights and activations between QuantizeLinear and
DequantizeLinear pairs, which runtimes fuse into integer kernels.

The scales suit the normal random weights and inputs that are measured with; they are not calibrated on data,
so what such a model computes is only good for timing it. Runtimes differ in what they fuse: ONNX Runtime's CPU
kernels like unsigned activations, TensorRT takes signed ones around zero only, and biases in float.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Normalised values lie within a few units; unsigned 8 bits around 128 cover -6.4 to 6.35.
_SCALE, _ZERO = np.float32(0.05), np.uint8(128)
# Behind ReLU and ReLU6 nothing lies below 0; a range that begins there lets runtimes drop the activation.
_POSITIVE_SCALE, _POSITIVE_ZERO = np.float32(6 / 255), np.uint8(0)
_FUSED_ACTIVATIONS = ("Relu", "Clip")
_WEIGHTED = ("Conv", "Gemm")


def to_int8(model: onnx.ModelProto, *, symmetric: bool = False) -> onnx.ModelProto:
    """The model with its weights in int8, and every value between nodes in 8 bits.

    Args:
        model: in fp32, as `onnx_model` writes it.
        symmetric: signed activations around zero and biases in float, as TensorRT wants them; otherwise
            unsigned ones with a zero point, and biases in int32.
    """
    zero, positive = (np.int8(0), np.int8(0)) if symmetric else (_ZERO, _POSITIVE_ZERO)
    positive_scale = np.float32(6 / 127) if symmetric else _POSITIVE_SCALE
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    uses = Counter(name for node in graph.node for name in node.input)
    consumer = {name: node for node in graph.node for name in node.input}
    outputs = {value.name for value in graph.output}
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = [
        numpy_helper.from_array(np.array(_SCALE), "activation.scale"),
        numpy_helper.from_array(np.array(zero), "activation.zero"),
        numpy_helper.from_array(np.array(positive_scale), "positive.scale"),
        numpy_helper.from_array(np.array(positive), "positive.zero"),
    ]
    renamed: dict[str, str] = {}
    scales: dict[str, np.float32] = {}

    def through(source: str, output: str, kind: str = "activation") -> None:
        pair = [f"{kind}.scale", f"{kind}.zero"]
        scales[output] = positive_scale if kind == "positive" else _SCALE
        nodes.append(helper.make_node("QuantizeLinear", [source, *pair], [f"{output}.q"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{output}.q", *pair], [output]))

    for value in graph.input:
        if value.name not in weights:
            through(value.name, f"{value.name}.dq")
            renamed[value.name] = f"{value.name}.dq"
    for node in graph.node:
        inputs = [renamed.get(name, name) for name in node.input]
        if node.op_type in _WEIGHTED:
            inputs[1:] = [
                name
                if symmetric and position == 1
                else _weight(weights.pop(name), position, scales[inputs[0]], nodes, constants)
                for position, name in enumerate(inputs[1:])
            ]
        (output,) = node.output
        following = consumer.get(output)
        fused = (
            node.op_type in _WEIGHTED
            and uses[output] == 1
            and following is not None
            and following.op_type in _FUSED_ACTIVATIONS
        )
        written = output if fused else f"{output}.float"
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        del copy.input[:], copy.output[:]
        copy.input.extend(inputs)
        copy.output.append(written)
        nodes.append(copy)
        if not fused:
            kind = "positive" if node.op_type in _FUSED_ACTIVATIONS else "activation"
            through(written, output if output in outputs else f"{output}.dq", kind)
            renamed[output] = f"{output}.dq"
    graph_out = helper.make_graph(
        nodes, graph.name, list(graph.input), list(graph.output), [*weights.values(), *constants]
    )
    return helper.make_model(
        graph_out,
        ir_version=model.ir_version,
        opset_imports=list(model.opset_import),
        producer_name=model.producer_name,
    )


def _weight(
    tensor: onnx.TensorProto,
    position: int,
    input_scale: np.float32,
    nodes: list[onnx.NodeProto],
    constants: list[onnx.TensorProto],
) -> str:
    """A weight (position 0, per output channel) or a bias (position 1) in integers."""
    values = numpy_helper.to_array(tensor).astype(np.float32)
    name = tensor.name
    if position == 0:
        scale = np.abs(values.reshape(len(values), -1)).max(axis=1).astype(np.float32) / np.float32(127)
        scale[scale == 0] = 1
        shaped = scale.reshape(-1, *[1] * (values.ndim - 1))
        integers: np.ndarray = np.clip(np.round(values / shaped), -127, 127).astype(np.int8)
    else:
        weight_scale = next(
            numpy_helper.to_array(c)
            for c in constants
            if c.name == name.removesuffix(".bias") + ".weight.scale"
        )
        scale = (weight_scale * input_scale).astype(np.float32)
        integers = np.round(values / scale).astype(np.int32)
    constants.append(numpy_helper.from_array(integers, f"{name}.integers"))
    constants.append(numpy_helper.from_array(scale, f"{name}.scale"))
    constants.append(numpy_helper.from_array(np.zeros(len(scale), integers.dtype), f"{name}.zero"))
    nodes.append(
        helper.make_node(
            "DequantizeLinear",
            [f"{name}.integers", f"{name}.scale", f"{name}.zero"],
            [name],
            axis=0,
        )
    )
    return name


def to_half_precision(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with every float tensor in fp16; a runtime that takes types as they stand computes in it."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    for value in [*copy.graph.input, *copy.graph.output]:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.FLOAT16
    return copy
