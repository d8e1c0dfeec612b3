"""What every reader of a foreign table returns, and the operators that several formats share."""

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
    """One latency of a foreign table.

    Attributes:
        label: What the file calls the operator.
        program: The operator's program. It is None for a fused layer of which only the name is known; no lookup
            of an operator finds such a row.
        seconds: The latency.
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
        rows: The rows that can be used.
        batch: The batch of all rows; None if the file does not contain it.
        left_out: How many rows were left out, by reason.
    """

    rows: list[ForeignRow] = field(default_factory=list)
    batch: int | None = None
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def summary(self) -> str:
        """Numbers and reasons of the rows that were left out, in words; empty if there are none."""
        return "; ".join(f"{count} {reason}" for reason, count in self.left_out.items())


def conv_program(
    shape: Shape,
    out: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> Program:
    """Return one convolution with its folded normalisation; an activation is assumed to be fused into it."""
    builder = Builder(shape)
    return builder.build(builder.append(Conv(out, kernel, stride, dilation, groups), (0,)))


def pool_program(shape: Shape, mode: str, kernel: int, stride: int) -> Program:
    """Return one pooling; an average over a window as large as the input becomes global pooling."""
    builder = Builder(shape)
    if kernel == shape.height == shape.width and mode == "avg":
        return builder.build(builder.append(GlobalPool(), (0,)))
    return builder.build(builder.append(Pool(mode, kernel, stride), (0,)))


def linear_program(inputs: int, out: int) -> Program:
    """Return one fully connected layer."""
    builder = Builder(Shape(inputs, 1, 1))
    return builder.build(builder.append(Linear(out), (0,)))


def add_program(shape: Shape) -> Program:
    """Return the sum of two values."""
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
    """Return an inverted residual block by the number of its middle channels, as tables of MobileNets give it.

    Args:
        shape: The input's shape.
        out: Output channels.
        middle: Channels of the depthwise convolution.
        kernel: Size of the depthwise convolution.
        stride: Stride of the depthwise convolution.
        residual: Whether the input is added to the output.
        se: Whether the block has squeeze-and-excitation.
        act: The activation.
        groups: Groups of the pointwise convolutions.

    Raises:
        SpaceError: The middle channels are not a multiple of the input's, or a residual is wanted between
            different shapes.
    """
    if middle % shape.channels:
        raise SpaceError(
            f"{middle} middle channels are not a multiple of the {shape.channels} input channels"
        )
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
        raise SpaceError(f"a residual needs equal shapes, got {shape} and {block.output_shape}")
    if has_residual and not residual:
        return block.segment(0, len(block.nodes) - 1)
    return block
