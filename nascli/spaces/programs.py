"""Programs of primitives, and how they are built.

MACs, parameters, bytes, the ONNX graph, the torch module, and the table key of an operator are all derived from its
program, so that they always agree.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from nascli.errors import SpaceError
from nascli.spaces.opaque_graphs import TensorType
from nascli.spaces.primitives import PRIMITIVES, Act, Conv, Linear, Opaque, Primitive, Shape
from nascli.spaces.shape_rules import infer_shape

MAX_COPIES = 64


class Node(NamedTuple):
    """One primitive applied to earlier values."""

    primitive: Primitive
    inputs: tuple[int, ...]
    shape: Shape


@dataclass(frozen=True)
class Program:
    """A straight-line program of primitives from one input to one output.

    Value 0 is the input of the program, and value ``i + 1`` is the output of node ``i``.

    Attributes:
        input: Shape of value 0.
        nodes: Nodes in evaluation order.
        output: Index of the value that the program returns; 0 returns the input unchanged.
        copies: How many times the program is computed one after the other, each time with an input and with weights of
            its own. Above 1 only in models whose weights shall leave the cache between two uses.
    """

    input: Shape
    nodes: tuple[Node, ...]
    output: int
    copies: int = 1

    def shape_of(self, value: int) -> Shape:
        """Return the shape of a value by its index."""
        return self.input if value == 0 else self.nodes[value - 1].shape

    @property
    def output_shape(self) -> Shape:
        """Shape of the value that the program returns."""
        return self.shape_of(self.output)

    @cached_property
    def low_bit(self) -> bool:
        """Whether the program has convolutions below 32 bits, which no runtime here computes."""
        return any(isinstance(node.primitive, Conv) and node.primitive.low_bit for node in self.nodes)

    @cached_property
    def flat(self) -> frozenset[int]:
        """Indices of the values that a linear layer gives, directly or through activations."""
        flat: set[int] = set()
        for index, node in enumerate(self.nodes, 1):
            if _gives_vector(node.primitive, any(i in flat for i in node.inputs)):
                flat.add(index)
        return frozenset(flat)

    @cached_property
    def raw(self) -> dict[int, TensorType]:
        """Types of the values by index that are neither images nor vectors, and that only pieces of ONNX give."""
        return {
            index: kind
            for index, node in enumerate(self.nodes, 1)
            if (kind := _raw_type(node.primitive)) is not None
        }

    @cached_property
    def batch(self) -> int | None:
        """The batch at which its pieces of ONNX are written; None if it has none and is good for every batch.

        Raises:
            SpaceError: Its pieces are written at different batches.
        """
        batches = {n.primitive.parsed.batch for n in self.nodes if isinstance(n.primitive, Opaque)}
        if len(batches) > 1:
            raise SpaceError(f"pieces of ONNX at batches {sorted(batches)} do not make up one program")
        return next(iter(batches), None)

    @cached_property
    def input_type(self) -> TensorType | None:
        """The type of the input where a piece of ONNX reads it; None where a primitive reads it."""
        readers = [n.primitive for n in self.nodes if 0 in n.inputs]
        return next((p.parsed.inputs[0] for p in readers if isinstance(p, Opaque)), None)

    @cached_property
    def cut_points(self) -> tuple[int, ...]:
        """Indices of the values, from 0, after which no node reads an earlier value."""
        last_use = list(range(len(self.nodes) + 1))
        for index, node in enumerate(self.nodes, 1):
            for source in node.inputs:
                last_use[source] = max(last_use[source], index)
        points, reach = [0], last_use[0]
        for value in range(1, len(self.nodes) + 1):
            if reach <= value:
                points.append(value)
            reach = max(reach, last_use[value])
        return tuple(points)

    def repeated(self, copies: int) -> Program:
        """Return a program that computes this one several times, each time with weights of its own.

        Raises:
            SpaceError: The number of copies lies outside of 1 to 64.
        """
        if not 1 <= copies <= MAX_COPIES:
            raise SpaceError(f"1 <= copies <= {MAX_COPIES} must hold, got {copies}")
        return replace(self, copies=copies)

    def segment(self, start: int, end: int) -> Program:
        """Return the part of the program between two cut points."""
        builder = Builder(self.shape_of(start))
        for node in self.nodes[start:end]:
            builder.append(node.primitive, tuple(source - start for source in node.inputs))
        return builder.build(end - start)

    @cached_property
    def canonical(self) -> str:
        """JSON text that is the same for equal programs only. The key of a table is its digest."""
        body = [[n.primitive.kind, list(n.inputs), _non_defaults(n.primitive)] for n in self.nodes]
        document: dict[str, Any] = {"input": list(self.input), "nodes": body, "output": self.output}
        if self.copies > 1:
            document["copies"] = self.copies
        return json.dumps(document, separators=(",", ":"), sort_keys=True)

    @staticmethod
    @lru_cache(maxsize=1 << 16)
    def from_canonical(text: str) -> Program:
        """Read a program from its canonical text, and check every shape.

        Results are cached, because the tables of many devices hold the same programs.

        Raises:
            SpaceError: The text is not a valid program.
        """
        try:
            document = json.loads(text)
            builder = Builder(Shape(*(int(size) for size in document["input"])))
            for kind, inputs, attributes in document["nodes"]:
                values = {k: tuple(v) if isinstance(v, list) else v for k, v in attributes.items()}
                builder.append(PRIMITIVES[kind](**values), tuple(int(i) for i in inputs))
            program = builder.build(int(document["output"]))
            return program if "copies" not in document else program.repeated(int(document["copies"]))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise SpaceError(f"not a program description: {error}") from error


def _non_defaults(primitive: Primitive) -> dict[str, Any]:
    # Attributes at their default are left out so that a new attribute does not change existing keys.
    return {
        field.name: value
        for field in fields(primitive)
        if (value := getattr(primitive, field.name)) != field.default
    }


def _gives_vector(primitive: Primitive, follows_vector: bool) -> bool:
    """Return whether a primitive gives a value of two dimensions, `(batch, features)`."""
    if isinstance(primitive, Opaque):
        graph = primitive.parsed
        return graph.type_of(graph.outputs[0]).is_vector
    return follows_vector or isinstance(primitive, Linear)


def _raw_type(primitive: Primitive) -> TensorType | None:
    """Return the type of what a piece of ONNX gives; None for images and vectors, which primitives may read."""
    if not isinstance(primitive, Opaque):
        return None
    kind = primitive.parsed.type_of(primitive.parsed.outputs[0])
    return None if kind.is_image or kind.is_vector else kind


class Builder:
    """A program under construction, to which nodes are appended after a check.

    Args:
        input_shape: Shape of value 0.

    Raises:
        SpaceError: A size of the shape is below 1.
    """

    def __init__(self, input_shape: Shape) -> None:
        if min(input_shape) < 1:
            raise SpaceError(f"channels, height and width must be at least 1, got {input_shape}")
        self.input = input_shape
        self.nodes: list[Node] = []
        self._flat: set[int] = set()
        self._raw: dict[int, TensorType] = {}

    def shape_of(self, value: int) -> Shape:
        """Return the shape of a value by its index."""
        if not 0 <= value <= len(self.nodes):
            raise SpaceError(f"value {value} does not exist yet; {len(self.nodes)} nodes are defined")
        return self.input if value == 0 else self.nodes[value - 1].shape

    def append(self, primitive: Primitive, inputs: tuple[int, ...]) -> int:
        """Append a node.

        Args:
            primitive: The primitive.
            inputs: Indices of its input values.

        Returns:
            Index of the output value.

        Raises:
            SpaceError: An input does not exist, or a rule of the primitive is broken.
        """
        shape = infer_shape(primitive, [self.shape_of(i) for i in inputs])
        for value in inputs:
            self._check_layout(primitive, value)
        self.nodes.append(Node(primitive, inputs, shape))
        index = len(self.nodes)
        if _gives_vector(primitive, any(i in self._flat for i in inputs)):
            self._flat.add(index)
        kind = _raw_type(primitive)
        if kind is not None:
            self._raw[index] = kind
        return index

    def _check_layout(self, primitive: Primitive, value: int) -> None:
        """Check that a primitive may read a value: an image, a vector, or what only pieces of ONNX give and read."""
        if isinstance(primitive, Opaque):
            wanted = primitive.parsed.inputs[0]
            given = self._raw.get(value)
            if given is not None:
                fits = given == wanted
            elif value in self._flat:
                fits = wanted.is_vector or wanted.dims[2:] == (1, 1)
            else:
                # Whatever begins a program defines what its input is; an image of one pixel can be read as a vector.
                fits = (
                    value == 0 or wanted.is_image or (wanted.is_vector and self.shape_of(value)[1:] == (1, 1))
                )
            if not fits:
                kind = given or ("a vector" if value in self._flat else "an image")
                raise SpaceError(f"this piece of ONNX takes {wanted}, and cannot follow {kind}")
        elif value in self._raw:
            raise SpaceError(f"{primitive.kind} cannot follow a value {self._raw[value]}")
        elif value in self._flat and not isinstance(primitive, (Linear, Act)):
            raise SpaceError(f"{primitive.kind} cannot follow a linear layer")

    def embed(self, program: Program, value: int) -> int:
        """Append all nodes of a program.

        Args:
            program: The program.
            value: Index of the value that becomes the program's input.

        Returns:
            Index of the program's output value.

        Raises:
            SpaceError: The program takes another shape, or must not follow a linear layer.
        """
        if program.copies > 1:
            raise SpaceError("a program that is repeated stands alone")
        if program.input != self.shape_of(value):
            raise SpaceError(f"a block for {program.input} cannot follow {self.shape_of(value)}")
        if value in self._flat or value in self._raw or program.input_type is not None:
            for node in program.nodes:
                if 0 in node.inputs:
                    self._check_layout(node.primitive, value)
        # The nodes were checked when the program was built, so they only get new numbers.
        offset = len(self.nodes)
        if offset == value == 0:
            self.nodes.extend(program.nodes)
            self._flat.update(program.flat)
            self._raw.update(program.raw)
            return program.output
        append = self.nodes.append
        for primitive, sources, shape in program.nodes:
            # Most nodes have one input; without a comprehension for those, the loop takes half the time.
            if len(sources) == 1:
                source = sources[0]
                append(Node(primitive, (source + offset if source else value,), shape))
            else:
                inputs = tuple([i + offset if i else value for i in sources])
                append(Node(primitive, inputs, shape))
        self._flat.update(i + offset for i in program.flat)
        if value in self._flat:
            # Activations pass a vector on, which the program by itself does not know its input to be.
            for index, node in enumerate(self.nodes[offset:], offset + 1):
                if _gives_vector(node.primitive, any(i in self._flat for i in node.inputs)):
                    self._flat.add(index)
        self._raw.update({i + offset: kind for i, kind in program.raw.items()})
        return value if program.output == 0 else program.output + offset

    def build(self, output: int) -> Program:
        """Return the program that returns the value with index `output`."""
        self.shape_of(output)
        return Program(self.input, tuple(self.nodes), output)


def chain(programs: Sequence[Program]) -> Program:
    """Return one program that runs several in sequence.

    Raises:
        SpaceError: There is no program, or the shapes of neighbours differ.
    """
    if not programs:
        raise SpaceError("a chain needs at least one program")
    builder = Builder(programs[0].input)
    value = 0
    for program in programs:
        value = builder.embed(program, value)
    return builder.build(value)
