"""Spaces of inverted residual blocks: ProxylessNAS, FBNet, and NAS-Bench-Macro."""

from __future__ import annotations

from collections.abc import Sequence

from nascli.errors import SpaceError
from nascli.spaces.blocks import FixedBlock, Layer
from nascli.spaces.builtin.stages import LayerMaker, Stage, check_macro, make_divisible, make_layers, scaled
from nascli.spaces.operators.basic import conv_block, head, identity
from nascli.spaces.operators.definition import Operator
from nascli.spaces.operators.inverted_residual import mbconv
from nascli.spaces.primitives import Shape
from nascli.spaces.registry import space_factory
from nascli.spaces.space import Space

# Widths of the stem, the first block, the stages, and the features of the three published ProxylessNAS networks.
PROXYLESS_WIDTHS: dict[str, tuple[int, int, tuple[int, ...], int]] = {
    "mobile": (32, 16, (32, 40, 80, 96, 192, 320), 1280),
    "gpu": (40, 24, (32, 56, 112, 128, 256, 432), 1728),
    "cpu": (40, 24, (32, 48, 88, 104, 216, 360), 1432),
}
_PROXYLESS_LAYERS = ((4, 2), (4, 2), (4, 2), (4, 1), (4, 2), (1, 1))
_FBNET_STAGES = (
    Stage(16, 1, 1),
    Stage(24, 4, 2),
    Stage(32, 4, 2),
    Stage(64, 4, 2),
    Stage(112, 4, 1),
    Stage(184, 4, 2),
    Stage(352, 1, 1),
)
# Kernel, expansion ratio, and groups, in the order of published latency tables; skipping comes last.
FBNET_CHOICES = ((3, 1, 1), (3, 1, 2), (3, 3, 1), (3, 6, 1), (5, 1, 1), (5, 1, 2), (5, 3, 1), (5, 6, 1))


def _with_skip(name: str, candidates: list[Operator], shape: Shape) -> Layer:
    if candidates[0].output == shape:
        candidates.append(identity(shape))
    return Layer(name, tuple(candidates))


def mbconv_layers(kernels: Sequence[int], expansions: Sequence[int]) -> LayerMaker:
    """Return a maker of layers that choose kernel and expansion ratio, or are skipped where the shape allows it."""

    def make_layer(name: str, shape: Shape, width: int, stride: int) -> Layer:
        candidates = [
            mbconv(shape, width, kernel=kernel, expand=expand, stride=stride)
            for expand in expansions
            for kernel in kernels
        ]
        return _with_skip(name, candidates, shape)

    return make_layer


@space_factory("proxyless")
def proxyless(
    *,
    resolution: int = 224,
    width: float = 1.0,
    classes: int = 1000,
    channels: int = 3,
    macro: str = "mobile",
) -> Space:
    """ProxylessNAS (Cai et al. 2019): 21 layers of 6 MBConv choices, and skipping where shapes allow.

    `macro` names the published network ('mobile', 'gpu', 'cpu') whose widths are taken. The choices of a layer are
    kernels 3, 5, 7 with expansion 3, kernels 3, 5, 7 with expansion 6, and skipping, in this order.
    """
    check_macro(resolution, width, classes, channels)
    if macro not in PROXYLESS_WIDTHS:
        raise SpaceError(f"macro is one of {', '.join(PROXYLESS_WIDTHS)}, got {macro!r}")
    stem_width, first_width, widths, features = PROXYLESS_WIDTHS[macro]
    stem = conv_block((channels, resolution, resolution), make_divisible(stem_width * width), stride=2)
    first = mbconv(stem.output, make_divisible(first_width * width), expand=1)
    stages = [Stage(w, n, s) for w, (n, s) in zip(widths, _PROXYLESS_LAYERS, strict=True)]
    layers = make_layers(first.output, scaled(stages, width), mbconv_layers((3, 5, 7), (3, 6)))
    tail = head(layers[-1].output, classes, features=make_divisible(features * max(1.0, width)))
    return Space(
        "proxyless",
        (),
        (FixedBlock("stem", stem), FixedBlock("first", first), *layers, FixedBlock("head", tail)),
    )


