"""Network Space Search's Expanded Search Space."""

from __future__ import annotations

from nascli.spaces.catalog import space_factory
from nascli.spaces.primitives import Shape
from nascli.spaces.staged import StagedSpace


@space_factory("nss-expanded")
def nss_expanded(
    *,
    resolution: int = 32,
    classes: int = 10,
    channels: int = 3,
    depths: int = 16,
    widths: int = 512,
) -> StagedSpace:
    """NSS (Lee et al.): 3 stages of residual blocks, depth 1..16, width 1..512, on CIFAR."""
    shape = Shape(channels, resolution, resolution)
    return StagedSpace("nss-expanded", (), shape, classes, (1, 2, 2), depths, widths, 16)


@space_factory("nss-expanded-mini")
def nss_expanded_mini(
    *, resolution: int = 14, classes: int = 10, channels: int = 1, depths: int = 4, widths: int = 32
) -> StagedSpace:
    """NSS's stages, short and thin, for small images."""
    shape = Shape(channels, resolution, resolution)
    return StagedSpace("nss-expanded-mini", (), shape, classes, (1, 2, 2), depths, widths, 8)
