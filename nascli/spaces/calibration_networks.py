"""The networks that `nascli calibrate` measures to learn how a device's whole networks differ from sums of operators.

The list is fixed, so that what one user measures is recognised in the store of another. It covers families of networks
rather than the best of one: what a correction is worth for a network unlike those that it was fitted on is known by
leaving whole families out. Networks that share most of what they are built of belong to one family.

All are programs of primitives, good for every batch. At batch 1 they take about 0.3 to 40 ms on one core of a server's
CPU and have 0.5 to 47 MB of weights. Names end in the resolution.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from nascli.errors import UnknownNameError
from nascli.spaces.operators.attention import convnext, transformer
from nascli.spaces.operators.basic import squeeze_excite
from nascli.spaces.operators.bottlenecks import dwconv, nconv, rconv
from nascli.spaces.operators.definition import (
    Value,
    activation,
    add,
    batch_norm,
    concat,
    conv,
    conv_transpose,
    dense,
    gain,
    global_pool,
    group_norm,
    layer_norm,
    linear,
    pool,
    resize,
    split,
    sub,
)
from nascli.spaces.operators.inverted_residual import mbconv
from nascli.spaces.operators.residual_blocks import (
    basic_block,
    bottleneck_block,
    regnet_block,
    resnet_stem,
)
from nascli.spaces.operators.shuffle_blocks import shufflenet_block
from nascli.spaces.primitives import Shape
from nascli.spaces.programs import Builder, Program
from nascli.spaces.reference_networks import reference_network

# Networks are added under new names, and a name keeps its network: the version says which names there are.
VERSION = 1
_CLASSES = 1000
Block = Callable[[Value, int, int], Value]


@dataclass(frozen=True)
class CalibrationNetwork:
    """A network that is measured once per setup.

    Attributes:
        name: Its name, which ends in the resolution of its images.
        family: What kind of network it is.
        build: Makes the program.
    """

    name: str
    family: str
    build: Callable[[], Program]

    @cached_property
    def program(self) -> Program:
        """What the network computes."""
        return self.build()


@lru_cache(maxsize=1)
def calibration_networks() -> tuple[CalibrationNetwork, ...]:
    """Return all networks of the list; those of one family follow one another."""
    return tuple(
        CalibrationNetwork(name, family, build)
        for family, members in _FAMILIES.items()
        for name, build in members.items()
    )


def calibration_network(name: str) -> CalibrationNetwork:
    """Return a network of the list by name.

    Raises:
        UnknownNameError: The list has no network with this name.
    """
    known = {network.name: network for network in calibration_networks()}
    if name not in known:
        raise UnknownNameError("calibration network", name, sorted(known))
    return known[name]


def _on_images(resolution: int, body: Callable[[Value], Value]) -> Callable[[], Program]:
    """Return what builds the program of a network on images of three channels."""

    def build() -> Program:
        builder = Builder(Shape(3, resolution, resolution))
        return builder.build(body(Value(builder, 0)).index)

    return build


def _published(name: str) -> Callable[[], Program]:
    return lambda: reference_network(name).program


def _classifier(x: Value) -> Value:
    return linear(global_pool(x), _CLASSES)


def _stages(x: Value, widths: Sequence[int], depths: Sequence[int], block: Block, first: int = 2) -> Value:
    """Append stages of equal blocks; the first block of each has a stride of 2, that of the first stage `first`."""
    for number, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        for index in range(depth):
            stride = 1 if index else first if number == 0 else 2
            x = block(x, width, stride)
    return x


def _plain(x: Value, widths: Sequence[int], features: int) -> Value:
    """VGG: pairs of 3x3 convolutions, maximum pooling, and fully connected layers (Simonyan and Zisserman 2015)."""
    for width in widths:
        x = conv(conv(x, width, 3, act="relu"), width, 3, act="relu")
        x = pool(x, "max", 2, stride=2, padding=(0, 0, 0, 0))
    h = activation(linear(global_pool(x), features), "relu")
    return linear(activation(linear(h, features), "relu"), _CLASSES)


def _reparametrised(x: Value, widths: Sequence[int], depths: Sequence[int]) -> Value:
    """RepVGG as it is deployed: 3x3 convolutions and nothing else (Ding et al. 2021)."""
    x = conv(x, widths[0], 3, stride=2, act="relu")
    return _classifier(_stages(x, widths, depths, lambda h, w, s: conv(h, w, 3, stride=s, act="relu")))


def _residual(x: Value, widths: Sequence[int], depths: Sequence[int]) -> Value:
    """ResNet of basic blocks."""
    x = resnet_stem.function(x, widths[0])
    return _classifier(
        _stages(x, widths, depths, lambda h, w, s: basic_block.function(h, w, stride=s), first=1)
    )


def _bottleneck(x: Value, widths: Sequence[int], depths: Sequence[int]) -> Value:
    """ResNet of bottlenecks."""
    x = resnet_stem.function(x, widths[0] // 4)
    return _classifier(
        _stages(x, widths, depths, lambda h, w, s: bottleneck_block.function(h, w, stride=s), first=1)
    )


def _inverted(x: Value, widths: Sequence[int], depths: Sequence[int], *, kernel: int, expand: int) -> Value:
    """Inverted residuals."""
    x = conv(x, 16, 3, stride=2, act="relu6")

    def block(h: Value, width: int, stride: int) -> Value:
        return mbconv.function(h, width, kernel=kernel, expand=expand, stride=stride)

    return _classifier(conv(_stages(x, widths, depths, block), 4 * widths[-1], 1, act="relu6"))


def _separable(x: Value, widths: Sequence[int], depths: Sequence[int]) -> Value:
    """MobileNetV1: depthwise 3x3 and 1x1 in turn (Howard et al. 2017)."""
    x = conv(x, widths[0] // 2, 3, stride=2, act="relu6")

    def block(h: Value, width: int, stride: int) -> Value:
        h = conv(h, h.channels, 3, stride=stride, groups=h.channels, act="relu6")
        return conv(h, width, 1, act="relu6")

    return _classifier(_stages(x, widths, depths, block, first=1))


def _excited(x: Value, widths: Sequence[int], depths: Sequence[int], *, kernel: int, act: str) -> Value:
    """Inverted residuals with squeeze-and-excitation, as in MobileNetV3 and EfficientNet."""
    x = conv(x, 16, 3, stride=2, act=act)

    def block(h: Value, width: int, stride: int) -> Value:
        return mbconv.function(h, width, kernel=kernel, expand=4, stride=stride, se=True, act=act)

    return _classifier(conv(_stages(x, widths, depths, block), 4 * widths[-1], 1, act=act))


def _grouped(
    x: Value, widths: Sequence[int], depths: Sequence[int], *, group_width: int, se: bool = False
) -> Value:
    """RegNet."""
    x = conv(x, 32, 3, stride=2, act="relu")

    def block(h: Value, width: int, stride: int) -> Value:
        return regnet_block.function(h, width, stride=stride, group_width=group_width, se=se)

    return _classifier(_stages(x, widths, depths, block))


def _dense_concat(x: Value, growth: int, depths: Sequence[int]) -> Value:
    """DenseNet: every layer reads what all layers before it in its stage gave (Huang et al. 2017)."""
    x = resnet_stem.function(x, 2 * growth)
    for number, depth in enumerate(depths):
        if number:
            x = conv(activation(batch_norm(x), "relu"), x.channels // 2, 1, norm=False)
            x = pool(x, "avg", 2, stride=2, padding=(0, 0, 0, 0))
        for _ in range(depth):
            h = conv(activation(batch_norm(x), "relu"), 4 * growth, 1, act="relu")
            x = concat(x, conv(h, growth, 3, norm=False))
    return _classifier(activation(batch_norm(x), "relu"))


def _shuffled(x: Value, widths: Sequence[int], depths: Sequence[int]) -> Value:
    """ShuffleNetV2."""
    x = pool(conv(x, 24, 3, stride=2, act="relu"), "max", 3, stride=2)
    x = _stages(x, widths, depths, lambda h, w, s: shufflenet_block.function(h, w, stride=s))
    return _classifier(conv(x, 1024, 1, act="relu"))


def _branched(x: Value, widths: Sequence[int], depths: Sequence[int]) -> Value:
    """Inception: 1x1, 3x3, factorised 7x7, and pooling side by side (Szegedy et al. 2016)."""
    x = conv(conv(x, 32, 3, stride=2, act="relu"), 64, 3, stride=2, act="relu")

    def block(h: Value, width: int, stride: int) -> Value:
        part = width // 4
        if stride > 1:
            return concat(conv(h, width // 2, 3, stride=2, act="relu"), pool(h, "max", 3, stride=2))
        spatial = conv(conv(h, part, 1, act="relu"), part, 3, act="relu")
        factorised = conv(
            conv(conv(h, part, 1, act="relu"), part, (1, 7), act="relu"), part, (7, 1), act="relu"
        )
        pooled = conv(pool(h, "avg", 3, count_padding=True), part, 1, act="relu")
        return concat(conv(h, part, 1, act="relu"), spatial, factorised, pooled)

    return _classifier(_stages(x, widths, depths, block))


def _large_kernels(x: Value, widths: Sequence[int], depths: Sequence[int], *, kernel: int) -> Value:
    """Depthwise convolutions with large kernels between 1x1 convolutions (Ding et al. 2022)."""
    x = conv(x, widths[0], 3, stride=4, act="relu")

    def block(h: Value, width: int, stride: int) -> Value:
        if stride > 1 or h.channels != width:
            h = conv(h, width, 3, stride=stride, act="relu")
        spatial = conv(conv(h, width, 1, act="relu"), width, kernel, groups=width, act="relu")
        return add(h, conv(spatial, width, 1))

    return _classifier(_stages(x, widths, depths, block, first=1))


def _convnext(x: Value, widths: Sequence[int], depths: Sequence[int]) -> Value:
    """ConvNeXt."""
    x = layer_norm(conv(x, widths[0], 4, stride=4, norm=False, bias=True, padding=(0, 0, 0, 0)))
    x = _stages(x, widths, depths, lambda h, w, s: convnext.function(h, w, stride=s), first=1)
    return _classifier(x)


def _transformer(x: Value, width: int, depth: int, *, patch: int, heads: int) -> Value:
    """A vision transformer without a class token (Dosovitskiy et al. 2021)."""
    x = conv(x, width, patch, stride=patch, norm=False, bias=True, padding=(0, 0, 0, 0))
    for _ in range(depth):
        x = transformer.function(x, heads=heads, head_dim=width // heads)
    return _classifier(layer_norm(x))


def _pyramid(x: Value, widths: Sequence[int], depths: Sequence[int]) -> Value:
    """A transformer whose resolution falls from stage to stage, with fewer keys than queries (Wang et al. 2021)."""
    reduction = 8
    for number, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        kernel, stride = (7, 4) if number == 0 else (3, 2)
        x = layer_norm(conv(x, width, kernel, stride=stride, norm=False, bias=True))
        for _ in range(depth):
            x = transformer.function(x, heads=width // 32, reduction=reduction)
        reduction = max(1, reduction // 2)
    return _classifier(layer_norm(x))


def _pooled(x: Value, widths: Sequence[int], depths: Sequence[int]) -> Value:
    """PoolFormer: pooling mixes positions, and an MLP channels (Yu et al. 2022)."""
    for number, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        kernel, stride = (7, 4) if number == 0 else (3, 2)
        x = conv(x, width, kernel, stride=stride, norm=False, bias=True)
        for _ in range(depth):
            normal = group_norm(x, 1)
            x = add(x, sub(pool(normal, "avg", 3), normal))
            h = conv(group_norm(x, 1), 4 * width, 1, norm=False, bias=True, act="gelu")
            x = add(x, conv(h, width, 1, norm=False, bias=True))
    return _classifier(group_norm(x, 1))


def _mixed(x: Value, width: int, depth: int, *, patch: int, kernel: int) -> Value:
    """ConvMixer: a patch embedding, then depthwise and 1x1 convolutions at one resolution (Trockman and Kolter)."""
    x = conv(x, width, patch, stride=patch, norm=False, bias=True, padding=(0, 0, 0, 0))
    x = batch_norm(activation(x, "gelu"))
    for _ in range(depth):
        h = conv(x, width, kernel, groups=width, norm=False, bias=True, act="gelu")
        h = conv(add(x, batch_norm(h)), width, 1, norm=False, bias=True, act="gelu")
        x = batch_norm(h)
    return _classifier(x)


def _hybrid(x: Value, widths: Sequence[int], depths: Sequence[int]) -> Value:
    """Inverted residuals at high resolution and transformer blocks at low resolution (Mehta and Rastegari 2022)."""
    x = conv(x, 16, 3, stride=2, act="swish")
    for number, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        x = mbconv.function(x, width, expand=4, stride=2, act="swish")
        for _ in range(depth):
            if number < 2:
                x = mbconv.function(x, width, expand=4, act="swish")
            else:
                x = transformer.function(x, heads=4, head_dim=width // 4, expand=2, act="swish")
    return _classifier(conv(x, 4 * widths[-1], 1, act="swish"))


def _ghost(x: Value, widths: Sequence[int], depths: Sequence[int]) -> Value:
    """GhostNet: half of the channels by 1x1 convolutions, the others from those by depthwise ones (Han et al. 2020)."""
    x = conv(x, 16, 3, stride=2, act="relu")

    def ghost(h: Value, width: int, act: str | None) -> Value:
        own = conv(h, width // 2, 1, act=act)
        return concat(own, conv(own, width // 2, 3, groups=width // 2, act=act))

    def block(h: Value, width: int, stride: int) -> Value:
        inner = ghost(h, 4 * h.channels, "relu")
        if stride > 1:
            inner = conv(inner, inner.channels, 3, stride=stride, groups=inner.channels)
        inner = ghost(squeeze_excite(inner, max(8, inner.channels // 4)), width, None)
        if stride == 1 and h.channels == width:
            return add(h, inner)
        shortcut = conv(h, h.channels, 3, stride=stride, groups=h.channels)
        return add(conv(shortcut, width, 1), inner)

    return _classifier(conv(_stages(x, widths, depths, block), 960, 1, act="relu"))


def _cross_stage(x: Value, widths: Sequence[int], depths: Sequence[int]) -> Value:
    """Cross-stage partial networks: residual blocks on half of the channels (Wang et al. 2020)."""
    x = conv(x, 32, 3, stride=2, act="leaky_relu")
    for width, depth in zip(widths, depths, strict=True):
        x = conv(x, width, 3, stride=2, act="leaky_relu")
        around, through = split(conv(x, width, 1, act="leaky_relu"), [width // 2, width // 2])
        for _ in range(depth):
            h = conv(through, width // 2, 1, act="leaky_relu")
            through = add(through, conv(h, width // 2, 3, act="leaky_relu"))
        x = conv(concat(around, through), width, 1, act="leaky_relu")
    return _classifier(x)


def _decoder(x: Value, widths: Sequence[int], *, transposed: bool) -> Value:
    """An encoder and a decoder with connections between equal resolutions (Ronneberger et al. 2015)."""
    x = conv(x, widths[0], 3, stride=2, act="relu")
    skipped = []
    for width in widths[1:]:
        skipped.append(x)
        x = conv(conv(x, width, 3, stride=2, act="relu"), width, 3, act="relu")
    for skip in reversed(skipped):
        if transposed:
            x = conv_transpose(x, skip.channels, 2, stride=2, act="relu")
        else:
            x = resize(
                conv(x, skip.channels, 1, act="relu"), skip.shape.height, skip.shape.width, mode="bilinear"
            )
        x = conv(concat(x, skip), skip.channels, 3, act="relu")
    return conv(x, 21, 1, norm=False, bias=True)


def _perceptrons(x: Value, width: int, depth: int, *, patch: int) -> Value:
    """MLPs on the channels of patches, and one across all patches at the end: products of matrices and little else."""
    x = conv(x, width, patch, stride=patch, norm=False, bias=True, padding=(0, 0, 0, 0))
    for _ in range(depth):
        x = add(x, dense(activation(dense(layer_norm(x), 4 * width), "gelu"), width))
    h = activation(linear(global_pool(x), 4 * width), "gelu")
    return linear(activation(linear(h, 4 * width), "gelu"), _CLASSES)


def _multi_branch(x: Value, widths: Sequence[int], depths: Sequence[int]) -> Value:
    """Blocks that average dense, factorised, and depthwise bottlenecks, as NSE finds them (Ci et al. 2021)."""
    x = conv(x, widths[0], 3, stride=2, act="relu")

    def block(h: Value, width: int, stride: int) -> Value:
        branches = [
            nconv.function(h, width, stride=stride),
            rconv.function(h, width, kernel=7, stride=stride),
            dwconv.function(h, width, kernel=5, expand=2, stride=stride),
        ]
        kept = [h] if stride == 1 and h.channels == width else []
        return gain(add(*kept, *branches), 1 / (len(kept) + len(branches)))

    return _classifier(_stages(x, widths, depths, block))


_FAMILIES: dict[str, dict[str, Callable[[], Program]]] = {
    "plain": {
        "plain-128": _on_images(128, lambda x: _plain(x, (16, 32, 64, 128, 256), 1024)),
        "plain-reparametrised-160": _on_images(
            160, lambda x: _reparametrised(x, (48, 48, 96, 192, 512), (1, 2, 3, 4, 1))
        ),
    },
    "residual": {
        "resnet18-224": _published("resnet18"),
        "residual-narrow-160": _on_images(160, lambda x: _residual(x, (24, 48, 96, 192), (2, 2, 2, 2))),
    },
    "bottleneck": {
        "bottleneck-160": _on_images(160, lambda x: _bottleneck(x, (128, 256, 512, 1024), (2, 3, 4, 2))),
    },
    "inverted-residual": {
        "mobilenetv2-224": _published("mobilenetv2"),
        "inverted-residual-96": _on_images(
            96, lambda x: _inverted(x, (24, 48, 96), (2, 4, 3), kernel=5, expand=3)
        ),
    },
    "separable": {
        "separable-128": _on_images(128, lambda x: _separable(x, (32, 64, 128, 256, 512), (1, 2, 2, 6, 2))),
    },
    "squeeze-excitation": {
        "squeeze-excitation-224": _on_images(
            224, lambda x: _excited(x, (24, 40, 112), (2, 3, 5), kernel=3, act="hswish")
        ),
        "squeeze-excitation-swish-160": _on_images(
            160, lambda x: _excited(x, (32, 112, 192), (1, 4, 5), kernel=5, act="swish")
        ),
    },
    "grouped": {
        "grouped-224": _on_images(
            224, lambda x: _grouped(x, (24, 56, 152, 368), (1, 1, 4, 7), group_width=8)
        ),
        "grouped-squeeze-160": _on_images(
            160, lambda x: _grouped(x, (48, 96, 192, 432), (1, 2, 4, 2), group_width=16, se=True)
        ),
    },
    "dense-concatenation": {
        "dense-concatenation-160": _on_images(160, lambda x: _dense_concat(x, 32, (2, 3, 3, 2))),
    },
    "shuffle": {
        "shufflenetv2-224": _published("shufflenetv2-1.0"),
        "shuffle-wide-128": _on_images(128, lambda x: _shuffled(x, (176, 352, 704), (4, 8, 4))),
    },
    "inception": {
        "inception-160": _on_images(160, lambda x: _branched(x, (128, 256, 512), (3, 4, 3))),
    },
    "large-kernel": {
        "large-kernel-13-160": _on_images(
            160, lambda x: _large_kernels(x, (48, 96, 192, 384), (2, 2, 4, 2), kernel=13)
        ),
    },
    "convnext": {
        "convnext-160": _on_images(160, lambda x: _convnext(x, (40, 80, 160, 320), (2, 2, 6, 2))),
        "convnext-wide-96": _on_images(96, lambda x: _convnext(x, (64, 128, 256, 512), (1, 1, 3, 1))),
    },
    "transformer": {
        "transformer-patch-16-224": _on_images(224, lambda x: _transformer(x, 192, 8, patch=16, heads=3)),
        "transformer-wide-128": _on_images(128, lambda x: _transformer(x, 320, 6, patch=16, heads=5)),
    },
    "pyramid-transformer": {
        "pyramid-transformer-160": _on_images(160, lambda x: _pyramid(x, (32, 64, 160, 256), (2, 2, 2, 2))),
    },
    "pooling": {
        "pooling-160": _on_images(160, lambda x: _pooled(x, (48, 96, 192, 384), (2, 2, 4, 2))),
    },
    "convolutional-mixer": {
        "convolutional-mixer-160": _on_images(160, lambda x: _mixed(x, 192, 8, patch=10, kernel=9)),
    },
    "hybrid": {
        "hybrid-192": _on_images(192, lambda x: _hybrid(x, (24, 48, 96, 160), (1, 1, 3, 3))),
    },
    "ghost": {
        "ghost-224": _on_images(224, lambda x: _ghost(x, (24, 40, 80, 160), (2, 2, 4, 4))),
    },
    "cross-stage": {
        "cross-stage-160": _on_images(160, lambda x: _cross_stage(x, (64, 128, 256, 512), (1, 2, 3, 1))),
    },
    "encoder-decoder": {
        "encoder-decoder-128": _on_images(
            128, lambda x: _decoder(x, (16, 32, 64, 128, 256), transposed=False)
        ),
        "encoder-decoder-transposed-96": _on_images(
            96, lambda x: _decoder(x, (24, 48, 96, 192), transposed=True)
        ),
    },
    "perceptron": {
        "perceptron-96": _on_images(96, lambda x: _perceptrons(x, 256, 5, patch=16)),
    },
    "multi-branch": {
        "multi-branch-128": _on_images(128, lambda x: _multi_branch(x, (32, 64, 128, 256), (1, 2, 3, 2))),
    },
}
