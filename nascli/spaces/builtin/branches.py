"""The spaces of NSE (multi-branch) and PC-NAS (single-path)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nascli.errors import SpaceError
from nascli.spaces.blocks import FixedBlock, Layer
from nascli.spaces.builtin.stages import LayerMaker, Stage, check_macro, make_layers, scaled
from nascli.spaces.operators.basic import conv_block, head, identity
from nascli.spaces.operators.bottlenecks import dconv, dwconv, nconv, rconv
from nascli.spaces.operators.definition import Operator, Value, add
from nascli.spaces.primitives import Shape
from nascli.spaces.programs import Builder
from nascli.spaces.registry import space_factory
from nascli.spaces.space import Space

# The stages under a MACs budget and under a latency budget (NSE, Tables 4 and 5).
MACS_STAGES = (
    Stage(16, 1, 1),
    Stage(24, 4, 2),
    Stage(40, 4, 2),
    Stage(80, 4, 2),
    Stage(96, 4, 1),
    Stage(192, 4, 2),
    Stage(320, 1, 1),
)
LATENCY_STAGES = (
    Stage(16, 1, 1),
    Stage(32, 4, 2),
    Stage(64, 4, 2),
    Stage(128, 8, 2),
    Stage(256, 4, 2),
)
SMALL_STAGES = (Stage(16, 1, 1), Stage(24, 3, 2), Stage(48, 3, 2))

Operation = Callable[[Shape, int, int, bool], Operator]


def _depthwise(kernel: int, expand: int, dilation: int = 1, groups: tuple[int, int] = (1, 1)) -> Operation:
    def make(shape: Shape, out: int, stride: int, se: bool) -> Operator:
        return dwconv(
            shape,
            out,
            kernel=kernel,
            expand=expand,
            dilation=dilation,
            stride=stride,
            groups_in=groups[0],
            groups_out=groups[1],
            se=se,
        )

    return make


def _dense(family: Callable[..., Operator], kernel: int, expand: int) -> Operation:
    def make(shape: Shape, out: int, stride: int, se: bool) -> Operator:
        return family(shape, out, kernel=kernel, expand=expand, stride=stride, se=se)

    return make


NSE_27: tuple[Operation, ...] = (
    *(_depthwise(3, expand, dilation) for expand in (1, 3, 6) for dilation in (1, 2, 3)),
    *(_depthwise(kernel, expand) for kernel in (5, 7, 9, 11) for expand in (1, 3, 6)),
    *(_dense(rconv, kernel, expand) for kernel in (5, 7) for expand in (1, 2, 4)),
)
NSE_SECOND: tuple[Operation, ...] = tuple(
    _depthwise(kernel, expand, 1, groups)
    for kernel in (3, 5, 7, 9, 11)
    for expand in (1, 3, 6)
    for groups in ((1, 2), (2, 1), (2, 2))
)
_MBCONV: tuple[Operation, ...] = tuple(
    _depthwise(kernel, expand) for kernel in (3, 5, 7) for expand in (1, 3, 6)
)
NSE_19: tuple[Operation, ...] = (
    *_MBCONV,
    *(_dense(nconv, 3, expand) for expand in (1, 2)),
    *(_dense(dconv, 3, expand) for expand in (1, 2)),
    *(_dense(rconv, kernel, expand) for kernel in (5, 7) for expand in (1, 2, 4)),
)


def _space(
    name: str,
    stages: Sequence[Stage],
    make_layer: LayerMaker,
    *,
    resolution: int,
    width: float,
    classes: int,
    channels: int,
    stem_stride: int = 2,
    features: int = 1024,
) -> Space:
    check_macro(resolution, width, classes, channels)
    # Stem and features keep their width, because the published networks were rescaled in this way.
    stem = conv_block((channels, resolution, resolution), 16, stride=stem_stride, act="relu")
    layers = make_layers(stem.output, scaled(stages, width), make_layer)
    tail = head(layers[-1].output, classes, features=features, act="relu", norm=False)
    return Space(name, (), (FixedBlock("stem", stem), *layers, FixedBlock("head", tail)))


def _multi_branch(operations: Sequence[Operation], max_branches: int, se: bool) -> LayerMaker:
    if not 1 <= max_branches <= len(operations):
        raise SpaceError(f"branches must be in 1..{len(operations)}, got {max_branches}")

    def make_layer(name: str, shape: Shape, width: int, stride: int) -> Layer:
        candidates = tuple(make(shape, width, stride, se) for make in operations)
        normal = candidates[0].output == shape
        return Layer(name, candidates, "normal" if normal else "reduction", max_branches)

    return make_layer


def parse_inherited(text: str) -> list[tuple[int, ...]]:
    """Read a text such as ``6.11--0``, which lists the operations that each layer inherits from the first space.

    Args:
        text: Indices of operations, separated by '.', and layers, separated by '-'.

    Returns:
        For each layer, the indices of its operations in `NSE_27`; nothing for an empty text.

    Raises:
        SpaceError: The text has another form, or an operation that the first space does not have.
    """
    if not text:
        return []
    try:
        inherited = [tuple(int(i) for i in layer.split(".") if i) for layer in text.split("-")]
    except ValueError as error:
        raise SpaceError(f"inherited operations look like 6.11--0, got {text!r}") from error
    for number, chosen in enumerate(inherited, 1):
        if any(not 0 <= i < len(NSE_27) for i in chosen) or len(set(chosen)) != len(chosen):
            raise SpaceError(
                f"layer {number}: inherited operations are different numbers below {len(NSE_27)}, got {chosen}"
            )
    return inherited


def format_inherited(layers: Sequence[Sequence[int]]) -> str:
    """Return the text that `parse_inherited` reads."""
    return "-".join(".".join(map(str, chosen)) for chosen in layers)


def _second(inherited: str, stages: Sequence[Stage], max_branches: int, se: bool) -> LayerMaker:
    """Return a maker of layers of the second space, whose first candidates are the inherited operations."""
    operations_by_layer = parse_inherited(inherited)
    layers = sum(stage.layers for stage in stages)
    if operations_by_layer and len(operations_by_layer) != layers:
        raise SpaceError(
            f"the space has {layers} layers, and operations are inherited for {len(operations_by_layer)}"
        )
    remaining = iter(operations_by_layer or [()] * layers)

    def make_layer(name: str, shape: Shape, width: int, stride: int) -> Layer:
        operations = (*(NSE_27[i] for i in next(remaining)), *NSE_SECOND)
        return _multi_branch(operations, max_branches, se)(name, shape, width, stride)

    return make_layer


def _single_path(operations: Sequence[Operation], se: bool) -> LayerMaker:
    def make_layer(name: str, shape: Shape, width: int, stride: int) -> Layer:
        candidates = [make(shape, width, stride, se) for make in operations]
        if candidates[0].output == shape:
            # A single branch and its input are summed (NSE, Eq. 1 without the mean), which is a residual.
            candidates = [_residual(candidate) for candidate in candidates]
            candidates.append(identity(shape))
        return Layer(name, tuple(candidates))

    return make_layer


def _residual(operator: Operator) -> Operator:
    builder = Builder(operator.input)
    x = Value(builder, 0)
    h = Value(builder, builder.embed(operator.program, 0))
    return Operator(operator.family, operator.arguments, builder.build(add(x, h).index))


@space_factory("nse-27")
def nse_27(
    *,
    resolution: int = 224,
    width: float = 1.0,
    classes: int = 1000,
    channels: int = 3,
    branches: int = 5,
    se: bool = False,
) -> Space:
    """NSE's 27 operations, up to 5 in parallel, 22 layers (Table 4)."""
    make_layer = _multi_branch(NSE_27, branches, se)
    return _space(
        "nse-27",
        MACS_STAGES,
        make_layer,
        resolution=resolution,
        width=width,
        classes=classes,
        channels=channels,
    )


