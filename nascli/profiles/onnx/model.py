"""An ONNX model of somebody else's in memory, with sizes that are all known."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import onnx

from nascli.errors import ArchitectureError, SpaceError
from nascli.profiles.onnx.opaque import initializer_type, tensor_type
from nascli.profiles.onnx.tidying import said
from nascli.profiles.onnx.value_types import value_types
from nascli.spaces.opaque_counts import macs_of_node
from nascli.spaces.opaque_graphs import TensorType

_SIMPLE = (onnx.AttributeProto.INT, onnx.AttributeProto.STRING)
# What a protobuf message can hold.
MAX_MESSAGE_BYTES = (1 << 31) - 1


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """A model whose inputs have static shapes. Nobody changes its `proto`.

    Attributes:
        name: The name of its file, without the suffix.
        proto: The model. Its constants are initialisers, its nodes stand in evaluation order, and it has no functions
            of its own. Weights of external files are in it, unless it was loaded without them.
        batch: Samples in its inputs: the first size of the first input that has sizes, else 1.
    """

    name: str
    proto: onnx.ModelProto
    batch: int

    @cached_property
    def initializers(self) -> dict[str, onnx.TensorProto]:
        """The weights and constants by name."""
        return {tensor.name: tensor for tensor in self.proto.graph.initializer}

    @cached_property
    def inputs(self) -> tuple[tuple[str, TensorType], ...]:
        """Names and types of the inputs that have no default, in the order of the file."""
        found = []
        for value in self.proto.graph.input:
            kind = tensor_type(value)
            if kind is not None and value.name not in self.initializers:
                found.append((value.name, kind))
        return tuple(found)

    @cached_property
    def outputs(self) -> tuple[tuple[str, TensorType], ...]:
        """Names and types of the outputs, in the order of the file.

        Raises:
            ArchitectureError: The type of an output is unknown, or it is no tensor.
        """
        found = []
        for value in self.proto.graph.output:
            kind = self.types.get(value.name)
            if kind is None:
                raise ArchitectureError(
                    f"{self.name}: the shape of output {value.name!r} cannot be inferred, or it is no tensor"
                )
            found.append((value.name, kind))
        return tuple(found)

    @cached_property
    def opset(self) -> dict[str, int]:
        """Versions of the sets of operators by domain; ONNX's own has the empty name."""
        return {
            "" if entry.domain == "ai.onnx" else entry.domain: entry.version
            for entry in self.proto.opset_import
        }

    @cached_property
    def types(self) -> dict[str, TensorType]:
        """Types of all values outside of subgraphs, weights included, as far as they can be found out.

        ONNX infers them. Where it does not know an operator, the model is run once and its values are looked at.
        """
        return value_types(self.proto) | {
            name: initializer_type(tensor) for name, tensor in self.initializers.items()
        }

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates of all samples of the batch together.

        Raises:
            SpaceError: A shape that they depend on is unknown.
        """
        return sum(self.macs_of(node) or 0 for node in self.proto.graph.node)

    def macs_of(self, node: onnx.NodeProto) -> int | None:
        """Return the multiply-accumulates of a node for all samples together; None if its type has none.

        Raises:
            SpaceError: A shape that they depend on is unknown.
        """
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute if a.type in _SIMPLE}
        try:
            return macs_of_node(
                node.op_type,
                {k: v.decode(errors="replace") if isinstance(v, bytes) else v for k, v in attributes.items()},
                [self.types.get(name) for name in node.input],
                [self.types.get(name) for name in node.output],
            )
        except IndexError as error:
            raise SpaceError(f"{said(node)} has too few inputs or outputs") from error

    @cached_property
    def data(self) -> bytes:
        """The model as bytes, which runtimes load.

        Raises:
            ArchitectureError: It is larger than a protobuf message can be.
        """
        size = self.proto.ByteSize()
        if size > MAX_MESSAGE_BYTES:
            raise ArchitectureError(
                f"{self.name} has {size / 1e9:.2f} GB with its weights, and a model that is run must have at most "
                f"{MAX_MESSAGE_BYTES / 1e9:.2f} GB."
            )
        data: bytes = self.proto.SerializeToString()
        return data
