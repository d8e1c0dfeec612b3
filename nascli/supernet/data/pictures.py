"""Decoded images of any size, one at a time: what a source of images that need not fit in memory gives."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nascli.errors import DataError


class Pictures(ABC):
    """A map-style data set of decoded images.

    Worker processes get a copy, so that it should keep its texts and numbers in arrays, which are shared, and not in
    lists, which are not.

    Attributes:
        labels: Class of each image, `(n,)` int64.
        channels: Number of channels of every image, 1 or 3.
        digest: Digest of what identifies the images, such as names and sizes of files.
        whole: Whether an image is evaluated up to its border, because its subject fills it. Otherwise the centre is
            evaluated, as usual for photographs.
    """

    labels: npt.NDArray[np.int64]
    channels: int
    digest: str
    whole: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def read(self, index: int) -> Tensor:
        """Return an image as bytes, `(channels, height, width)`.

        Args:
            index: Number of the image, from 0.

        Raises:
            DataError: The image cannot be read.
        """

    @abstractmethod
    def name(self, index: int) -> str:
        """Return the name of an image, such as its file, for messages."""

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width of an image.

        Raises:
            DataError: The image cannot be read.
        """
        height, width = self.read(index).shape[1:]
        return height, width


@dataclass(frozen=True)
class PictureParts:
    """What a source opens.

    Attributes:
        train: Images of the training part, from which validation images are held out if there are none.
        class_names: Name of each class.
        validation: Images of the source's own validation part, if it has one.
        test: Images of the source's own test part, if it has one.

    Raises:
        DataError: A class has no training images, an image is of none of the classes, or parts have other channels.
    """

    train: Pictures
    class_names: tuple[str, ...]
    validation: Pictures | None = None
    test: Pictures | None = None

    def __post_init__(self) -> None:
        classes = len(self.class_names)
        if classes < 2:
            raise DataError(f"the images are of {classes} class; at least 2 are needed.")
        for title, part in (("training", self.train), ("validation", self.validation), ("test", self.test)):
            if part is None:
                continue
            if len(part) == 0:
                raise DataError(f"the {title} part has no images.")
            low, high = int(part.labels.min()), int(part.labels.max())
            if low < 0 or high >= classes:
                raise DataError(
                    f"the {title} part has labels from {low} to {high}, but there are {classes} classes, "
                    f"numbered from 0 to {classes - 1}."
                )
            if part.channels != self.train.channels:
                raise DataError(
                    f"images of the {title} part have {part.channels} channels, and those of the training part "
                    f"{self.train.channels}."
                )
        counts = np.bincount(self.train.labels, minlength=classes)
        empty = [self.class_names[number] for number in np.flatnonzero(counts == 0)]
        if empty:
            listing = ", ".join(empty[:5]) + (f", and {len(empty) - 5} more" if len(empty) > 5 else "")
            raise DataError(
                f"{len(empty)} of {classes} classes have no training images: {listing}.",
                "Add images, or remove these classes.",
            )


class JoinedPictures(Pictures):
    """The images of one data set and, after them, those of another.

    Args:
        first: Images that come first.
        second: Images that come after them, with the same number of channels.
    """

    def __init__(self, first: Pictures, second: Pictures) -> None:
        self._first, self._second = first, second
        self.labels = np.concatenate([first.labels, second.labels])
        self.channels = first.channels
        self.whole = first.whole
        self.digest = hashlib.sha256(f"{first.digest}+{second.digest}".encode()).hexdigest()

    def _of(self, index: int) -> tuple[Pictures, int]:
        count = len(self._first)
        return (self._first, index) if index < count else (self._second, index - count)

    def read(self, index: int) -> Tensor:
        """Return an image as bytes."""
        pictures, own = self._of(index)
        return pictures.read(own)

    def name(self, index: int) -> str:
        """Return the name of an image."""
        pictures, own = self._of(index)
        return pictures.name(own)

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width of an image."""
        pictures, own = self._of(index)
        return pictures.size(own)


def image_bytes(image: Any, channels: int) -> Tensor:
    """Return an image as bytes, `(channels, height, width)`.

    Args:
        image: A PIL image, a tensor of bytes `(channels, height, width)` or `(height, width)`, or an array of bytes
            `(height, width)` or `(height, width, channels)`.
        channels: Number of channels of the result, 1 or 3. A PIL image is converted; one channel is repeated.

    Raises:
        DataError: The image is something else, or has another number of channels.
    """
    if hasattr(image, "convert") and hasattr(image, "getbands"):
        mode = "RGB" if channels == 3 else "L"
        # Decoding happens here; a copy can be written to, as torch wants it.
        image = np.array(image if image.mode == mode else image.convert(mode))
    if isinstance(image, np.ndarray):
        if image.dtype == np.uint8 and image.ndim in (2, 3):
            plane = torch.from_numpy(np.require(image, requirements=["C", "W"]))
            image = plane[None] if plane.ndim == 2 else plane.permute(2, 0, 1)
    elif isinstance(image, Tensor) and image.ndim == 2:
        image = image[None]
    if not isinstance(image, Tensor) or image.dtype != torch.uint8 or image.ndim != 3:
        kind = f"{type(image).__module__}.{type(image).__qualname__}"
        shape = f" of {image.dtype}, {tuple(image.shape)}" if hasattr(image, "dtype") else ""
        raise DataError(
            f"an image is a {kind}{shape}, not a PIL image, a tensor of bytes (channels, height, width), or an array "
            "of bytes (height, width[, channels]).",
            "Leave transforms out of the data set: they are part of a recipe.",
        )
    pixels: Tensor = image
    if pixels.shape[0] == 1 and channels == 3:
        pixels = pixels.expand(3, -1, -1)
    if pixels.shape[0] != channels:
        raise DataError(f"an image has {pixels.shape[0]} channels, not {channels} as the first one.")
    return pixels


def channels_of(image: Any) -> int:
    """Return the number of channels that images like this one are read with: 1 or 3.

    Args:
        image: The first image of a data set, as `image_bytes` takes it.
    """
    if hasattr(image, "getbands"):
        return 1 if image.mode in ("1", "L", "LA", "I", "F") or image.mode.startswith("I;16") else 3
    shape = tuple(getattr(image, "shape", ()))
    if len(shape) != 3:
        return 1
    return 1 if shape[0 if isinstance(image, Tensor) else -1] == 1 else 3
