"""What has to change in an ONNX graph with folded constants so that it takes another batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from nascli.errors import ArchitectureError
from nascli.profiles.onnx.model import OnnxModel
from nascli.profiles.onnx.opaque import initializer_type, tensor_type, value_info
from nascli.profiles.onnx.tidying import reads, said
from nascli.spaces.opaque_graphs import TensorType

Array = npt.NDArray[Any]
# Nodes that broadcast their inputs against each other, as numpy does.
_BROADCASTING = (
    "Add", "Sub", "Mul", "Div", "Pow", "Mod", "Max", "Min", "Mean", "Sum", "Where", "PRelu", "Equal", "Less",
    "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Xor", "BitwiseAnd", "BitwiseOr", "BitwiseXor",
)  # fmt: skip
# Constants with more elements decide no shapes.
_MAX_DATA_SIZE = 4096


class BatchRewriter:
    """Walks through a graph from its inputs, knows along which axis samples lie, and adapts constants.

    The shape that a Reshape or an Expand gives is multiplied along the axis where the samples come to lie; constants
    that are added or concatenated along it are repeated, and so are the sizes of a Resize.

    Args:
        model: The model, with folded constants.
        batch: The samples in the inputs of the result: a multiple of the model's batch, or a divisor.
    """

    def __init__(self, model: OnnxModel, batch: int) -> None:
        self._model = model
        self._batch = batch
        self._new: dict[str, TensorType] = {}
        self._initializers: dict[str, onnx.TensorProto] = {}

    def rewrite(self) -> onnx.ModelProto:
        """Return the rewritten model.

        Raises:
            ArchitectureError: A shape does not work out at the batch.
        """
        proto = onnx.ModelProto()
        proto.CopyFrom(self._model.proto)
        for value in proto.graph.input:
            kind = self._model.types.get(value.name)
            if kind is None or value.name in self._model.initializers:
                continue
            if kind.dims:
                kind = TensorType(kind.element, (self._scaled(kind.dims[0], value.name), *kind.dims[1:]))
                value.type.tensor_type.shape.dim[0].dim_value = kind.dims[0]
            self._new[value.name] = kind
        for node in proto.graph.node:
            self._adapt(node)
            self._infer(node)
        proto.graph.initializer.extend(self._initializers.values())
        return proto

    def _scaled(self, size: int, name: str) -> int:
        scaled, rest = divmod(size * self._batch, self._model.batch)
        if rest:
            raise ArchitectureError(f"{size} samples of {name!r} are not divided by {self._model.batch}")
        return scaled

    def _axis(self, name: str) -> int | None:
        """Return the axis of a value along which the samples lie; None if the value does not depend on the batch."""
        old, new = self._model.types.get(name), self._new.get(name)
        if old is None or new is None or old == new:
            return None
        changed = [
            axis for axis, sizes in enumerate(zip(old.dims, new.dims, strict=False)) if len(set(sizes)) > 1
        ]
        if len(old.dims) != len(new.dims) or len(changed) != 1:
            raise ArchitectureError(f"{name!r} would become {new}, from {old}")
        return changed[0]

    def _adapt(self, node: onnx.NodeProto) -> None:
        """Replace the constants of a node that depend on the batch."""
        axes = [self._axis(name) for name in node.input]
        if any(attribute.HasField("g") for attribute in node.attribute) and any(
            self._axis(name) is not None for name in reads(node)
        ):
            raise ArchitectureError(f"{said(node)} has graphs of its own")
        if not any(axis is not None for axis in axes):
            return
        constant = [name in self._model.initializers for name in node.input]
        match node.op_type:
            case "Reshape" if constant[1] and axes[0] is not None:
                self._set_shape(node, 1, self._reshaped_axis(node, axes[0]))
            case "Expand" if constant[1] and axes[0] is not None:
                rank = len(self._model.types[node.input[0]].dims)
                self._set_shape(node, 1, axes[0] - rank)
            case "Resize" if len(node.input) == 4 and constant[3] and axes[0] is not None:
                self._set_shape(node, 3, axes[0])
            case "Concat":
                axis = next(axis for axis in axes if axis is not None)
                if axis != _attribute(node, "axis") % len(self._model.types[node.output[0]].dims):
                    self._repeat_constants(node, axis - len(self._model.types[node.output[0]].dims), 0)
            case "Gather" if constant[1] and axes[0] is not None:
                if axes[0] == _attribute(node, "axis") == 0:
                    self._gather_from_each(node)
            case "LSTM" | "GRU" | "RNN" if axes[0] is not None:
                self._repeat_states(node, axes[0])
            case "MatMul":
                self._repeat_constants(node, self._from_the_right(node, axes), 2)
            case kind if kind in _BROADCASTING:
                self._repeat_constants(node, self._from_the_right(node, axes), 0)

    def _from_the_right(self, node: onnx.NodeProto, axes: Sequence[int | None]) -> int:
        """Return the axis of the samples, counted from the last, as broadcasting does."""
        found = {
            axis - len(self._model.types[name].dims)
            for name, axis in zip(node.input, axes, strict=True)
            if axis is not None
        }
        if len(found) > 1:
            raise ArchitectureError(f"{said(node)} reads values whose samples lie along different axes")
        return found.pop()

    def _reshaped_axis(self, node: onnx.NodeProto, axis: int) -> int:
        """Return the axis along which the samples lie behind a Reshape: that with as much in front of it as before."""
        source, output = self._model.types[node.input[0]].dims, self._known(node.output[0]).dims
        in_front = math.prod(source[:axis])
        fitting = [j for j in range(len(output)) if math.prod(output[:j]) == in_front]
        if not fitting:
            raise ArchitectureError(f"{said(node)} mixes samples: from {list(source)} to {list(output)}")
        return axis if axis in fitting else fitting[0]

    def _set_shape(self, node: onnx.NodeProto, position: int, axis: int) -> None:
        """Give a node the shape of its output as it was, with as many samples along an axis as are wanted."""
        sizes = list(self._known(node.output[0]).dims)
        sizes[axis] = self._scaled(sizes[axis], node.output[0])
        self._replace(node, position, np.array(sizes, np.int64))

    def _repeat_constants(self, node: onnx.NodeProto, axis: int, last_axes: int) -> None:
        """Repeat a node's constants along an axis, counted from the last, unless they broadcast along it.

        The `last_axes` are not broadcast.
        """
        old, new = (self._sizes_along(node, axis, types) for types in (self._model.types, self._new))
        for position, name in enumerate(node.input):
            tensor = self._model.initializers.get(name)
            if tensor is None or len(tensor.dims) < -axis or -axis <= last_axes:
                continue
            size = tensor.dims[len(tensor.dims) + axis]
            if size == old and (size > 1 or node.op_type == "Concat"):
                self._replace(node, position, _repeated(numpy_helper.to_array(tensor), axis, new, said(node)))

    def _gather_from_each(self, node: onnx.NodeProto) -> None:
        """Take from each sample what was taken from one, where samples lie one behind the other in a flat value."""
        indices = numpy_helper.to_array(self._model.initializers[node.input[1]])
        old, new = self._known(node.input[0]).dims[0], self._new[node.input[0]].dims[0]
        if not indices.ndim or new < old:
            raise ArchitectureError(f"{said(node)} takes certain samples")
        indices = np.where(indices < 0, indices + old, indices).astype(np.int64)
        self._replace(node, 1, np.concatenate([indices + start for start in range(0, new, old)]))

    def _repeat_states(self, node: onnx.NodeProto, axis: int) -> None:
        """Repeat the constants with which a recurrent layer begins: lengths, hidden states, and cells of samples."""
        for position in (4, 5, 6):
            tensor = (
                self._model.initializers.get(node.input[position]) if position < len(node.input) else None
            )
            if tensor is not None:
                size = self._new[node.input[0]].dims[axis]
                along = min(axis, len(tensor.dims) - 1)
                array = numpy_helper.to_array(tensor)
                self._replace(node, position, _repeated(array, along, size, said(node)))

    def _sizes_along(self, node: onnx.NodeProto, axis: int, types: dict[str, TensorType]) -> int:
        return max(
            types[name].dims[axis]
            for name in node.input
            if name in self._new and self._axis(name) is not None
        )

    def _replace(self, node: onnx.NodeProto, position: int, array: Array) -> None:
        name = f"{node.input[position]}.batch{self._batch}.{node.output[0]}"
        self._initializers[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        node.input[position] = name

    def _known(self, name: str) -> TensorType:
        kind = self._model.types.get(name)
        if kind is None:
            raise ArchitectureError(f"the shape of {name!r} cannot be inferred")
        return kind

    def _type(self, name: str) -> TensorType | None:
        tensor = self._initializer(name)
        return self._new.get(name) if tensor is None else initializer_type(tensor)

    def _infer(self, node: onnx.NodeProto) -> None:
        """Find out the types of a node's outputs at the batch."""
        names = [name for name in node.input if name]
        if all(self._axis(name) is None for name in names if name not in self._initializers):
            known = {name: self._model.types[name] for name in node.output if name in self._model.types}
            self._new.update(known)
            return
        domain = "" if node.domain == "ai.onnx" else node.domain
        types = {name: self._type(name) for name in names}
        if not onnx.defs.has(node.op_type, domain) or None in types.values():
            self._guess(node)
            return
        schema = onnx.defs.get_schema(node.op_type, self._model.opset[domain], domain)
        data = {}
        for name in names:
            tensor = self._initializer(name)
            if tensor is not None and math.prod(tensor.dims) <= _MAX_DATA_SIZE:
                data[name] = tensor
        try:
            inferred = onnx.shape_inference.infer_node_outputs(
                schema,
                node,
                {name: value_info(name, kind).type for name, kind in types.items() if kind is not None},
                data,
                opset_imports=list(self._model.proto.opset_import),
                ir_version=self._model.proto.ir_version,
            )
        except Exception as error:
            raise ArchitectureError(f"{said(node)} does not work out: {error}") from error
        for name, kind in inferred.items():
            known_type = tensor_type(onnx.ValueInfoProto(name=name, type=kind))
            if known_type is not None:
                self._new[name] = known_type

    def _guess(self, node: onnx.NodeProto) -> None:
        """Take the samples of a node that ONNX does not know to lie along the first axis of all of its values."""
        if any(self._axis(name) not in (None, 0) for name in node.input if name in self._new):
            raise ArchitectureError(f"{said(node)} is unknown to ONNX, and its samples do not come first")
        for name in node.output:
            if name:
                kind = self._known(name)
                first = (self._scaled(kind.dims[0], name), *kind.dims[1:]) if kind.dims else ()
                self._new[name] = TensorType(kind.element, first)

    def _initializer(self, name: str) -> onnx.TensorProto | None:
        return self._initializers.get(name) or self._model.initializers.get(name)


def _attribute(node: onnx.NodeProto, name: str) -> int:
    return next((int(attribute.i) for attribute in node.attribute if attribute.name == name), 0)


def _repeated(array: Array, axis: int, size: int, what: str) -> Array:
    """Return an array that is repeated, or cut to one of its repetitions, so that it has a size along an axis."""
    old = array.shape[axis]
    if size >= old:
        return np.concatenate([array] * (size // old), axis=axis)
    part = np.take(array, range(size), axis=axis)
    if not np.array_equal(np.concatenate([part] * (old // size), axis=axis), array):
        raise ArchitectureError(f"{what} has a constant of its own for each sample")
    return part
