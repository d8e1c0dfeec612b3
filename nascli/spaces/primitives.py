"""Shapes, and the primitives that every operator consists of. Shapes do not include the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, get_args

from nascli.spaces.opaque_graphs import OpaqueGraph

# Activations, and the names of the parameters that they take.
ACTIVATIONS: dict[str, tuple[str, ...]] = {
    "relu": (),
    "relu6": (),
    "hswish": (),
    "swish": (),
    "sigmoid": (),
    "hsigmoid": ("slope", "offset"),
    "gelu": (),
    "gelu_tanh": (),
    "leaky_relu": ("slope",),
    "elu": ("alpha",),
    "selu": (),
    "mish": (),
    "softplus": (),
    "tanh": (),
    "clip": ("low", "high"),
}
ACTIVATION_DEFAULTS: dict[str, tuple[float, ...]] = {
    "hsigmoid": (1 / 6, 0.5),
    "leaky_relu": (0.01,),
    "elu": (1.0,),
}
BINARY_FUNCTIONS = ("add", "sub", "mul", "div")
Padding = tuple[int, int, int, int]


class Shape(NamedTuple):
    """Channels, height, and width of one sample. A vector has height and width 1."""

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
    """A convolution, by default with 'same' padding, so that the output height is ceil(height / stride).

    Attributes:
        out: Number of output channels.
        kernel: Height and width of the kernel; both are odd, unless `padding` is given.
        stride: Stride along height and width.
        dilation: Dilation along height and width.
        groups: Number of groups, which divides the input channels and the output channels.
        norm: Whether batch normalisation follows. It is folded into the convolution where a network is deployed.
        bias: Whether the convolution has a bias of its own, which excludes `norm`.
        weight_bits: Bit width of weights, for BitOps and low-bit training; 32 is floating point.
        activation_bits: Bit width of the input, for BitOps and low-bit training; 32 is floating point.
        padding: Zeros at the top, left, bottom, and right. None is 'same' padding, and so is what equals it.
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
    padding: Padding | None = None

    def __post_init__(self) -> None:
        # One description for each convolution, so that it has one key.
        if self.padding is not None and self.padding == same_padding(self.kernel, self.dilation):
            object.__setattr__(self, "padding", None)

    @property
    def pads(self) -> Padding:
        """Zeros at the top, left, bottom, and right."""
        return _given_or_same(self.padding, self.kernel, self.dilation)

    @property
    def low_bit(self) -> bool:
        """Whether weights or activations have fewer than 32 bits."""
        return (self.weight_bits, self.activation_bits) != (32, 32)


@dataclass(frozen=True, slots=True)
class Act:
    """An element-wise activation.

    Attributes:
        function: One of `ACTIVATIONS`.
        parameters: Values of the parameters that `ACTIVATIONS` names for it, or none for `ACTIVATION_DEFAULTS`: the
            slope of 'leaky_relu' below zero, the scale of 'elu', bounds of 'clip', or slope and offset of 'hsigmoid'.
    """

    kind: ClassVar[str] = "act"
    function: str
    parameters: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.parameters and self.parameters == ACTIVATION_DEFAULTS.get(self.function):
            object.__setattr__(self, "parameters", ())

    @property
    def values(self) -> tuple[float, ...]:
        """Values of the parameters, with defaults filled in."""
        return self.parameters or ACTIVATION_DEFAULTS.get(self.function, ())


@dataclass(frozen=True, slots=True)
class Pool:
    """Maximum ('max') or average ('avg') pooling, by default with 'same' padding, which averages do not count.

    Attributes:
        mode: 'max' or 'avg'.
        kernel: Height and width of the window, or one number for both; odd, unless `padding` is given.
        stride: Stride along height and width, or one number for both.
        padding: Rows and columns at the top, left, bottom, and right, fewer than the window has. None is 'same'
            padding, and so is what equals it.
        count_padding: Whether averages count the padding as zeros.
    """

    kind: ClassVar[str] = "pool"
    mode: str
    kernel: int | tuple[int, int]
    stride: int | tuple[int, int]
    padding: Padding | None = None
    count_padding: bool = False

    def __post_init__(self) -> None:
        # One description for each pooling, so that it has one key.
        for name in ("kernel", "stride"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) == 2 and value[0] == value[1]:
                object.__setattr__(self, name, value[0])
        if self.padding is not None and self.padding == same_padding(self.window, (1, 1)):
            object.__setattr__(self, "padding", None)
        if self.count_padding and not any(self.pads):
            object.__setattr__(self, "count_padding", False)

    @property
    def window(self) -> tuple[int, int]:
        """Height and width of the window."""
        return self.kernel if isinstance(self.kernel, tuple) else (self.kernel, self.kernel)

    @property
    def strides(self) -> tuple[int, int]:
        """Stride along height and width."""
        return self.stride if isinstance(self.stride, tuple) else (self.stride, self.stride)

    @property
    def pads(self) -> Padding:
        """Rows and columns of padding at the top, left, bottom, and right."""
        return _given_or_same(self.padding, self.window, (1, 1))


