"""What every foreign reader gives back, and the operators that several formats share."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field

from nascli.errors import SpaceError
from nascli.spaces.operators.inverted_residual import mbconv
from nascli.spaces.primitives import Add, Conv, GlobalPool, Linear, Pool, Shape
from nascli.spaces.programs import Builder, Program


@dataclass(frozen=True)
class ForeignRow:
    """One figure: what it is of, and its seconds.

    `program` is None for a fused layer that is known by its name only; it answers no lookup of an operator.
    """

    label: str
    program: Program | None
    seconds: float

    @property
    def key(self) -> str:
        """The key of a row without a program."""
        return hashlib.sha256(f"named {self.label}".encode()).hexdigest()[:32]


@dataclass
class ForeignTable:
    """The rows of one file.

    Attributes:
        rows: what can be used.
        batch: where the file says it.
        left_out: how many rows were left out, by reason.
    """

    rows: list[ForeignRow] = field(default_factory=list)
    batch: int | None = None
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def summary(self) -> str:
        """What was left out, for people; empty where nothing was."""
        return "; ".join(f"{count} {reason}" for reason, count in self.left_out.items())


def conv_program(
    shape: Shape,
    out: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> Program:
    """One convolution with its folded normalisation; an activation is taken to be fused into it."""
    builder = Builder(shape)
    return builder.build(builder.append(Conv(out, kernel, stride, dilation, groups), (0,)))


def pool_program(shape: Shape, mode: str, kernel: int, stride: int) -> Program:
    """One pooling; a window over the whole input is the global mean."""
    builder = Builder(shape)
    if kernel == shape.height == shape.width and mode == "avg":
        return builder.build(builder.append(GlobalPool(), (0,)))
    return builder.build(builder.append(Pool(mode, kernel, stride), (0,)))


def linear_program(inputs: int, out: int) -> Program:
    """One fully connected layer."""
    builder = Builder(Shape(inputs, 1, 1))
    return builder.build(builder.append(Linear(out), (0,)))


def add_program(shape: Shape) -> Program:
    """The sum of two values."""
    builder = Builder(shape)
    return builder.build(builder.append(Add(), (0, 0)))


def inverted_residual(
    shape: Shape,
    out: int,
    *,
    middle: int,
    kernel: int,
    stride: int,
    residual: bool,
    se: bool = False,
    act: str = "relu6",
    groups: int = 1,
) -> Program:
    """An inverted residual block given by its middle channels, as MobileNet-like tables name them.

    Raises:
        SpaceError: middle channels that are no multiple of the input's, or a residual between unequal shapes.
    """
    if middle % shape.channels:
        raise SpaceError(f"{middle} middle channels are no multiple of {shape.channels}")
    block = mbconv(
        shape,
        out,
        kernel=kernel,
        expand=middle // shape.channels,
        stride=stride,
        groups=groups,
        se=se,
        act=act,
    ).program
    has_residual = isinstance(block.nodes[-1].primitive, Add)
    if residual and not has_residual:
        raise SpaceError(f"no residual fits {shape} to {block.output_shape}")
    if has_residual and not residual:
        return block.segment(0, len(block.nodes) - 1)
    return block
