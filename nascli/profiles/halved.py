"""An ONNX model of ours in half precision, throughout: inputs, weights and outputs."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper


def halved(model: onnx.ModelProto) -> onnx.ModelProto:
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
