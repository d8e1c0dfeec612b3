"""Random streams and presets of ProxylessNAS; its settings are those of its architecture parameters."""

from __future__ import annotations

from enum import IntEnum

from nascli.search.preset import Preset
from nascli.supernet.recipes.proxyless import proxyless, proxyless_supernet
from nascli.supernet.recipes.small import small, small_supernet
from nascli.supernet.training.recipe import ArchitectureParameterSettings


class ProxylessStream(IntEnum):
    """Random streams of ProxylessNAS; see `nascli.random_streams`.

    Attributes:
        PATHS: Architectures that train the weights, drawn by the probabilities. Index: step.
        CANDIDATE_PAIRS: Pairs of candidates from which the probabilities learn. Index: step.
        UNIFORM_PATHS: Architectures that train the weights before the probabilities learn. Index: step.
        VALIDATION_ORDER: Order of the images from which the probabilities learn. Index: epoch.
    """

    PATHS = 81
    CANDIDATE_PAIRS = 82
    UNIFORM_PATHS = 83
    VALIDATION_ORDER = 84


PRESETS = {
    "small": Preset(
        settings=ArchitectureParameterSettings(start=0.3),
        supernet=small_supernet(epochs=14),
        retraining=small(epochs=8),
    ),
    "paper": Preset(
        # Section 4.2: Adam at 0.001 on ImageNet; 0.006 is that of CIFAR-10. In the authors' code, Adam has no momentum,
        # and 40 of 160 epochs are for the weights alone.
        settings=ArchitectureParameterSettings(rate=0.001, betas=(0.0, 0.999), start=0.25),
        supernet=proxyless_supernet(epochs=160),
        retraining=proxyless(epochs=300),
        calibration_images=20_000,
        final_on="all",
    ),
}
