"""The primitives that every operator is made of, and the small programs they form.

A `Program` is a list of nodes in evaluation order. Value 0 is the program's input and value ``i + 1`` is
the output of node ``i``. MACs, parameters, bytes, the ONNX graph, the torch module and the table key are
all read off this one description, so they cannot drift apart. Shapes leave the batch out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import Any, ClassVar, NamedTuple

from nascli.errors import SpaceError

ACTIVATIONS = ("relu", "relu6", "hswish", "swish", "sigmoid", "hsigmoid")


class Shape(NamedTuple):
    """Channels, height and width of one sample; a vector has height and width 1."""

    channels: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.channels}x{self.height}x{self.width}"

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.channels * self.height * self.width


@dataclass(frozen=True, slots=True)
class Conv:
    """A convolution with 'same' padding: output height is ceil(height / stride).

    `norm` adds batch normalisation (folded where the network is deployed), `bias` a bias of its own.
    The bit widths only matter to BitOps and to quantised training; 32 is plain float.
    """

    kind: ClassVar[str] = "conv"
    out: int
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    norm: bool = True
    bias: bool = False
    weight_bits: int = 32
    activation_bits: int = 32

    @property
    def few_bits(self) -> bool:
        """Whether weights or activations have fewer bits than plain floats."""
        return (self.weight_bits, self.activation_bits) != (32, 32)


@dataclass(frozen=True, slots=True)
class Act:
    """An element-wise activation."""

    kind: ClassVar[str] = "act"
    function: str


@dataclass(frozen=True, slots=True)
class Pool:
    """Maximum or average pooling with 'same' padding, which averages leave out."""

    kind: ClassVar[str] = "pool"
    mode: str
    kernel: int
    stride: int


@dataclass(frozen=True, slots=True)
class GlobalPool:
    """The mean over height and width."""

    kind: ClassVar[str] = "global_pool"


@dataclass(frozen=True, slots=True)
class Add:
    """The sum of two or more values of one shape."""

    kind: ClassVar[str] = "add"


@dataclass(frozen=True, slots=True)
class Scale:
    """Each channel of the first value multiplied by the second, a vector (squeeze and excitation)."""

    kind: ClassVar[str] = "scale"


@dataclass(frozen=True, slots=True)
class Gain:
    """A value times a constant (the mean over branches)."""

    kind: ClassVar[str] = "gain"
    factor: float


@dataclass(frozen=True, slots=True)
class Split:
    """The channels [start, stop) of a value."""

    kind: ClassVar[str] = "split"
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Concat:
    """Values joined along their channels."""

    kind: ClassVar[str] = "concat"


@dataclass(frozen=True, slots=True)
class Shuffle:
    """Channels interleaved across groups, as in ShuffleNet."""

    kind: ClassVar[str] = "shuffle"
    groups: int


@dataclass(frozen=True, slots=True)
class Linear:
    """A fully connected layer on a vector; only activations and further linear layers may follow."""

    kind: ClassVar[str] = "linear"
    out: int
    bias: bool = True


Primitive = Conv | Act | Pool | GlobalPool | Add | Scale | Gain | Split | Concat | Shuffle | Linear
PRIMITIVES: dict[str, type[Any]] = {
    cls.kind: cls for cls in (Conv, Act, Pool, GlobalPool, Add, Scale, Gain, Split, Concat, Shuffle, Linear)
}


class Node(NamedTuple):
    """One primitive applied to earlier values."""

    primitive: Primitive
    inputs: tuple[int, ...]
    shape: Shape


def _halved(size: int, stride: int) -> int:
    return -(-size // stride)


def _require(condition: bool, rule: str) -> None:
    if not condition:
        raise SpaceError(rule)


def _conv_shape(conv: Conv, x: Shape) -> Shape:
    _require(conv.out >= 1, f"a convolution needs at least one output channel, got {conv.out}")
    for name in ("kernel", "stride", "dilation"):
        values = getattr(conv, name)
        _require(min(values) >= 1, f"a convolution's {name} must be at least 1, got {values}")
    _require(
        all(k % 2 == 1 for k in conv.kernel),
        f"kernels are odd so that padding is symmetric, got {conv.kernel}",
    )
    _require(
        conv.groups >= 1 and x.channels % conv.groups == 0 and conv.out % conv.groups == 0,
        f"groups must divide the channels, got groups={conv.groups}, in={x.channels}, out={conv.out}",
    )
    _require(not (conv.norm and conv.bias), "a normalised convolution has no bias of its own")
    return Shape(conv.out, _halved(x.height, conv.stride[0]), _halved(x.width, conv.stride[1]))


def infer_shape(primitive: Primitive, inputs: Sequence[Shape]) -> Shape:
    """The output shape of a primitive.

    Raises:
        SpaceError: when a rule of the primitive does not hold for these shapes.
    """
    binary = isinstance(primitive, (Add, Concat))
    count = 2 if isinstance(primitive, Scale) else 1
    _require(
        len(inputs) >= 1 if binary else len(inputs) == count,
        f"{primitive.kind} takes {'at least one' if binary else count} input(s), got {len(inputs)}",
    )
    x = inputs[0]
    match primitive:
        case Conv():
            return _conv_shape(primitive, x)
        case Act():
            known = ", ".join(ACTIVATIONS)
            _require(
                primitive.function in ACTIVATIONS,
                f"unknown activation {primitive.function!r}; known are {known}",
            )
            return x
        case Pool():
            _require(primitive.mode in ("max", "avg"), f"pooling is 'max' or 'avg', got {primitive.mode!r}")
            _require(primitive.kernel % 2 == 1, f"kernels are odd, got {primitive.kernel}")
            _require(primitive.stride >= 1, f"a stride is at least 1, got {primitive.stride}")
            return Shape(x.channels, _halved(x.height, primitive.stride), _halved(x.width, primitive.stride))
        case GlobalPool():
            return Shape(x.channels, 1, 1)
        case Add():
            for other in inputs[1:]:
                _require(other == x, f"add needs equal shapes, got {x} and {other}")
            return x
        case Scale():
            gate = inputs[1]
            _require(
                gate == Shape(x.channels, 1, 1),
                f"scale needs a gate of {x.channels} channels, got {gate}",
            )
            return x
        case Gain():
            return x
        case Split():
            _require(
                0 <= primitive.start < primitive.stop <= x.channels,
                f"0 <= start < stop <= channels must hold, got start={primitive.start}, "
                f"stop={primitive.stop}, channels={x.channels}",
            )
            return Shape(primitive.stop - primitive.start, x.height, x.width)
        case Concat():
            for other in inputs[1:]:
                _require(other[1:] == x[1:], f"concat needs equal height and width, got {x} and {other}")
            return Shape(sum(value.channels for value in inputs), x.height, x.width)
        case Shuffle():
            _require(
                primitive.groups >= 1 and x.channels % primitive.groups == 0,
                f"shuffle needs groups that divide the channels, got {primitive.groups} and {x.channels}",
            )
            return x
        case Linear():
            _require(x.height == x.width == 1, f"linear needs a vector, got {x}")
            _require(primitive.out >= 1, f"linear needs at least one output, got {primitive.out}")
            return Shape(primitive.out, 1, 1)


@dataclass(frozen=True)
class Program:
    """A small straight-line program of primitives from one input to one output.

    Attributes:
        input: shape of value 0.
        nodes: primitives in evaluation order.
        output: index of the value that the program returns (0 is the input itself).
    """

    input: Shape
    nodes: tuple[Node, ...]
    output: int

    def shape_of(self, value: int) -> Shape:
        """Shape of a value by its index."""
        return self.input if value == 0 else self.nodes[value - 1].shape

    @property
    def output_shape(self) -> Shape:
        """Shape of the result."""
        return self.shape_of(self.output)

    @cached_property
    def few_bits(self) -> bool:
        """Whether it has convolutions at few bits, which no runtime here computes."""
        return any(isinstance(node.primitive, Conv) and node.primitive.few_bits for node in self.nodes)

    @cached_property
    def flat(self) -> frozenset[int]:
        """Values that are the result of a linear layer, or of activations after one."""
        found: set[int] = set()
        for index, node in enumerate(self.nodes, 1):
            if isinstance(node.primitive, Linear) or any(i in found for i in node.inputs):
                found.add(index)
        return frozenset(found)

    @cached_property
    def cut_points(self) -> tuple[int, ...]:
        """Values through which everything flows, the input first: no later node reads an earlier value."""
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

    def segment(self, start: int, end: int) -> Program:
        """The program between two cut points."""
        builder = Builder(self.shape_of(start))
        for node in self.nodes[start:end]:
            builder.append(node.primitive, tuple(source - start for source in node.inputs))
        return builder.build(end - start)

    @cached_property
    def canonical(self) -> str:
        """A text that is equal for equal programs and only for them; the table key is its digest."""
        body = [[n.primitive.kind, list(n.inputs), _non_defaults(n.primitive)] for n in self.nodes]
        document = {"input": list(self.input), "nodes": body, "output": self.output}
        return json.dumps(document, separators=(",", ":"), sort_keys=True)

    @staticmethod
    @lru_cache(maxsize=1 << 16)
    def from_canonical(text: str) -> Program:
        """Read a program back from its canonical text, inferring and checking every shape.

        The tables of many devices hold the same programs; each text is read once.

        Raises:
            SpaceError: when the text is not a valid program.
        """
        try:
            document = json.loads(text)
            builder = Builder(Shape(*(int(size) for size in document["input"])))
            for kind, inputs, attributes in document["nodes"]:
                values = {k: tuple(v) if isinstance(v, list) else v for k, v in attributes.items()}
                builder.append(PRIMITIVES[kind](**values), tuple(int(i) for i in inputs))
            return builder.build(int(document["output"]))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise SpaceError(f"not a program description: {error}") from error


def _non_defaults(primitive: Primitive) -> dict[str, Any]:
    # Attributes at their default are left out, so that a new attribute does not change existing keys.
    return {
        field.name: value
        for field in fields(primitive)
        if (value := getattr(primitive, field.name)) != field.default
    }


class Builder:
    """Appends checked nodes to a program under construction."""

    def __init__(self, input_shape: Shape) -> None:
        if min(input_shape) < 1:
            raise SpaceError(f"channels, height and width must be at least 1, got {input_shape}")
        self.input = input_shape
        self.nodes: list[Node] = []
        self._flat: set[int] = set()

    def shape_of(self, value: int) -> Shape:
        """Shape of a value by its index."""
        if not 0 <= value <= len(self.nodes):
            raise SpaceError(f"value {value} does not exist yet; {len(self.nodes)} nodes are defined")
        return self.input if value == 0 else self.nodes[value - 1].shape

    def append(self, primitive: Primitive, inputs: tuple[int, ...]) -> int:
        """Add a node; returns the index of its output value."""
        shape = infer_shape(primitive, [self.shape_of(i) for i in inputs])
        follows_linear = any(i in self._flat for i in inputs)
        if follows_linear and not isinstance(primitive, (Linear, Act)):
            raise SpaceError(f"{primitive.kind} cannot follow a linear layer")
        self.nodes.append(Node(primitive, inputs, shape))
        if follows_linear or isinstance(primitive, Linear):
            self._flat.add(len(self.nodes))
        return len(self.nodes)

    def embed(self, program: Program, value: int) -> int:
        """Append all nodes of a program, fed by `value`; returns the index of its output value."""
        if program.input != self.shape_of(value):
            raise SpaceError(f"a block for {program.input} cannot follow {self.shape_of(value)}")
        if value in self._flat:
            for node in program.nodes:
                if 0 in node.inputs and not isinstance(node.primitive, (Linear, Act)):
                    raise SpaceError(f"{node.primitive.kind} cannot follow a linear layer")
        # The program was checked when it was built, so its nodes are only renumbered.
        offset = len(self.nodes)
        if offset == value == 0:
            self.nodes.extend(program.nodes)
            self._flat.update(program.flat)
            return program.output
        append = self.nodes.append
        for primitive, sources, shape in program.nodes:
            # Most nodes have one input; sparing them a comprehension halves the time.
            if len(sources) == 1:
                source = sources[0]
                append(Node(primitive, (source + offset if source else value,), shape))
            else:
                inputs = tuple([i + offset if i else value for i in sources])
                append(Node(primitive, inputs, shape))
        self._flat.update(i + offset for i in program.flat)
        return value if program.output == 0 else program.output + offset

    def build(self, output: int) -> Program:
        """Finish: the program that returns value `output`."""
        self.shape_of(output)
        return Program(self.input, tuple(self.nodes), output)


def chain(programs: Sequence[Program]) -> Program:
    """One program that runs several in sequence."""
    if not programs:
        raise SpaceError("a chain needs at least one program")
    builder = Builder(programs[0].input)
    value = 0
    for program in programs:
        value = builder.embed(program, value)
    return builder.build(value)
