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
        PATHS: Architectures that train the supernet on the pool. Indices: stage, step.
        COMPLETIONS: Completions of a partial model. Indices: stage, number of the partial model.
        MINI_BATCHES: Validation images that score completions. Index: stage.
    """

    PATHS = 31
    COMPLETIONS = 32
    MINI_BATCHES = 33


@dataclass(frozen=True)
class PcnasSettings:
    """Hyper-parameters. The defaults are the paper's.

    Attributes:
        pool: The number of partial models in the pool (P).
        draws: The number of completions over which a potential averages (S).
        warmup: Epochs of training on uniformly sampled architectures, before the first layer is decided (T_w).
        interval: Epochs of training on the pool, between the decisions of two layers (T_i).
        dump: Whether completions are drawn from the whole space and those that break a budget are dropped, as in the
            paper. By default all completions are drawn from the feasible set.

    Raises:
        NascliError: A number is too small.
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


# The settings decide how long the supernet trains; the epochs of its recipe are not used.
PRESETS = {
    "small": Preset(
        settings=PcnasSettings(pool=3, draws=32, warmup=10, interval=1),
        supernet=small_supernet(epochs=1),
        retraining=small(epochs=8),
    ),
    "paper": Preset(
        settings=PcnasSettings(),
        supernet=pcnas_supernet(epochs=200),
        retraining=pcnas(epochs=300),
        calibration_images=20_000,
        final_on="all",
    ),
}
