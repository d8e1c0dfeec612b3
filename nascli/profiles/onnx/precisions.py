"""ONNX models in 8 bits and in half precision.

In a model in 8 bits, weights and activations lie between QuantizeLinear and DequantizeLinear pairs, which runtimes fuse
into integer kernels. The scales suit the normally distributed weights and inputs with which models are measured. They
are not calibrated on data, so such a model is only good for timing. Runtimes differ in what they fuse: ONNX Runtime's
CPU kernels prefer unsigned activations; TensorRT needs signed ones around zero, and biases in float. Weights of
convolutions and fully connected layers become integers; those of transposed convolutions and normalisation stay in
float, as runtimes compute these in float.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from nascli.errors import SpaceError

# Normalised values lie within a few units; unsigned 8 bits around 128 cover -6.4 to 6.35.
_SCALE, _ZERO = np.float32(0.05), np.uint8(128)
# Values behind ReLU and ReLU6 are not negative; a range that begins at 0 lets runtimes drop the activation.
_POSITIVE_SCALE, _POSITIVE_ZERO = np.float32(6 / 255), np.uint8(0)
_SIGNED_POSITIVE_SCALE = np.float32(6 / 127)
_FUSED_ACTIVATIONS = ("Relu", "Clip")
# Nodes whose weights become integers, and the axis of their output channels.
_WEIGHTED = {"Conv": 0, "Gemm": 0, "MatMul": 1}


def to_int8(model: onnx.ModelProto, *, symmetric: bool = False) -> onnx.ModelProto:
    """Return a model with its weights in int8 and every value between nodes in 8 bits.

    Args:
        model: A model in fp32, as `onnx_model` writes it.
        symmetric: Whether activations are signed around zero and biases in float, as TensorRT needs it. Otherwise
            activations are unsigned with a zero point, and biases are in int32.

    Raises:
        SpaceError: A node has several outputs.
    """
    quantiser = _Quantiser(model.graph, symmetric)
    for value in model.graph.input:
        quantiser.add_input(value.name)
    for node in model.graph.node:
        quantiser.add_node(node)
    return helper.make_model(
        quantiser.graph(),
        ir_version=model.ir_version,
        opset_imports=list(model.opset_import),
        producer_name=model.producer_name,
    )


class _Quantiser:
    """Writes the nodes of a graph again, with quantised values between them."""

    def __init__(self, graph: onnx.GraphProto, symmetric: bool) -> None:
        self._graph = graph
        self._symmetric = symmetric
        self._weights = {tensor.name: tensor for tensor in graph.initializer}
        self._uses = Counter(name for node in graph.node for name in node.input)
        self._consumer = {name: node for node in graph.node for name in node.input}
        self._outputs = {value.name for value in graph.output}
        self._positive_scale = _SIGNED_POSITIVE_SCALE if symmetric else _POSITIVE_SCALE
        zero, positive_zero = (np.int8(0), np.int8(0)) if symmetric else (_ZERO, _POSITIVE_ZERO)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = [
            numpy_helper.from_array(np.array(_SCALE), "activation.scale"),
            numpy_helper.from_array(np.array(zero), "activation.zero"),
            numpy_helper.from_array(np.array(self._positive_scale), "positive.scale"),
            numpy_helper.from_array(np.array(positive_zero), "positive.zero"),
        ]
        # The new name of each value, and the scale of each new value.
        self._renamed: dict[str, str] = {}
        self._scales: dict[str, np.float32] = {}

    def graph(self) -> onnx.GraphProto:
        """Return the graph that was written."""
        return helper.make_graph(
            self._nodes,
            self._graph.name,
            list(self._graph.input),
            list(self._graph.output),
            [*self._weights.values(), *self._constants],
        )

    def add_input(self, name: str) -> None:
        """Quantise an input of the graph, unless it is a weight."""
        if name not in self._weights:
            self._quantise(name, f"{name}.dq")
            self._renamed[name] = f"{name}.dq"

    def add_node(self, node: onnx.NodeProto) -> None:
        """Write a node with quantised weights, and quantise its output unless the next node is fused with it."""
        inputs = [self._renamed.get(name, name) for name in node.input]
        if node.op_type in _WEIGHTED and inputs[1] in self._weights:
            inputs[1:] = self._weight_inputs(inputs[1:], self._scales[inputs[0]], _WEIGHTED[node.op_type])
        if len(node.output) != 1:
            raise SpaceError(
                f"{node.op_type} has {len(node.output)} outputs; models in 8 bits have one for each node"
            )
        (output,) = node.output
        is_fused = self._is_fused_with_next(node)
        float_output = output if is_fused else f"{output}.float"
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        del copy.input[:], copy.output[:]
        copy.input.extend(inputs)
        copy.output.append(float_output)
        self._nodes.append(copy)
        if not is_fused:
            kind = "positive" if node.op_type in _FUSED_ACTIVATIONS else "activation"
            self._quantise(float_output, output if output in self._outputs else f"{output}.dq", kind)
            self._renamed[output] = f"{output}.dq"

    def _is_fused_with_next(self, node: onnx.NodeProto) -> bool:
        """Return whether a convolution or linear layer is followed by nothing but an activation."""
        (output,) = node.output
        consumer = self._consumer.get(output)
        return (
            node.op_type in _WEIGHTED
            and self._uses[output] == 1
            and consumer is not None
            and consumer.op_type in _FUSED_ACTIVATIONS
        )

    def _quantise(self, source: str, output: str, kind: str = "activation") -> None:
        """Write a value through 8 bits: QuantizeLinear, then DequantizeLinear."""
        parameters = [f"{kind}.scale", f"{kind}.zero"]
        self._scales[output] = self._positive_scale if kind == "positive" else _SCALE
        self._nodes.append(helper.make_node("QuantizeLinear", [source, *parameters], [f"{output}.q"]))
        self._nodes.append(helper.make_node("DequantizeLinear", [f"{output}.q", *parameters], [output]))

    def _weight_inputs(self, names: list[str], input_scale: np.float32, axis: int) -> list[str]:
        """Quantise a layer's weight and bias, if it has one, and return their names."""
        weight_scale = self._add_weight(self._weights.pop(names[0]), axis)
        if not self._symmetric:
            for name in names[1:]:
                self._add_bias(self._weights.pop(name), (weight_scale * input_scale).astype(np.float32))
        return names

    def _add_weight(self, tensor: onnx.TensorProto, axis: int) -> np.ndarray:
        """Write a weight in int8 with one scale per output channel; return the `(channels,)` scales."""
        values = numpy_helper.to_array(tensor).astype(np.float32)
        others = tuple(i for i in range(values.ndim) if i != axis)
        scale: np.ndarray = np.abs(values).max(axis=others).astype(np.float32) / np.float32(127)
        scale[scale == 0] = 1
        per_channel = np.expand_dims(scale, others)
        integers = np.clip(np.round(values / per_channel), -127, 127).astype(np.int8)
        self._add_integers(tensor.name, integers, scale, axis)
        return scale

    def _add_bias(self, tensor: onnx.TensorProto, scale: np.ndarray) -> None:
        """Write a bias in int32 with the given `(channels,)` scales."""
        values = numpy_helper.to_array(tensor).astype(np.float32)
        self._add_integers(tensor.name, np.round(values / scale).astype(np.int32), scale)

    def _add_integers(self, name: str, integers: np.ndarray, scale: np.ndarray, axis: int = 0) -> None:
        self._constants.append(numpy_helper.from_array(integers, f"{name}.integers"))
        self._constants.append(numpy_helper.from_array(scale, f"{name}.scale"))
        self._constants.append(numpy_helper.from_array(np.zeros(len(scale), integers.dtype), f"{name}.zero"))
        inputs = [f"{name}.integers", f"{name}.scale", f"{name}.zero"]
        self._nodes.append(helper.make_node("DequantizeLinear", inputs, [name], axis=axis))


def to_half_precision(model: onnx.ModelProto, *, keep: frozenset[str] = frozenset()) -> onnx.ModelProto:
    """Return a copy of a model with every float tensor in fp16.

    Runtimes that keep the types of a model compute in fp16 then.

    Args:
        model: The model.
        keep: Names of initialisers that stay as they are.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.name not in keep:
            values = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    for value in [*copy.graph.input, *copy.graph.output]:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.FLOAT16
    return copy
