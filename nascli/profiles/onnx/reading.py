"""The program that grows while the nodes of an ONNX model are read, and what is known of the model's tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from nascli.errors import ArchitectureError
from nascli.profiles.onnx.views import BATCH, CHANNELS, Atom, View, plain_dims, rearrangement
from nascli.spaces import primitives as p
from nascli.spaces.primitives import Padding, Shape
from nascli.spaces.programs import Builder, Program

Array = npt.NDArray[Any]
# Constants with more elements are weights, whose values decide nothing.
_MAX_CONSTANT_SIZE = 64
_INTEGERS = (onnx.TensorProto.INT64, onnx.TensorProto.INT32)


@dataclass(frozen=True)
class Padded:
    """A tensor that is another one with padding, which the convolution or pooling behind it takes over.

    Attributes:
        name: Name of the tensor without padding.
        padding: Rows and columns at the top, left, bottom, and right.
        fill: What they are filled with.
    """

    name: str
    padding: Padding
    fill: float


@dataclass(frozen=True)
class Scores:
    """The product of queries and keys, on its way to attention.

    Attributes:
        queries: View `(batch, heads, positions, channels)` of the queries.
        keys: Index of the value of the keys.
        heads: Number of heads.
        factor: What the product was multiplied by.
        softmax: Whether the softmax over the keys was taken.
        transposed: Whether keys come before queries.
    """

    queries: View
    keys: int
    heads: int
    factor: float = 1.0
    softmax: bool = False
    transposed: bool = False


@dataclass(frozen=True)
class Erf:
    """The error function on its way to Gelu.

    Attributes:
        view: The value whose Gelu it becomes.
        stage: 'scaled' (x / sqrt(2)), 'erf', 'plus' (1 + erf), or 'twice' (x times that).
    """

    view: View
    stage: str


@dataclass(frozen=True)
class Above:
    """Where a value is above a bound, which exporters write beside Softplus.

    Attributes:
        view: The value.
        bound: The bound.
    """

    view: View
    bound: float


Held = View | Padded | Scores | Erf | Above


class Reading:
    """State of a reader.

    Args:
        tensors: Initialisers of the graph by name.
        uses: How many nodes read each tensor; the graph's output counts as one.
        source: Name of the graph's input, and its shape without the batch.
        batch: Its batch.
        is_vector: Whether the input is `(batch, channels)`.
        keep_weights: Whether the values of weights are read.

    Attributes:
        builder: The program under construction.
        held: What each tensor holds, by name.
        uses: How many nodes read each tensor.
        batch_dim: The atoms of the batch.
        weights: Weights of each node, by its index in the program.
        erf_inputs: Tensors of which a node takes the error function.
        folding: For normalisation over groups, what the nodes behind it may still fold into it, by value.
    """

    def __init__(
        self,
        tensors: Mapping[str, onnx.TensorProto],
        uses: Mapping[str, int],
        source: tuple[str, Shape],
        batch: int,
        *,
        is_vector: bool = False,
        keep_weights: bool,
    ) -> None:
        name, shape = source
        self.builder = Builder(shape)
        self.batch_dim = (Atom(BATCH, 1, batch),) if batch > 1 else ()
        dims = (self.batch_dim, *plain_dims(shape))
        self.held: dict[str, Held] = {name: View(0, dims[:2] if is_vector else dims)}
        self._is_vector = is_vector
        self.uses = uses
        self.weights: dict[int, dict[str, Array]] = {}
        self.folding: dict[int, str] = {}
        self.keep_weights = keep_weights
        self.erf_inputs: set[str] = set()
        self._tensors = dict(tensors)

    def add_constant(self, name: str, tensor: onnx.TensorProto) -> None:
        """Add the result of a node that is a constant."""
        self._tensors[name] = tensor

    def is_constant(self, name: str) -> bool:
        """Return whether a tensor is a constant or a weight."""
        return name in self._tensors

    def dims(self, name: str) -> tuple[int, ...]:
        """Return the shape of a constant or weight.

        Raises:
            ArchitectureError: The tensor is neither.
        """
        if name not in self._tensors:
            raise ArchitectureError(f"{name!r} is not a constant")
        return tuple(self._tensors[name].dims)

    def constant(self, name: str) -> Array:
        """Return a constant whose values decide what is computed.

        Raises:
            ArchitectureError: It is not a constant, or too large for one.
        """
        size = int(np.prod(self.dims(name), initial=1))
        tensor = self._tensors[name]
        if size > _MAX_CONSTANT_SIZE or tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise ArchitectureError(f"{name!r} must be a constant of at most {_MAX_CONSTANT_SIZE} elements")
        return numpy_helper.to_array(tensor)

    def scalar(self, name: str) -> float | None:
        """Return the value of a constant with one element; None if it is not one."""
        if not self.is_constant(name) or int(np.prod(self.dims(name), initial=1)) != 1:
            return None
        return shortest(self.constant(name).reshape(())[()])

    def integers(self, name: str) -> list[int]:
        """Return the integers of a constant.

        Raises:
            ArchitectureError: It is not a constant of integers, or in an external file.
        """
        self.dims(name)
        tensor = self._tensors[name]
        if tensor.data_type not in _INTEGERS or tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise ArchitectureError(f"{name!r} must be a constant of integers in the file")
        return [int(value) for value in numpy_helper.to_array(tensor).reshape(-1)]

    def array(self, name: str) -> Array:
        """Return the values of a weight in float32."""
        return numpy_helper.to_array(self._tensors[name]).astype(np.float32)

    def of(self, name: str) -> Held:
        """Return what a tensor holds.

        Raises:
            ArchitectureError: The tensor does not come from the graph's input.
        """
        if name not in self.held:
            raise ArchitectureError(f"{name!r} is computed from no input, or used before it is computed")
        return self.held[name]

    def view(self, name: str) -> View:
        """Return the view that a tensor is; padding that no window has taken over becomes a primitive.

        Raises:
            ArchitectureError: The tensor is part of a computation that has no primitive.
        """
        held = self.of(name)
        if isinstance(held, Padded):
            if held.fill != 0:
                raise ArchitectureError(f"padding is supported with zeros, got {held.fill}")
            held = self.plain_view(self.append(p.Pad(held.padding), self.plain(held.name)))
            self.held[name] = held
        if not isinstance(held, View):
            raise ArchitectureError(f"{name!r} is read by a node that has no primitive there")
        return held if self.uses.get(name, 0) == 1 else View(held.value, held.dims, sole=False)

    def plain(self, name: str) -> int:
        """Return the value of a tensor `(batch, channels, height, width)`.

        Raises:
            ArchitectureError: Its elements are in an order that no primitive gives.
        """
        view = self.view(name)
        if view.dims != self.plain_view(view.value).dims:
            raise ArchitectureError(
                f"{name!r} must be (batch, channels, height, width), and is a value {self.shape(view)} rearranged to "
                f"{view.sizes}"
            )
        return view.value

    def settled(self, view: View) -> View:
        """Return a view as (batch, channels, height, width) if one primitive, such as a shuffle, gives that order."""
        primitive = None
        if len(view.dims) == 4 and view.dims[0] == self.batch_dim:
            primitive = rearrangement(view.dims[1:], self.shape(view))
        return view if primitive is None else self.plain_view(self.append(primitive, view.value))

    def plain_view(self, value: int) -> View:
        """Return the view of a value as `(batch, channels, height, width)`."""
        return View(value, (self.batch_dim, *plain_dims(self.builder.shape_of(value))))

    def shape(self, view: View) -> Shape:
        """Return the shape of the value that a view holds."""
        return self.builder.shape_of(view.value)

    def has_channels_at(self, view: View, place: int) -> bool:
        """Return whether a dimension of a view holds all channels and nothing else."""
        channels = self.shape(view).channels
        return view.dims[place] == ((Atom(CHANNELS, 1, channels),) if channels > 1 else ())

    def append(self, primitive: p.Primitive, *inputs: int, **weights: Array) -> int:
        """Append a primitive with its weights, and return its value."""
        value = self.builder.append(primitive, inputs)
        if weights:
            self.weights[value] = weights
        return value

    def primitive(self, value: int) -> p.Primitive | None:
        """Return the primitive that computes a value; None for the graph's input."""
        return self.builder.nodes[value - 1].primitive if value else None

    def replace(self, value: int, primitive: p.Primitive) -> None:
        """Replace the primitive of a value by another one with the same inputs and shape."""
        self.builder.nodes[value - 1] = self.builder.nodes[value - 1]._replace(primitive=primitive)

    def finish(self, name: str) -> tuple[Program, dict[str, Array]]:
        """Return the program of a tensor, without what it does not need, and its weights by name."""
        view = self.view(name)
        atoms = [atom for dim in view.dims for atom in dim]
        in_order = atoms == [atom for dim in self.plain_view(view.value).dims for atom in dim]
        output = view.value if in_order else self.plain(name)
        nodes = self.builder.nodes
        needed = {output}
        for value in range(len(nodes), 0, -1):
            if value in needed:
                needed.update(nodes[value - 1].inputs)
        classifier = self._classifier(output) if len(view.dims) == 2 else set()
        numbers = {0: 0}
        # Values that the graph holds as vectors, because its input is one.
        vectors = {0} if self._is_vector else set()
        builder = Builder(self.builder.input)
        weights: dict[str, Array] = {}
        for value, node in enumerate(nodes, 1):
            if value not in needed:
                continue
            primitive = node.primitive
            if value in classifier and isinstance(primitive, p.Dense):
                primitive = p.Linear(primitive.out, primitive.bias)
            inputs = tuple(numbers[i] for i in node.inputs)
            if vectors.intersection(inputs):
                if not isinstance(primitive, p.Linear | p.Act):
                    raise ArchitectureError(f"{primitive.kind} cannot read a vector")
                vectors.add(len(builder.nodes) + 1)
            numbers[value] = builder.append(primitive, inputs)
            for key, array in self.weights.get(value, {}).items():
                weights[f"n{numbers[value]}.{key}"] = array
        return builder.build(numbers[output]), weights

    def _classifier(self, output: int) -> set[int]:
        """Return the values of layers on vectors, and of activations, behind which nothing else comes."""
        nodes = self.builder.nodes
        behind: dict[int, list[int]] = {}
        for value, node in enumerate(nodes, 1):
            for source in node.inputs:
                behind.setdefault(source, []).append(value)
        found: set[int] = set()
        for value in range(len(nodes), 0, -1):
            node = nodes[value - 1]
            is_layer = isinstance(node.primitive, p.Act | p.Dense) and node.shape[1:] == (1, 1)
            if is_layer and (value == output or all(user in found for user in behind.get(value, []))):
                found.add(value)
        return found


def constant_of(node: onnx.NodeProto) -> onnx.TensorProto:
    """Return the tensor of a node that is a constant.

    Raises:
        ArchitectureError: It has no tensor: it is sparse or a text.
    """
    a = attributes_of(node)
    if "value" in a:
        tensor: onnx.TensorProto = a["value"]
        return tensor
    for name, kind in (
        ("value_float", np.float32),
        ("value_floats", np.float32),
        ("value_int", np.int64),
        ("value_ints", np.int64),
    ):
        if name in a:
            return numpy_helper.from_array(np.array(a[name], kind))
    raise ArchitectureError(f"node {name_of(node)} is a constant without numbers")


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """Return the attributes of a node by name."""
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}


def name_of(node: onnx.NodeProto) -> str:
    """Return what messages call a node."""
    return node.name or node.output[0]


def pair_of(values: Sequence[Any]) -> tuple[int, int]:
    """Return two integers as a tuple."""
    first, second = values
    return int(first), int(second)


def shortest(value: Any) -> float:
    """Return the shortest decimal that is this number in float32: 0.1 rather than 0.10000000149."""
    return float(str(np.float32(value)))
