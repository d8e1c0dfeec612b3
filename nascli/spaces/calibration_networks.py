"""The networks that `nascli calibrate` measures to learn how a device's whole networks differ from sums of operators.

The list is fixed, so that what one user measures is recognised in the store of another. It covers families of networks
rather than the best of one: what a correction is worth for a network unlike those that it was fitted on is known by
leaving whole families out. Networks that share most of what they are built of belong to one family.

All are programs of primitives, good for every batch. At batch 1 they take about 0.6 to 34 ms on one core of a server's
CPU and have 2 to 47 MB of weights. Names end in the resolution.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

from nascli.errors import UnknownNameError
from nascli.spaces import calibration_families as families
from nascli.spaces.operators.definition import Value
from nascli.spaces.primitives import Shape
from nascli.spaces.programs import Builder, Program
from nascli.spaces.reference_networks import reference_network

# Networks are added under new names, and a name keeps its network: the version says which names there are.
VERSION = 1


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


_FAMILIES: dict[str, dict[str, Callable[[], Program]]] = {
    "plain": {
        "plain-128": _on_images(128, lambda x: families.plain(x, (16, 32, 64, 128, 256), 1024)),
        "plain-reparametrised-160": _on_images(
            160, lambda x: families.reparametrised(x, (48, 48, 96, 192, 512), (1, 2, 3, 4, 1))
        ),
    },
    "residual": {
        "resnet18-224": _published("resnet18"),
        "residual-narrow-160": _on_images(
            160, lambda x: families.residual(x, (24, 48, 96, 192), (2, 2, 2, 2))
        ),
    },
    "bottleneck": {
        "bottleneck-160": _on_images(
            160, lambda x: families.bottleneck(x, (128, 256, 512, 1024), (2, 3, 4, 2))
        ),
    },
    "inverted-residual": {
        "mobilenetv2-224": _published("mobilenetv2"),
        "inverted-residual-96": _on_images(
            96, lambda x: families.inverted(x, (24, 48, 96), (2, 4, 3), kernel=5, expand=3)
        ),
    },
    "separable": {
        "separable-128": _on_images(
            128, lambda x: families.separable(x, (32, 64, 128, 256, 512), (1, 2, 2, 6, 2))
        ),
    },
    "squeeze-excitation": {
        "squeeze-excitation-224": _on_images(
            224, lambda x: families.excited(x, (24, 40, 112), (2, 3, 5), kernel=3, act="hswish")
        ),
        "squeeze-excitation-swish-160": _on_images(
            160, lambda x: families.excited(x, (32, 112, 192), (1, 4, 5), kernel=5, act="swish")
        ),
    },
    "grouped": {
        "grouped-224": _on_images(
            224, lambda x: families.grouped(x, (24, 56, 152, 368), (1, 1, 4, 7), group_width=8)
        ),
        "grouped-squeeze-160": _on_images(
            160, lambda x: families.grouped(x, (48, 96, 192, 432), (1, 2, 4, 2), group_width=16, se=True)
        ),
    },
    "dense-concatenation": {
        "dense-concatenation-160": _on_images(160, lambda x: families.dense_concat(x, 32, (2, 3, 3, 2))),
    },
    "shuffle": {
        "shufflenetv2-224": _published("shufflenetv2-1.0"),
        "shuffle-wide-128": _on_images(128, lambda x: families.shuffled(x, (176, 352, 704), (4, 8, 4))),
    },
    "inception": {
        "inception-160": _on_images(160, lambda x: families.branched(x, (128, 256, 512), (3, 4, 3))),
    },
    "large-kernel": {
        "large-kernel-13-160": _on_images(
            160, lambda x: families.large_kernels(x, (48, 96, 192, 384), (2, 2, 4, 2), kernel=13)
        ),
    },
    "convnext": {
        "convnext-160": _on_images(160, lambda x: families.convnext(x, (40, 80, 160, 320), (2, 2, 6, 2))),
        "convnext-wide-96": _on_images(96, lambda x: families.convnext(x, (64, 128, 256, 512), (1, 1, 3, 1))),
    },
    "transformer": {
        "transformer-patch-16-224": _on_images(
            224, lambda x: families.transformer(x, 192, 8, patch=16, heads=3)
        ),
        "transformer-wide-128": _on_images(128, lambda x: families.transformer(x, 320, 6, patch=16, heads=5)),
    },
    "pyramid-transformer": {
        "pyramid-transformer-160": _on_images(
            160, lambda x: families.pyramid(x, (32, 64, 160, 256), (2, 2, 2, 2))
        ),
    },
    "pooling": {
        "pooling-160": _on_images(160, lambda x: families.pooled(x, (48, 96, 192, 384), (2, 2, 4, 2))),
    },
    "convolutional-mixer": {
        "convolutional-mixer-160": _on_images(160, lambda x: families.mixed(x, 192, 8, patch=10, kernel=9)),
    },
    "hybrid": {
        "hybrid-192": _on_images(192, lambda x: families.hybrid(x, (24, 48, 96, 160), (1, 1, 3, 3))),
    },
    "ghost": {
        "ghost-224": _on_images(224, lambda x: families.ghost(x, (24, 40, 80, 160), (2, 2, 4, 4))),
    },
    "cross-stage": {
        "cross-stage-160": _on_images(
            160, lambda x: families.cross_stage(x, (64, 128, 256, 512), (1, 2, 3, 1))
        ),
    },
    "encoder-decoder": {
        "encoder-decoder-128": _on_images(
            128, lambda x: families.decoder(x, (16, 32, 64, 128, 256), transposed=False)
        ),
        "encoder-decoder-transposed-96": _on_images(
            96, lambda x: families.decoder(x, (24, 48, 96, 192), transposed=True)
        ),
    },
    "perceptron": {
        "perceptron-96": _on_images(96, lambda x: families.perceptrons(x, 256, 5, patch=16)),
    },
    "multi-branch": {
        "multi-branch-128": _on_images(
            128, lambda x: families.multi_branch(x, (32, 64, 128, 256), (1, 2, 3, 2))
        ),
    },
}
