"""Published networks by name. Those that lie in a built-in space are architectures of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nascli.errors import UnknownNameError
from nascli.spaces.architecture import Architecture
from nascli.spaces.blocks import FixedBlock, join_branches
from nascli.spaces.builtin.branches import MACS_STAGES, NSE_27, NSE_SECOND
from nascli.spaces.builtin.mixed_precision import RESNET_18, RESNET_34, stages_of
from nascli.spaces.builtin.mobile import FBNET_CHOICES
from nascli.spaces.builtin.stages import Stage, make_divisible, scaled, stage_blocks
from nascli.spaces.catalog import make_space
from nascli.spaces.network import Network
from nascli.spaces.operators.basic import conv_block, head, max_pool
from nascli.spaces.operators.definition import Operator
from nascli.spaces.operators.inverted_residual import mbconv
from nascli.spaces.operators.residual_blocks import basic_block, bottleneck_block, resnet_stem
from nascli.spaces.operators.shuffle_blocks import shufflenet_block

_IMAGE = (3, 224, 224)


def mobilenetv2(width: float = 1.0) -> Network:
    """Return MobileNetV2 (Sandler et al. 2018) with its channels multiplied by `width`."""
    settings = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )
    operators = [conv_block(_IMAGE, make_divisible(32 * width), stride=2)]
    for expand, channels, repeats, stride in settings:
        for index in range(repeats):
            shape = operators[-1].output
            out = make_divisible(channels * width)
            operators.append(mbconv(shape, out, expand=expand, stride=stride if index == 0 else 1))
    features = make_divisible(1280 * max(1.0, width))
    operators.append(head(operators[-1].output, 1000, features=features))
    return _chain(f"mobilenetv2-{width:g}", operators)


def shufflenetv2(width: str) -> Network:
    """Return ShuffleNetV2 (Ma et al. 2018) of width '0.5', '1.0', '1.5', or '2.0'."""
    widths = {"0.5": (48, 96, 192), "1.0": (116, 232, 464), "1.5": (176, 352, 704), "2.0": (244, 488, 976)}[
        width
    ]
    stem = conv_block(_IMAGE, 24, stride=2, act="relu")
    operators = [stem, max_pool(stem.output, kernel=3, stride=2)]
    stages = [Stage(w, n, 2) for w, n in zip(widths, (4, 8, 4), strict=True)]
    for _, shape, out, stride in stage_blocks(operators[-1].output, stages):
        operators.append(shufflenet_block(shape, out, stride=stride))
    features = 2048 if width == "2.0" else 1024
    operators.append(head(operators[-1].output, 1000, features=features, act="relu"))
    return _chain(f"shufflenetv2-{width}", operators)


def resnet(
    layers: Sequence[int], name: str, *, bottleneck: bool = False, bits: tuple[int, int] = (32, 32)
) -> Network:
    """Return a ResNet (He et al. 2016).

    Args:
        layers: Number of blocks of each stage.
        name: Name of the network.
        bottleneck: Whether blocks are bottlenecks, as in ResNet-50.
        bits: Bit widths of weights and activations of basic blocks.
    """
    stem = resnet_stem(_IMAGE, 64)
    operators = [stem]
    for _, shape, out, stride in stage_blocks(stem.output, stages_of(layers)):
        if bottleneck:
            operators.append(bottleneck_block(operators[-1].output, out * 4, stride=stride))
        else:
            operators.append(
                basic_block(shape, out, stride=stride, weight_bits=bits[0], activation_bits=bits[1])
            )
    operators.append(head(operators[-1].output, 1000))
    return _chain(name, operators)


def _chain(name: str, operators: Sequence[Operator]) -> Network:
    return Network(name, tuple(FixedBlock(f"block{i}", operator) for i, operator in enumerate(operators)))


# Kernel and expansion of each layer; a dash skips the layer.
_PROXYLESS: dict[str, str] = {
    "mobile": "53 33 - - 73 33 53 53 76 53 53 53 56 53 53 53 76 76 73 73 76",
    "gpu": "53 - - - 73 - - 33 76 - - 53 56 - 33 53 76 76 76 56 76",
    "cpu": "36 33 33 33 36 33 33 53 36 - - 33 56 33 33 33 56 53 53 33 56",
}


def _proxyless(macro: str) -> Architecture:
    space = make_space("proxyless", macro=macro)
    choices = [
        6 if word == "-" else 3 * (word[1] == "6") + (3, 5, 7).index(int(word[0]))
        for word in _PROXYLESS[macro].split()
    ]
    return Architecture(space, tuple(choices), f"proxyless-{macro}")


# Kernel and expansion of each layer, with g for two groups; and the number of features.
_FBNET: dict[str, tuple[str, int]] = {
    "a": ("- 33 31 - - 56 33 51 33 56 53 51g 56 36 51g 53 31g 56 56 53 56 56", 1504),
    "b": ("31 36 51 31 31 56 53 36 56 56 56 - 53 56 31 51 53 56 51 56 56 36", 1984),
    "c": ("31 36 - 31 31 56 53 56 36 56 53 56 56 56 56 56 53 56 56 56 56 36", 1984),
}


def _fbnet(letter: str) -> Architecture:
    text, features = _FBNET[letter]
    space = make_space("fbnet", features=features)
    choices = [
        8
        if word == "-"
        else FBNET_CHOICES.index((int(word[0]), int(word[1]), 2 if word.endswith("g") else 1))
        for word in text.split()
    ]
    return Architecture(space, tuple(choices), f"fbnet-{letter}")


_SPOS_BLOCKS = (2, 1, 0, 1, 2, 0, 2, 0, 2, 0, 2, 3, 0, 0, 0, 0, 3, 2, 3, 3)
_SPOS_JOINT = (0, 0, 3, 1, 1, 1, 0, 0, 2, 0, 2, 1, 1, 0, 2, 0, 2, 1, 3, 2)
_SPOS_SCALES = (6, 5, 3, 5, 2, 6, 3, 4, 2, 5, 7, 5, 4, 6, 7, 4, 4, 5, 4, 3)


def _spos_searched() -> Architecture:
    return Architecture(make_space("spos"), _SPOS_BLOCKS, "spos-searched")


def _spos_searched_channels() -> Architecture:
    choices = tuple(8 * block + scale for block, scale in zip(_SPOS_JOINT, _SPOS_SCALES, strict=True))
    return Architecture(make_space("spos-channels"), choices, "spos-searched-channels")


# The indices of the branches of every layer that is not skipped.
_NSE_27 = "0 6 3 0 16 3 9 11,17 9,2 12 1,6 9,12 9 17,14 21 3 13 19,3,14"
_NSE_FULL = "0 34 3 52 35 38 17,11,49 41 35 12 1,10,6 9 0,9 35,52,61 10,32 3,57 13 3,19,44"
_NSE_GPU = "15 11 1,17 16,1 11 11 2,7 3 1,6 11 11,6 8,2 0,1,8,11 2,6,8,12,14"


def _multi_branch(
    name: str, space_name: str, text: str, normal_layers: Sequence[int], **parameters: float
) -> Architecture:
    """Return an architecture from its branches; `normal_layers` is how many of each stage are not skipped."""
    space = make_space(space_name, **parameters)
    bit_sets = iter(sum(1 << int(index) for index in word.split(",")) for word in text.split())
    choices, stage, left = [], -1, 0
    for layer in space.layers:
        number = int(layer.name.split(".")[0].removeprefix("stage")) - 1
        if number != stage:
            stage, left = number, normal_layers[number]
        if layer.join == "reduction":
            choices.append(next(bit_sets))
        elif left:
            choices.append(next(bit_sets))
            left -= 1
        else:
            choices.append(0)
    return Architecture(space, tuple(choices), name)


def _nsenet_27() -> Architecture:
    return _multi_branch("nsenet-27", "nse-27", _NSE_27, (1, 2, 2, 2, 2, 3, 0), width=1.04)


def _nsenet(se: bool) -> Network:
    """Return NSENet, whose operations come from both spaces of NSE, so that it is an architecture of neither."""
    operations = (*NSE_27, *NSE_SECOND)
    normal_layers = [1, 1, 2, 3, 2, 3, 0]
    indices = iter(tuple(int(index) for index in word.split(",")) for word in _NSE_FULL.split())
    blocks = [FixedBlock("stem", conv_block(_IMAGE, 16, stride=2, act="relu"))]
    for name, shape, out, stride in stage_blocks(blocks[0].output, scaled(MACS_STAGES, 1.045)):
        number = int(name.split(".")[0].removeprefix("stage")) - 1
        reduction = shape.channels != out or stride != 1
        if not reduction:
            if normal_layers[number] == 0:
                continue
            normal_layers[number] -= 1
        branches = tuple(operations[index](shape, out, stride, se) for index in next(indices))
        blocks.append(FixedBlock(name, join_branches(branches, shape, not reduction)))
    tail = head(blocks[-1].output, 1000, features=1024, act="relu", norm=False)
    blocks.append(FixedBlock("head", tail))
    return Network("nsenet-se" if se else "nsenet", tuple(blocks))


def _nsenet_gpu() -> Architecture:
    return _multi_branch("nsenet-gpu", "nse-19", _NSE_GPU, (0, 1, 3, 4, 2))


_ARCHITECTURES: dict[str, Callable[[], Architecture]] = {
    "proxyless-mobile": lambda: _proxyless("mobile"),
    "proxyless-gpu": lambda: _proxyless("gpu"),
    "proxyless-cpu": lambda: _proxyless("cpu"),
    "fbnet-a": lambda: _fbnet("a"),
    "fbnet-b": lambda: _fbnet("b"),
    "fbnet-c": lambda: _fbnet("c"),
    "spos-searched": _spos_searched,
    "spos-searched-channels": _spos_searched_channels,
    "nsenet-27": _nsenet_27,
    "nsenet-gpu": _nsenet_gpu,
}
_NETWORKS: dict[str, Callable[[], Network]] = {
    "mobilenetv2": lambda: mobilenetv2(),
    "mobilenetv2-1.4": lambda: mobilenetv2(1.4),
    "shufflenetv2-0.5": lambda: shufflenetv2("0.5"),
    "shufflenetv2-1.0": lambda: shufflenetv2("1.0"),
    "shufflenetv2-1.5": lambda: shufflenetv2("1.5"),
    "shufflenetv2-2.0": lambda: shufflenetv2("2.0"),
    "resnet18": lambda: resnet(RESNET_18, "resnet18"),
    "resnet34": lambda: resnet(RESNET_34, "resnet34"),
    "resnet50": lambda: resnet(RESNET_34, "resnet50", bottleneck=True),
    "nsenet": lambda: _nsenet(False),
    "nsenet-se": lambda: _nsenet(True),
}


def network_names() -> list[str]:
    """Return the names of all reference networks."""
    return sorted([*_ARCHITECTURES, *_NETWORKS])


def reference_architecture(name: str) -> Architecture | None:
    """Return a reference network as an architecture of a built-in space, or None if it lies in none.

    Raises:
        UnknownNameError: There is no reference network with this name.
    """
    if name in _ARCHITECTURES:
        return _ARCHITECTURES[name]()
    reference_network(name)
    return None


def reference_network(name: str) -> Network:
    """Return a reference network by name.

    Raises:
        UnknownNameError: There is no reference network with this name.
    """
    if name in _ARCHITECTURES:
        return _ARCHITECTURES[name]().network
    if name not in _NETWORKS:
        raise UnknownNameError("network", name, network_names())
    return _NETWORKS[name]()
