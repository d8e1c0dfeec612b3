"""Settings of ProxylessNAS."""

from __future__ import annotations

from enum import IntEnum


class ProxylessStream(IntEnum):
    """Random streams of ProxylessNAS; see `nascli.random_streams`.

    Attributes:
        PATHS: Architectures that train the weights. Index: step.
        CANDIDATE_PAIRS: Pairs of candidates that the probabilities learn from. Index: step.
        UNIFORM_PATHS: Architectures before the probabilities learn. Index: step.
        VALIDATION_ORDER: Order of the images that the probabilities learn from. Index: epoch.
    """

    PATHS = 81
    CANDIDATE_PAIRS = 82
    UNIFORM_PATHS = 83
    VALIDATION_ORDER = 84