@space_factory("nse-second")
def nse_second(
    *,
    resolution: int = 224,
    width: float = 1.0,
    classes: int = 1000,
    channels: int = 3,
    branches: int = 5,
    se: bool = False,
    inherited: str = "",
) -> Space:
    """NSE's second space: 45 depthwise operations between grouped 1x1 projections; and what it inherits."""
    make_layer = _second(inherited, MACS_STAGES, branches, se)
    return _space(
        "nse-second",
        MACS_STAGES,
        make_layer,
        resolution=resolution,
        width=width,
        classes=classes,
        channels=channels,
    )


@space_factory("nse-19")
def nse_19(
    *,
    resolution: int = 224,
    width: float = 1.0,
    classes: int = 1000,
    channels: int = 3,
    branches: int = 6,
    se: bool = False,
) -> Space:
    """NSE's 19 operations for latency, up to 6 in parallel, 21 layers (Table 5)."""
    make_layer = _multi_branch(NSE_19, branches, se)
    return _space(
        "nse-19",
        LATENCY_STAGES,
        make_layer,
        resolution=resolution,
        width=width,
        classes=classes,
        channels=channels,
    )


@space_factory("pcnas-small")
def pcnas_small(
    *, resolution: int = 224, width: float = 1.0, classes: int = 1000, channels: int = 3, se: bool = False
) -> Space:
    """PC-NAS's small space: 9 MBConvs, and identity where shapes allow, in 21 layers."""
    make_layer = _single_path(_MBCONV, se)
    return _space(
        "pcnas-small",
        LATENCY_STAGES,
        make_layer,
        resolution=resolution,
        width=width,
        classes=classes,
        channels=channels,
    )


