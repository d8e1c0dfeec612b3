"""A program as the kernels that an inference library launches, with what fuses into them fused.

TensorRT and cuDNN run a convolution, the activation behind it and a residual sum in one kernel; what is left
(pooling, gates, concatenations, sums of branches) moves bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nascli.errors import DeviceError
from nascli.spaces.primitives import Act, Add, Conv, Linear, Shape, Split
from nascli.spaces.programs import Program

Array = npt.NDArray[np.float64]
BYTES = {"fp32": 4.0, "fp16": 2.0, "int8": 1.0}


@dataclass(frozen=True)
class Kernels:
    """Convolution-like kernels as arrays `(n,)`; a fully connected layer is a 1x1 on one pixel.

    Attributes:
        batch, inputs, outputs: samples, input and output channels.
        in_pixels, out_pixels: of one channel.
        groups: of the convolution.
        area: of the kernel.
        stride: of the convolution.
        fused: 1 where a sum is fused into it.
        precision: of each, as a name.
        cudnn: 1 where a framework's library runs it rather than TensorRT.
    """

    batch: Array
    inputs: Array
    outputs: Array
    in_pixels: Array
    out_pixels: Array
    groups: Array
    area: Array
    stride: Array
    fused: Array
    precision: npt.NDArray[np.str_]
    cudnn: Array

    def __len__(self) -> int:
        return len(self.batch)

    @property
    def macs(self) -> Array:
        """Multiply-accumulates of each."""
        return self.batch * self.out_pixels * self.outputs * self.inputs / self.groups * self.area

    @property
    def width(self) -> Array:
        """Bytes of an element."""
        return np.array([BYTES[p] for p in self.precision])

    @property
    def traffic(self) -> tuple[Array, Array, Array]:
        """Bytes of inputs, of outputs (a fused sum reads as many again), and of weights."""
        width = self.width
        return (
            self.batch * self.inputs * self.in_pixels * width,
            self.batch * self.outputs * self.out_pixels * width * (1 + self.fused),
            self.outputs * self.inputs / self.groups * self.area * width,
        )

    def taken(self, chosen: npt.NDArray[np.bool_]) -> Kernels:
        """Some of them."""
        return Kernels(**{name: values[chosen] for name, values in self.__dict__.items()})


@dataclass(frozen=True)
class Work:
    """What a program launches: its convolutions, and the bytes that each other kernel moves.

    Attributes:
        kernels: convolutions and fully connected layers.
        nodes: of each kernel, the program's node (1-based).
        moved: `(m,)` bytes of each other kernel.
        moved_nodes: of each of these, the program's node.
    """

    kernels: Kernels
    nodes: tuple[int, ...]
    moved: Array
    moved_nodes: tuple[int, ...]


def width_of(precision: str) -> float:
    """Bytes of an element.

    Raises:
        DeviceError: a precision that the model was not fitted on.
    """
    if precision not in BYTES:
        raise DeviceError(
            f"predictions from data sheets are made for {', '.join(BYTES)}, not {precision!r}.",
            "Choose one of these: --precision",
        )
    return BYTES[precision]


def kernels_of(program: Program, batch: int, precision: str) -> Work:
    """The kernels of a program at a batch and precision, activations and one sum each fused."""
    users: dict[int, list[int]] = {}
    for index, node in enumerate(program.nodes, 1):
        for value in set(node.inputs):
            users.setdefault(value, []).append(index)
    producer: dict[int, int] = {}
    fused_sum: set[int] = set()
    rows: dict[int, list[float]] = {}
    moved: dict[int, float] = {}
    width = width_of(precision)
    for index, node in enumerate(program.nodes, 1):
        x, y = program.shape_of(node.inputs[0]), program.shape_of(index)
        primitive = node.primitive
        if isinstance(primitive, Conv | Linear):
            rows[index] = _row(primitive, x, y, batch)
            producer[index] = index
            continue
        if isinstance(primitive, Act) and node.inputs[0] in producer:
            if len(users.get(node.inputs[0], ())) == 1:
                producer[index] = producer[node.inputs[0]]
                continue
        elif isinstance(primitive, Add) and len(node.inputs) == 2:
            hosts = [producer[i] for i in node.inputs if i in producer and len(users[i]) == 1]
            free = [host for host in hosts if host not in fused_sum]
            if free:
                fused_sum.add(free[-1])
                rows[free[-1]][8] = 1.0
                producer[index] = free[-1]
                continue
        elif isinstance(primitive, Split):
            # A view of its input's channels: the next kernel reads it in place.
            continue
        moved[index] = batch * width * (sum(program.shape_of(i).size for i in node.inputs) + y.size)
    columns = list(np.array(list(rows.values()), dtype=float).reshape(len(rows), 9).T)
    names = ("batch", "inputs", "outputs", "in_pixels", "out_pixels", "groups", "area", "stride", "fused")
    kernels = Kernels(
        **dict(zip(names, columns, strict=True)),
        precision=np.full(len(rows), precision),
        cudnn=np.zeros(len(rows)),
    )
    return Work(kernels, tuple(rows), np.array(list(moved.values()), dtype=float), tuple(moved))


def _row(primitive: Conv | Linear, x: Shape, y: Shape, batch: int) -> list[float]:
    if isinstance(primitive, Linear):
        return [batch, x.channels, primitive.out, 1, 1, 1, 1, 1, 0]
    area = primitive.kernel[0] * primitive.kernel[1]
    pixels = (x.height * x.width, y.height * y.width)
    return [
        batch,
        x.channels,
        primitive.out,
        *pixels,
        primitive.groups,
        area,
        max(primitive.stride),
        0,
    ]
