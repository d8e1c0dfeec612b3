"""The interface of a source of images."""

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
class RawImages:
    """Images and labels as a source reads them, before normalisation and splitting.

    Attributes:
        images: Pixels of any numeric dtype, `(n, channels, height, width)`.
        labels: Class of each image, `(n,)` int64, from 0.
        test_images: Images of the test part, shaped like `images`; None if the source has no test part of its own.
        test_labels: Labels of the test part, `(m,)` int64; None if the source has no test part of its own.
    """

    images: Pixels
    labels: Labels
    test_images: Pixels | None = None
    test_labels: Labels | None = None


@dataclass(frozen=True)
class Source:
    """A data set by name: its properties, and the function that reads it.

    Attributes:
        classes: Number of classes; None if it depends on the folder.
        channels: Channels of an image; None if they depend on the folder, which means three.
        read: Function from a folder and a resolution in pixels to the images. The folder is None if the user named
            none. A reader that does not decode files may ignore the resolution: images are resized later.
    """

    classes: int | None
    channels: int | None
    read: Callable[[Path | None, int], RawImages]
