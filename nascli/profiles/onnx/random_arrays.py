"""Random weights of models that are only measured."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
_POOL_SIZE = 1 << 18


@lru_cache(maxsize=1)
def _normal_pool() -> Array:
    return np.random.default_rng(0).standard_normal(_POOL_SIZE, dtype=np.float32)


def random_array(shape: tuple[int, ...], scale: float, offset: int) -> Array:
    """Return normally distributed numbers out of a fixed pool. Zeros would be computed faster by some devices."""
    size = int(np.prod(shape))
    start = offset * 7919 % _POOL_SIZE
    values = np.resize(np.roll(_normal_pool(), -start)[: min(size, _POOL_SIZE)], size)
    return np.asarray(values.reshape(shape) * np.float32(scale), dtype=np.float32)
