"""What a source of images is, and what it returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[Any]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Raw:
    """Images `(n, channels, height, width)` with labels `(n,)`, and a test part where the source has one."""

    images: Pixels
    labels: Labels
    test_images: Pixels | None = None
    test_labels: Labels | None = None


@dataclass(frozen=True)
class Source:
    """Where a data set comes from.

    Attributes:
        classes: number of classes; None where the folder decides.
        channels: of an image; None where the folder decides.
        read: from a folder (None where none was named) and a resolution to the arrays.
    """

    classes: int | None
    channels: int | None
    read: Callable[[Path | None, int], Raw]