@space_factory("pcnas-large")
def pcnas_large(
    *, resolution: int = 224, width: float = 1.0, classes: int = 1000, channels: int = 3, se: bool = False
) -> Space:
    """PC-NAS's large space: MBConv, NConv, DConv and RConv, and identity where shapes allow."""
    make_layer = _single_path(NSE_19, se)
    return _space(
        "pcnas-large",
        LATENCY_STAGES,
        make_layer,
        resolution=resolution,
        width=width,
        classes=classes,
        channels=channels,
    )


def _small(
    name: str, make_layer: LayerMaker, resolution: int, width: float, classes: int, channels: int
) -> Space:
    return _space(
        name,
        SMALL_STAGES,
        make_layer,
        resolution=resolution,
        width=width,
        classes=classes,
        channels=channels,
        stem_stride=1,
        features=128,
    )


@space_factory("nse-27-mini")
def nse_27_mini(
    *, resolution: int = 14, width: float = 1.0, classes: int = 10, channels: int = 1, branches: int = 3
) -> Space:
    """NSE's 27 operations in 7 thin layers for small images."""
    return _small("nse-27-mini", _multi_branch(NSE_27, branches, False), resolution, width, classes, channels)


@space_factory("nse-second-mini")
def nse_second_mini(
    *,
    resolution: int = 14,
    width: float = 1.0,
    classes: int = 10,
    channels: int = 1,
    branches: int = 3,
    inherited: str = "",
) -> Space:
    """NSE's second space in 7 thin layers for small images."""
    make_layer = _second(inherited, SMALL_STAGES, branches, False)
    return _small("nse-second-mini", make_layer, resolution, width, classes, channels)


@space_factory("nse-19-mini")
def nse_19_mini(
    *, resolution: int = 14, width: float = 1.0, classes: int = 10, channels: int = 1, branches: int = 3
) -> Space:
    """NSE's 19 operations in 7 thin layers for small images."""
    return _small("nse-19-mini", _multi_branch(NSE_19, branches, False), resolution, width, classes, channels)


@space_factory("pcnas-small-mini")
def pcnas_small_mini(
    *, resolution: int = 14, width: float = 1.0, classes: int = 10, channels: int = 1
) -> Space:
    """PC-NAS's small space in 7 thin layers for small images."""
    return _small("pcnas-small-mini", _single_path(_MBCONV, False), resolution, width, classes, channels)


@space_factory("pcnas-large-mini")
def pcnas_large_mini(
    *, resolution: int = 14, width: float = 1.0, classes: int = 10, channels: int = 1
) -> Space:
    """PC-NAS's large space in 7 thin layers for small images."""
    return _small("pcnas-large-mini", _single_path(NSE_19, False), resolution, width, classes, channels)
