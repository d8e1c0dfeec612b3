"""Settings and presets of PC-NAS."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from nascli.errors import NascliError
from nascli.search.preset import Preset
from nascli.supernet.recipes.pcnas import pcnas, pcnas_supernet
from nascli.supernet.recipes.small import small, small_supernet


class PcnasStream(IntEnum):
    """Random streams of PC-NAS; see `nascli.random_streams`.

    Attributes:
        PATHS: Architectures that train on the pool. Indices: stage, step.
        COMPLETIONS: Completions of a partial model. Indices: stage, number of the partial model.
        MINI_BATCHES: Validation images that score completions. Index: stage.
    """

    PATHS = 31
    COMPLETIONS = 32
    MINI_BATCHES = 33


@dataclass(frozen=True)
class PcnasSettings:
    """Hyper-parameters; the defaults are the paper's.

    Attributes:
        pool: partial models that are kept (P).
        draws: completions that a potential averages over (S).
        warmup: epochs of uniform training at first (T_w).
        interval: epochs between two layers (T_i).
        dump: draw completions from the whole space and drop what breaks the limit, as the paper does.
    """

    pool: int = 5
    draws: int = 900
    warmup: int = 100
    interval: int = 5
    dump: bool = False

    def __post_init__(self) -> None:
        if self.pool < 1 or self.draws < 1 or self.warmup < 1 or self.interval < 0:
            raise NascliError(
                "pool >= 1, draws >= 1, warmup >= 1 and interval >= 0 must hold, got "
                f"{self.pool}, {self.draws}, {self.warmup}, {self.interval}"
            )


# How long the supernet trains is in the settings; the epochs of its recipe are not used.
PRESETS = {
    "small": Preset(
        settings=PcnasSettings(pool=3, draws=32, warmup=10, interval=1),
        supernet=small_supernet(epochs=1),
        retraining=small(epochs=8),
    ),
    "paper": Preset(
        settings=PcnasSettings(),
        supernet=pcnas_supernet(epochs=1),
        retraining=pcnas(epochs=300),
        calibration_images=20_000,
    ),
}
