"""Choosing the winner by training the finalists from scratch, as PC-NAS and NSE do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from nascli.search.verification import Finalist


def choose_by_training(fitting: Sequence[Finalist], train: Callable[[Finalist], float]) -> Finalist:
    """The finalist with the highest validation top-1 after training from scratch; the first of equals.

    Args:
        fitting: At least one finalist.
        train: Trains a finalist and returns its validation top-1.
    """
    return fitting[int(np.argmax([train(finalist) for finalist in fitting]))]
