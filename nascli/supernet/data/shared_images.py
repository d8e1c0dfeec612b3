"""A data set that several processes load, each for itself, and that must be the same for all of them."""

from __future__ import annotations

from collections.abc import Callable

from nascli.supernet.data.images import Images
from nascli.supernet.training import distributed


def load_together(load: Callable[[], Images]) -> Images:
    """Load a data set in all processes that work together.

    Args:
        load: Function that loads the data set in this process.

    Raises:
        DataError: On all processes: one of them cannot load it.
        ProcessGroupError: On all processes: they have different images or labels.
    """
    images = distributed.together(load)
    if distributed.world_size() > 1:
        distributed.require_same("data", images.digest)
    return images
