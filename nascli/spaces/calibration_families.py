"""Kinds of networks in small: the bodies of the networks on which a device is calibrated.

Each function appends a whole network to images, with widths and depths that its caller chooses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nascli.spaces.operators.attention import convnext as convnext_block
from nascli.spaces.operators.attention import transformer as transformer_block
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

_CLASSES = 1000
Block = Callable[[Value, int, int], Value]


def _classifier(x: Value) -> Value:
    return linear(global_pool(x), _CLASSES)


def _stages(x: Value, widths: Sequence[int], depths: Sequence[int], block: Block, first: int = 2) -> Value:
    """Append stages of equal blocks; the first block of each has a stride of 2, that of the first stage `first`."""
    for number, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        for index in range(depth):
            stride = 1 if index else first if number == 0 else 2
            x = block(x, width, stride)
    return x


def plain(x: Value, widths: Sequence[int], features: int) -> Value:
    """VGG: pairs of 3x3 convolutions, maximum pooling, and fully connected layers (Simonyan and Zisserman 2015)."""
    for width in widths:
        x = conv(conv(x, width, 3, act="relu"), width, 3, act="relu")
        x = pool(x, "max", 2, stride=2, padding=(0, 0, 0, 0))
    h = activation(linear(global_pool(x), features), "relu")
    return linear(activation(linear(h, features), "relu"), _CLASSES)


def reparametrised(x: Value, widths: Sequence[int], depths: Sequence[int]) -> Value:
    """RepVGG as it is deployed: 3x3 convolutions and nothing else (Ding et al. 2021)."""
    x = conv(x, widths[0], 3, stride=2, act="relu")
    return _classifier(_stages(x, widths, depths, lambda h, w, s: conv(h, w, 3, stride=s, act="relu")))


def residual(x: Value, widths: Sequence[int], depths: Sequence[int]) -> Value:
    """ResNet of basic blocks."""
    x = resnet_stem.function(x, widths[0])
    return _classifier(
        _stages(x, widths, depths, lambda h, w, s: basic_block.function(h, w, stride=s), first=1)
    )


def bottleneck(x: Value, widths: Sequence[int], depths: Sequence[int]) -> Value:
    """ResNet of bottlenecks."""
    x = resnet_stem.function(x, widths[0] // 4)
    return _classifier(
        _stages(x, widths, depths, lambda h, w, s: bottleneck_block.function(h, w, stride=s), first=1)
    )


def inverted(x: Value, widths: Sequence[int], depths: Sequence[int], *, kernel: int, expand: int) -> Value:
    """Inverted residuals."""
    x = conv(x, 16, 3, stride=2, act="relu6")

    def block(h: Value, width: int, stride: int) -> Value:
        return mbconv.function(h, width, kernel=kernel, expand=expand, stride=stride)

    return _classifier(conv(_stages(x, widths, depths, block), 4 * widths[-1], 1, act="relu6"))


def separable(x: Value, widths: Sequence[int], depths: Sequence[int]) -> Value:
    """MobileNetV1: depthwise 3x3 and 1x1 in turn (Howard et al. 2017)."""
    x = conv(x, widths[0] // 2, 3, stride=2, act="relu6")

    def block(h: Value, width: int, stride: int) -> Value:
        h = conv(h, h.channels, 3, stride=stride, groups=h.channels, act="relu6")
        return conv(h, width, 1, act="relu6")

    return _classifier(_stages(x, widths, depths, block, first=1))


def excited(x: Value, widths: Sequence[int], depths: Sequence[int], *, kernel: int, act: str) -> Value:
    """Inverted residuals with squeeze-and-excitation, as in MobileNetV3 and EfficientNet."""
    x = conv(x, 16, 3, stride=2, act=act)

    def block(h: Value, width: int, stride: int) -> Value:
        return mbconv.function(h, width, kernel=kernel, expand=4, stride=stride, se=True, act=act)

    return _classifier(conv(_stages(x, widths, depths, block), 4 * widths[-1], 1, act=act))


def grouped(
    x: Value, widths: Sequence[int], depths: Sequence[int], *, group_width: int, se: bool = False
) -> Value:
    """RegNet."""
    x = conv(x, 32, 3, stride=2, act="relu")

    def block(h: Value, width: int, stride: int) -> Value:
        return regnet_block.function(h, width, stride=stride, group_width=group_width, se=se)

    return _classifier(_stages(x, widths, depths, block))


def dense_concat(x: Value, growth: int, depths: Sequence[int]) -> Value:
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


def shuffled(x: Value, widths: Sequence[int], depths: Sequence[int]) -> Value:
    """ShuffleNetV2."""
    x = pool(conv(x, 24, 3, stride=2, act="relu"), "max", 3, stride=2)
    x = _stages(x, widths, depths, lambda h, w, s: shufflenet_block.function(h, w, stride=s))
    return _classifier(conv(x, 1024, 1, act="relu"))


def branched(x: Value, widths: Sequence[int], depths: Sequence[int]) -> Value:
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


def large_kernels(x: Value, widths: Sequence[int], depths: Sequence[int], *, kernel: int) -> Value:
    """Depthwise convolutions with large kernels between 1x1 convolutions (Ding et al. 2022)."""
    x = conv(x, widths[0], 3, stride=4, act="relu")

    def block(h: Value, width: int, stride: int) -> Value:
        if stride > 1 or h.channels != width:
            h = conv(h, width, 3, stride=stride, act="relu")
        spatial = conv(conv(h, width, 1, act="relu"), width, kernel, groups=width, act="relu")
        return add(h, conv(spatial, width, 1))

    return _classifier(_stages(x, widths, depths, block, first=1))


def convnext(x: Value, widths: Sequence[int], depths: Sequence[int]) -> Value:
    """ConvNeXt."""
    x = layer_norm(conv(x, widths[0], 4, stride=4, norm=False, bias=True, padding=(0, 0, 0, 0)))
    x = _stages(x, widths, depths, lambda h, w, s: convnext_block.function(h, w, stride=s), first=1)
    return _classifier(x)


def transformer(x: Value, width: int, depth: int, *, patch: int, heads: int) -> Value:
    """A vision transformer without a class token (Dosovitskiy et al. 2021)."""
    x = conv(x, width, patch, stride=patch, norm=False, bias=True, padding=(0, 0, 0, 0))
    for _ in range(depth):
        x = transformer_block.function(x, heads=heads, head_dim=width // heads)
    return _classifier(layer_norm(x))


def pyramid(x: Value, widths: Sequence[int], depths: Sequence[int]) -> Value:
    """A transformer whose resolution falls from stage to stage, with fewer keys than queries (Wang et al. 2021)."""
    reduction = 8
    for number, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        kernel, stride = (7, 4) if number == 0 else (3, 2)
        x = layer_norm(conv(x, width, kernel, stride=stride, norm=False, bias=True))
        for _ in range(depth):
            x = transformer_block.function(x, heads=width // 32, reduction=reduction)
        reduction = max(1, reduction // 2)
    return _classifier(layer_norm(x))


def pooled(x: Value, widths: Sequence[int], depths: Sequence[int]) -> Value:
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


def mixed(x: Value, width: int, depth: int, *, patch: int, kernel: int) -> Value:
    """ConvMixer: a patch embedding, then depthwise and 1x1 convolutions at one resolution (Trockman and Kolter)."""
    x = conv(x, width, patch, stride=patch, norm=False, bias=True, padding=(0, 0, 0, 0))
    x = batch_norm(activation(x, "gelu"))
    for _ in range(depth):
        h = conv(x, width, kernel, groups=width, norm=False, bias=True, act="gelu")
        h = conv(add(x, batch_norm(h)), width, 1, norm=False, bias=True, act="gelu")
        x = batch_norm(h)
    return _classifier(x)


def hybrid(x: Value, widths: Sequence[int], depths: Sequence[int]) -> Value:
    """Inverted residuals at high resolution and transformer blocks at low resolution (Mehta and Rastegari 2022)."""
    x = conv(x, 16, 3, stride=2, act="swish")
    for number, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        x = mbconv.function(x, width, expand=4, stride=2, act="swish")
        for _ in range(depth):
            if number < 2:
                x = mbconv.function(x, width, expand=4, act="swish")
            else:
                x = transformer_block.function(x, heads=4, head_dim=width // 4, expand=2, act="swish")
    return _classifier(conv(x, 4 * widths[-1], 1, act="swish"))


def ghost(x: Value, widths: Sequence[int], depths: Sequence[int]) -> Value:
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


def cross_stage(x: Value, widths: Sequence[int], depths: Sequence[int]) -> Value:
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


def decoder(x: Value, widths: Sequence[int], *, transposed: bool) -> Value:
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


def perceptrons(x: Value, width: int, depth: int, *, patch: int) -> Value:
    """MLPs on the channels of patches, and one across all patches at the end: products of matrices and little else."""
    x = conv(x, width, patch, stride=patch, norm=False, bias=True, padding=(0, 0, 0, 0))
    for _ in range(depth):
        x = add(x, dense(activation(dense(layer_norm(x), 4 * width), "gelu"), width))
    h = activation(linear(global_pool(x), 4 * width), "gelu")
    return linear(activation(linear(h, 4 * width), "gelu"), _CLASSES)


def multi_branch(x: Value, widths: Sequence[int], depths: Sequence[int]) -> Value:
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
