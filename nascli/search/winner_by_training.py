"""The choice of the winner by training the finalists from scratch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from nascli.search.verification import Finalist


def choose_by_training(fitting: Sequence[Finalist], train: Callable[[Finalist], float]) -> Finalist:
    """Return the finalist with the highest validation top-1 after training from scratch; the first of equal ones.

    Args:
        fitting: At least one finalist that keeps the budget.
        train: Trains a finalist from scratch and returns its validation top-1.
    """
    return fitting[int(np.argmax([train(finalist) for finalist in fitting]))]
