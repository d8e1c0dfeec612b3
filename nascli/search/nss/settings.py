"""Settings and presets of Network Space Search."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

from nascli.errors import NascliError
from nascli.search.preset import Preset
from nascli.search.spos.settings import SposSettings
from nascli.supernet.recipes.nss import nss, nss_supernet
from nascli.supernet.recipes.small import small, small_supernet


class NssStream(IntEnum):
    """Random streams of Network Space Search; see `nascli.random_streams`.

    Attributes:
        PATHS: Architectures that train the masked supernet. Index: step.
        GATES: Gumbel noise and members of the bins from which the distribution learns. Index: step.
        ELITE_SPACES: Spaces that are drawn at the end.
        VALIDATION_ORDER: Order of the images from which the distribution learns. Index: epoch.
    """

    PATHS = 61
    GATES = 62
    ELITE_SPACES = 63
    VALIDATION_ORDER = 64


@dataclass(frozen=True)
class NssSettings:
    """Hyper-parameters.

    Attributes:
        depth_bin: The number of consecutive depths that a space has per stage.
        width_bin: The number of consecutive widths that a space has per stage.
        warmup: The share of the training during which the distribution stays uniform.
        weight: The weight of the cost term |cost / target - 1| (lambda, Eq. 5).
        rate: The rate of the distribution's Adam.
        first: The first temperature of the Gumbel-softmax, which falls exponentially.
        last: The last temperature of the Gumbel-softmax.
        drawn: The number of spaces that are drawn at the end; the nearest to the target is the Elite Space (n).

    Raises:
        NascliError: A number is out of its range.
    """

    depth_bin: int = 4
    width_bin: int = 32
    warmup: float = 0.3
    weight: float = 1.0
    rate: float = 0.05
    first: float = 5.0
    last: float = 0.5
    drawn: int = 5

    def __post_init__(self) -> None:
        if min(self.depth_bin, self.width_bin, self.drawn) < 1 or not 0 <= self.warmup < 1:
            raise NascliError(
                "depth_bin, width_bin and drawn must be at least 1, and 0 <= warmup < 1 must hold"
            )
        if not 0 < self.last <= self.first or self.rate <= 0 or self.weight < 0:
            raise NascliError("0 < last <= first, rate > 0 and weight >= 0 must hold")


# SPOS searches the learned space.
PRESETS = {
    "small": Preset(
        settings=NssSettings(depth_bin=2, width_bin=8),
        supernet=small_supernet(epochs=14),
        retraining=small(epochs=8),
        searcher=SposSettings(population=20, generations=6),
        space_recipe=small_supernet(epochs=10),
    ),
    "paper": Preset(
        # The paper (section 4.1) refers to FBNetV2, which continues FBNet (Wu et al. 2019, section 4.1): 10 of 90
        # epochs for the weights alone, Adam at 0.01, and a temperature that falls from 5 by exp(-0.045) each epoch.
        settings=NssSettings(warmup=10 / 90, rate=0.01, first=5.0, last=5.0 * math.exp(-0.045 * 90)),
        supernet=nss_supernet(epochs=90),
        retraining=nss(epochs=200),
        searcher=SposSettings(),
        space_recipe=nss_supernet(epochs=90),
        calibration_images=20_000,
        final_on="all",
    ),
}