@space_factory("proxyless-mini")
def proxyless_mini(
    *, resolution: int = 28, width: float = 1.0, depth: int = 3, classes: int = 10, channels: int = 1
) -> Space:
    """Ten MBConv layers (kernel 3, 5, 7; expansion 3, 6; or skipped) for small images.

    The candidates of ProxylessNAS on a network that trains in minutes on a CPU. `depth` is the number of layers of
    the first and the last stage; the stage between them has one more.
    """
    check_macro(resolution, width, classes, channels)
    if not 1 <= depth <= 16:
        raise SpaceError(f"depth must be in 1..16, got {depth}")
    stem = conv_block((channels, resolution, resolution), make_divisible(24 * width), stride=2)
    stages = [Stage(48, depth, 1), Stage(96, depth + 1, 2), Stage(192, depth, 2)]
    layers = make_layers(stem.output, scaled(stages, width), mbconv_layers((3, 5, 7), (3, 6)))
    tail = head(layers[-1].output, classes, features=make_divisible(384 * max(1.0, width)))
    return Space("proxyless-mini", (), (FixedBlock("stem", stem), *layers, FixedBlock("head", tail)))


def _fbnet_layer(name: str, shape: Shape, width: int, stride: int) -> Layer:
    candidates = [
        mbconv(shape, width, kernel=kernel, expand=expand, groups=groups, stride=stride, act="relu")
        for kernel, expand, groups in FBNET_CHOICES
    ]
    return _with_skip(name, candidates, shape)


@space_factory("fbnet")
def fbnet(
    *,
    resolution: int = 224,
    width: float = 1.0,
    classes: int = 1000,
    channels: int = 3,
    features: int = 1984,
) -> Space:
    """FBNet (Wu et al. 2019): 22 layers of 8 blocks, and skipping where shapes allow."""
    check_macro(resolution, width, classes, channels)
    stem = conv_block((channels, resolution, resolution), make_divisible(16 * width), stride=2, act="relu")
    layers = make_layers(stem.output, scaled(_FBNET_STAGES, width), _fbnet_layer)
    tail = head(layers[-1].output, classes, features=features, act="relu")
    return Space("fbnet", (), (FixedBlock("stem", stem), *layers, FixedBlock("head", tail)))


@space_factory("fbnet-mini")
def fbnet_mini(*, resolution: int = 28, width: float = 1.0, classes: int = 10, channels: int = 1) -> Space:
    """FBNet's blocks on a thin macro-architecture for small images."""
    check_macro(resolution, width, classes, channels)
    stem = conv_block((channels, resolution, resolution), make_divisible(16 * width), stride=2, act="relu")
    stages = [Stage(24, 3, 1), Stage(48, 4, 2), Stage(96, 3, 2)]
    layers = make_layers(stem.output, scaled(stages, width), _fbnet_layer)
    tail = head(layers[-1].output, classes, features=256, act="relu")
    return Space("fbnet-mini", (), (FixedBlock("stem", stem), *layers, FixedBlock("head", tail)))


def _nasbench_macro_layer(name: str, shape: Shape, width: int, stride: int) -> Layer:
    first = (
        identity(shape)
        if stride == 1 and shape.channels == width
        else conv_block(shape, width, kernel=1, stride=stride, act="none")
    )
    blocks = [mbconv(shape, width, kernel=k, expand=e, stride=stride) for k, e in ((3, 3), (5, 6))]
    return Layer(name, (first, *blocks))


def _nasbench_macro(name: str, resolution: int, width: float, classes: int, channels: int) -> Space:
    check_macro(resolution, width, classes, channels)
    stem = conv_block((channels, resolution, resolution), make_divisible(32 * width))
    stages = [Stage(64, 2, 2), Stage(128, 3, 2), Stage(256, 3, 2)]
    layers = make_layers(stem.output, scaled(stages, width), _nasbench_macro_layer)
    tail = head(layers[-1].output, classes, features=make_divisible(1280 * width))
    return Space(name, (), (FixedBlock("stem", stem), *layers, FixedBlock("head", tail)))


@space_factory("nasbench-macro")
def nasbench_macro(
    *, resolution: int = 32, width: float = 1.0, classes: int = 10, channels: int = 3
) -> Space:
    """NAS-Bench-Macro (Su et al. 2021): 8 layers of {identity, MB3_k3, MB6_k5} on CIFAR-10.

    Where the shape changes, the identity is a 1x1 convolution.
    """
    return _nasbench_macro("nasbench-macro", resolution, width, classes, channels)


@space_factory("nasbench-macro-mini")
def nasbench_macro_mini(
    *, resolution: int = 14, width: float = 0.25, classes: int = 10, channels: int = 1
) -> Space:
    """NAS-Bench-Macro's layers, thin, for small images."""
    return _nasbench_macro("nasbench-macro-mini", resolution, width, classes, channels)
