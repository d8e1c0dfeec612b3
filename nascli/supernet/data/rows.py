"""Which images a batch has."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

Rows = npt.NDArray[np.int64]
# Images `(batch, channels, height, width)` and their labels `(batch,)`.
Batch = tuple[Tensor, Tensor]


class TrainingRows(NamedTuple):
    """Which images make up the batch of a training step.

    Attributes:
        step: Number of the step, from 0.
        epoch: Number of the pass over the split, from 0.
        rows: Rows of the split in the batch of all processes, `(batch,)`.
        own: The part of `rows` that this process takes.
    """

    step: int
    epoch: int
    rows: Rows
    own: slice
