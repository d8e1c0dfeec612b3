"""Programs as the kernels that an inference library launches.

TensorRT and cuDNN run a convolution, the activation after it, and a residual sum in one kernel. Attention is two
products and a softmax. The remaining kernels (pooling, normalisation, gates, concatenations, sums of branches) only
move bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nascli.errors import DeviceError, Remedy
from nascli.spaces.primitives import Act, Add, Attention, Conv, ConvTranspose, Dense, Linear, Shape, Split
from nascli.spaces.programs import Program

Array = npt.NDArray[np.float64]
BYTES = {"fp32": 4.0, "fp16": 2.0, "int8": 1.0}


@dataclass(frozen=True)
class Kernels:
    """Kernels of convolutions, fully connected layers, and matrix products, as arrays of shape `(n,)`.

    A fully connected layer is a 1x1 convolution, on one pixel or on the pixels of a value. A product of attention is
    one too, with the heads as groups and the keys or values as weights.

    Attributes:
        batch: Samples per batch.
        inputs, outputs: Number of input and output channels.
        in_pixels, out_pixels: Number of pixels of an input and an output channel.
        groups: Number of groups.
        area: Height times width of the convolution kernel.
        stride: Stride.
        fused: 1 where a residual sum is fused into the kernel, otherwise 0.
        precision: Name of the precision.
        cudnn: 1 where cuDNN runs the kernel, 0 where TensorRT does.
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
        """Multiply-accumulates of each kernel."""
        return self.batch * self.out_pixels * self.outputs * self.inputs / self.groups * self.area

    @property
    def width(self) -> Array:
        """Bytes per element."""
        return np.array([BYTES[p] for p in self.precision])

    @property
    def traffic(self) -> tuple[Array, Array, Array]:
        """Bytes of inputs, of outputs (twice as many with a fused sum, which reads a second value), and of weights."""
        width = self.width
        return (
            self.batch * self.inputs * self.in_pixels * width,
            self.batch * self.outputs * self.out_pixels * width * (1 + self.fused),
            self.outputs * self.inputs / self.groups * self.area * width,
        )

    def subset(self, mask: npt.NDArray[np.bool_]) -> Kernels:
        """Return the kernels where `mask` is true."""
        return Kernels(**{name: values[mask] for name, values in self.__dict__.items()})


@dataclass(frozen=True)
class Work:
    """The kernels that a program launches.

    Attributes:
        kernels: Kernels of convolutions, fully connected layers, and matrix products.
        nodes: For each of them, its node in the program (1-based); both products of attention have the same one.
        moved: `(m,)` bytes that each of the other kernels moves.
        moved_nodes: For each of those, its node in the program (1-based).
    """

    kernels: Kernels
    nodes: tuple[int, ...]
    moved: Array
    moved_nodes: tuple[int, ...]


def width_of(precision: str) -> float:
    """Return the bytes per element at a precision.

    Raises:
        DeviceError: The roofline model does not know the precision.
    """
    if precision not in BYTES:
        raise DeviceError(
            f"predictions from data sheets are made for {', '.join(BYTES)}, not {precision!r}.",
            "Choose one of these.",
            Remedy(arguments={"precision": None}),
        )
    return BYTES[precision]


def kernels_of(program: Program, batch: int, precision: str) -> Work:
    """Return the kernels of a program.

    A convolution absorbs the activation after it, and at most one residual sum.

    Args:
        program: The program.
        batch: Samples per batch.
        precision: 'fp32', 'fp16', or 'int8'.

    Raises:
        DeviceError: The roofline model does not know the precision.
    """
    users: dict[int, list[int]] = {}
    for index, node in enumerate(program.nodes, 1):
        for value in set(node.inputs):
            users.setdefault(value, []).append(index)
    producer: dict[int, int] = {}
    fused_sum: set[int] = set()
    rows: dict[int, list[list[float]]] = {}
    moved: dict[int, float] = {}
    width = width_of(precision)
    for index, node in enumerate(program.nodes, 1):
        x, y = program.shape_of(node.inputs[0]), program.shape_of(index)
        primitive = node.primitive
        if isinstance(primitive, Conv | ConvTranspose | Linear | Dense):
            rows[index] = [_row(primitive, x, y, batch)]
            producer[index] = index
            continue
        if isinstance(primitive, Attention):
            keys = program.shape_of(node.inputs[1])
            rows[index] = _products(primitive.heads, x, keys, y, batch)
            # The softmax reads and writes the scores.
            moved[index] = 2 * batch * width * primitive.heads * _pixels(x) * _pixels(keys)
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
                rows[free[-1]][0][8] = 1.0
                producer[index] = free[-1]
                continue
        elif isinstance(primitive, Split):
            # A split is a view: the next kernel reads its channels in place.
            continue
        moved[index] = batch * width * (sum(program.shape_of(i).size for i in node.inputs) + y.size)
    flat = [(index, row) for index, group in rows.items() for row in group]
    columns = list(np.array([row for _, row in flat], dtype=float).reshape(len(flat), 9).T)
    names = ("batch", "inputs", "outputs", "in_pixels", "out_pixels", "groups", "area", "stride", "fused")
    kernels = Kernels(
        **dict(zip(names, columns, strict=True)),
        precision=np.full(len(flat), precision),
        cudnn=np.zeros(len(flat)),
    )
    return Work(
        kernels, tuple(index for index, _ in flat), np.array(list(moved.values()), dtype=float), tuple(moved)
    )


def _pixels(shape: Shape) -> int:
    return shape.height * shape.width


def _row(primitive: Conv | ConvTranspose | Linear | Dense, x: Shape, y: Shape, batch: int) -> list[float]:
    if isinstance(primitive, Linear | Dense):
        return [batch, x.channels, primitive.out, _pixels(x), _pixels(y), 1, 1, 1, 0]
    area: float = primitive.kernel[0] * primitive.kernel[1]
    if isinstance(primitive, ConvTranspose):
        # Each output pixel is a sum over that part of the kernel which meets input pixels.
        area *= _pixels(x) / _pixels(y)
    stride = max(primitive.stride) if isinstance(primitive, Conv) else 1
    return [
        batch,
        x.channels,
        primitive.out,
        _pixels(x),
        _pixels(y),
        primitive.groups,
        area,
        stride,
        0,
    ]


def _products(heads: int, queries: Shape, keys: Shape, y: Shape, batch: int) -> list[list[float]]:
    """Return the kernels of both products of attention."""
    scores = heads * _pixels(keys)
    pixels = _pixels(queries)
    return [
        [batch, queries.channels, scores, pixels, pixels, heads, 1, 1, 0],
        [batch, scores, y.channels, pixels, pixels, heads, 1, 1, 0],
    ]