@dataclass(frozen=True, slots=True)
class GlobalPool:
    """The mean over height and width."""

    kind: ClassVar[str] = "global_pool"


@dataclass(frozen=True, slots=True)
class Add:
    """The sum of two or more values of the same shape."""

    kind: ClassVar[str] = "add"


@dataclass(frozen=True, slots=True)
class Scale:
    """The first value with each channel multiplied by an entry of the second, a vector (squeeze and excitation)."""

    kind: ClassVar[str] = "scale"


@dataclass(frozen=True, slots=True)
class Gain:
    """A value multiplied by a constant (for the mean over branches)."""

    kind: ClassVar[str] = "gain"
    factor: float


@dataclass(frozen=True, slots=True)
class Split:
    """The channels from `start` up to but not including `stop`."""

    kind: ClassVar[str] = "split"
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Concat:
    """Values concatenated along their channels."""

    kind: ClassVar[str] = "concat"


@dataclass(frozen=True, slots=True)
class Shuffle:
    """A value with its channels interleaved across groups (ShuffleNet)."""

    kind: ClassVar[str] = "shuffle"
    groups: int


@dataclass(frozen=True, slots=True)
class Linear:
    """A fully connected layer on a vector. Only activations and further linear layers may follow."""

    kind: ClassVar[str] = "linear"
    out: int
    bias: bool = True


@dataclass(frozen=True, slots=True)
class Dense:
    """A fully connected layer on the channels of each position, with the same weights at all positions.

    It computes what a 1x1 convolution does, and runs as a matrix product on values with their channels last, as in
    ConvNeXt and transformers.
    """

    kind: ClassVar[str] = "dense"
    out: int
    bias: bool = True


@dataclass(frozen=True, slots=True)
class ConvTranspose:
    """A transposed convolution.

    Attributes:
        out: Number of output channels.
        kernel: Height and width of the kernel.
        stride: Stride along height and width, by which the output is larger than the input.
        padding: Rows and columns that are cut off at the top, left, bottom, and right.
        output_padding: Rows and columns that are added at the bottom and the right, fewer than the stride.
        dilation: Dilation along height and width.
        groups: Number of groups, which divides the input channels and the output channels.
        norm: Whether batch normalisation follows. It is folded into the convolution where a network is deployed.
        bias: Whether the convolution has a bias of its own, which excludes `norm`.
    """

    kind: ClassVar[str] = "conv_transpose"
    out: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    output_padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    norm: bool = True
    bias: bool = False


@dataclass(frozen=True, slots=True)
class Attention:
    """Multi-head attention between positions: softmax(q k^T / sqrt(d)) v (Vaswani et al. 2017, Eq. 1).

    Inputs are the queries, the keys, and the values. Their channels are those of the heads one after the other. Keys
    and values have the same height and width, which may differ from the queries'.
    """

    kind: ClassVar[str] = "attention"
    heads: int


@dataclass(frozen=True, slots=True)
class BatchNorm:
    """Batch normalisation that does not follow a convolution: a scale and a bias per channel where it is deployed."""

    kind: ClassVar[str] = "batch_norm"


@dataclass(frozen=True, slots=True)
class LayerNorm:
    """Normalisation over the channels of each position, with a learned scale and bias (Ba et al. 2016)."""

    kind: ClassVar[str] = "layer_norm"
    epsilon: float = 1e-5
    bias: bool = True


@dataclass(frozen=True, slots=True)
class GroupNorm:
    """Normalisation over groups of channels and all positions, with a scale and bias per channel (Wu & He 2018).

    As many groups as channels make it instance normalisation.
    """

    kind: ClassVar[str] = "group_norm"
    groups: int
    epsilon: float = 1e-5


