"""The interface of a source of images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nascli.errors import DataError

if TYPE_CHECKING:
    from nascli.supernet.data.pictures import PictureParts

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
    """A data set by name: its properties, and the function that reads or opens it.

    A source has either `read`, for images that fit in memory, or `open`, for images that are read one at a time.

    Attributes:
        classes: Number of classes; None if it depends on what the user names.
        channels: Channels of an image; None if they depend on what the user names, which means three.
        read: Function from a folder and a resolution in pixels to the images. The folder is None if the user named
            none. A reader that does not decode files may ignore the resolution: images are resized later.
        open: Function from the text after the name, which is empty if there is none, to the images.
        properties: Function from that text to the numbers of classes and channels, where they depend on it.

    Raises:
        DataError: Neither or both of `read` and `open` are given.
    """

    classes: int | None
    channels: int | None
    read: Callable[[Path | None, int], RawImages] | None = None
    open: Callable[[str], PictureParts] | None = None
    properties: Callable[[str], tuple[int, int]] | None = None

    def __post_init__(self) -> None:
        if (self.read is None) == (self.open is None):
            raise DataError(
                "a source of images has either a function that reads them, or one that opens them."
            )