@dataclass(frozen=True, slots=True)
class ChannelScale:
    """A value with each channel multiplied by a weight (layer scale)."""

    kind: ClassVar[str] = "channel_scale"


@dataclass(frozen=True, slots=True)
class ChannelBias:
    """A value with a weight added to each channel."""

    kind: ClassVar[str] = "channel_bias"


@dataclass(frozen=True, slots=True)
class PRelu:
    """A rectifier with a learned slope below zero for each channel, or one slope for all (`shared`)."""

    kind: ClassVar[str] = "prelu"
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Shift:
    """A value plus a constant."""

    kind: ClassVar[str] = "shift"
    amount: float


@dataclass(frozen=True, slots=True)
class Binary:
    """An element-wise function of two values, one of `BINARY_FUNCTIONS`.

    Sizes are equal, or one of them is 1 and is repeated. Values of the same shape are summed by `Add`, and the product
    with a vector is a `Scale`.
    """

    kind: ClassVar[str] = "binary"
    function: str


@dataclass(frozen=True, slots=True)
class Pad:
    """A value with rows and columns of zeros at the top, left, bottom, and right."""

    kind: ClassVar[str] = "pad"
    padding: Padding


@dataclass(frozen=True, slots=True)
class PixelShuffle:
    """Channels moved to positions: height and width grow by `factor` (Shi et al. 2016).

    Attributes:
        factor: Factor of height and width.
        blocks_first: Whether the position within a block is the slower index of the input channels, and the output
            channel the faster one. PyTorch has it the other way round.
    """

    kind: ClassVar[str] = "pixel_shuffle"
    factor: int
    blocks_first: bool = False


@dataclass(frozen=True, slots=True)
class PixelUnshuffle:
    """Positions moved to channels, the inverse of `PixelShuffle`."""

    kind: ClassVar[str] = "pixel_unshuffle"
    factor: int
    blocks_first: bool = False


@dataclass(frozen=True, slots=True)
class Resize:
    """A value resampled to a height and width.

    Attributes:
        height: Output height.
        width: Output width.
        mode: 'nearest' or 'bilinear', as in `torch.nn.functional.interpolate`.
        align_corners: Whether the centres of the corners stay where they are; for 'bilinear' only.
    """

    kind: ClassVar[str] = "resize"
    height: int
    width: int
    mode: str = "nearest"
    align_corners: bool = False


@dataclass(frozen=True, slots=True)
class Opaque:
    """A piece of ONNX that no primitive describes. It is measured and counted, but has no torch module.

    Attributes:
        graph: The canonical text of an `OpaqueGraph`.
    """

    kind: ClassVar[str] = "onnx"
    graph: str

    @property
    def parsed(self) -> OpaqueGraph:
        """The piece.

        Raises:
            SpaceError: `graph` is not the text of a piece.
        """
        return OpaqueGraph.parse(self.graph)


Primitive = (
    Conv
    | Act
    | Pool
    | GlobalPool
    | Add
    | Scale
    | Gain
    | Split
    | Concat
    | Shuffle
    | Linear
    | Dense
    | ConvTranspose
    | Attention
    | BatchNorm
    | LayerNorm
    | GroupNorm
    | ChannelScale
    | ChannelBias
    | PRelu
    | Shift
    | Binary
    | Pad
    | PixelShuffle
    | PixelUnshuffle
    | Resize
    | Opaque
)
PRIMITIVES: dict[str, type[Any]] = {cls.kind: cls for cls in get_args(Primitive)}


def same_padding(kernel: tuple[int, int], dilation: tuple[int, int]) -> Padding | None:
    """Return the symmetric padding that gives ceil(size / stride); None for even kernels, which have none."""
    if any(size % 2 == 0 for size in kernel):
        return None
    top, left = (d * (k - 1) // 2 for k, d in zip(kernel, dilation, strict=True))
    return top, left, top, left


def _given_or_same(padding: Padding | None, kernel: tuple[int, int], dilation: tuple[int, int]) -> Padding:
    pads = padding if padding is not None else same_padding(kernel, dilation)
    # A kernel without 'same' padding was refused when the program was built.
    return pads if pads is not None else (0, 0, 0, 0)
