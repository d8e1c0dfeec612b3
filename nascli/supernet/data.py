"""Images to train on: loaded once, normalised, resized to the space's resolution."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from nascli.errors import DataError, UnknownNameError, missing_package
from nascli.spaces.primitives import Shape

NAMES = ("digits",)


@dataclass(frozen=True)
class Split:
    """Images `(n, channels, height, width)` float32 and labels `(n,)` int64."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Images:
    """A data set in three parts: the search sees training and validation; the test part is for the end.

    Attributes:
        name: 'digits', ...
        classes: number of classes.
        train: what weights are fitted to.
        validation: held out of the training part; what a search ranks by.
        test: touched once per reported network.
    """

    name: str
    classes: int
    train: Split
    validation: Split
    test: Split

    @property
    def shape(self) -> Shape:
        """Shape of one image."""
        return Shape(*self.train.images.shape[1:])

    @property
    def digest(self) -> str:
        """A digest of all images and labels."""
        state = hashlib.sha256()
        for split in (self.train, self.validation, self.test):
            state.update(split.images.contiguous().numpy().tobytes())
            state.update(split.labels.numpy().tobytes())
        return state.hexdigest()[:32]


def properties(name: str) -> tuple[int, int]:
    """Number of classes and of channels of a data set, without loading it.

    Raises:
        UnknownNameError: no such data set.
    """
    if name not in NAMES:
        raise UnknownNameError("data set", name, list(NAMES))
    return 10, 1


def load(name: str, resolution: int) -> Images:
    """Load a data set at a resolution.

    Raises:
        UnknownNameError: no such data set.
        DataError: its package is missing.
    """
    properties(name)
    images, labels = _digits()
    # One fixed split for everybody: three parts out of five train, one validates, one tests.
    order = np.random.default_rng(20260).permutation(len(labels))
    first, second = len(order) * 3 // 5, len(order) * 4 // 5
    mean, deviation = images[order[:first]].mean(), images[order[:first]].std()
    pixels = torch.from_numpy(((images - mean) / deviation).astype(np.float32))[:, None]
    if pixels.shape[-1] != resolution:
        pixels = F.interpolate(pixels, (resolution, resolution), mode="bilinear", align_corners=False)
    targets = torch.from_numpy(labels.astype(np.int64))
    parts = [torch.from_numpy(part) for part in np.split(order, [first, second])]
    train, validation, test = (Split(pixels[part].contiguous(), targets[part]) for part in parts)
    return Images(name, 10, train, validation, test)


def _digits() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise missing_package("scikit-learn", "search", "the data set digits") from error
    bunch = load_digits()
    return bunch.images.astype(np.float32), bunch.target


def require_fit(images: Images, shape: Shape, classes: int) -> None:
    """Refuse a data set that does not fit a space.

    Raises:
        DataError: other channels, resolution or classes.
    """
    if images.shape != shape or images.classes != classes:
        raise DataError(
            f"{images.name} has images of {images.shape} in {images.classes} classes, but the space takes "
            f"{shape} and tells {classes} classes apart.",
            "Give the space the data's parameters, as in --space NAME:channels=1,classes=10",
        )


def shifted(images: Tensor, rng: np.random.Generator, most: int) -> Tensor:
    """Each image moved by up to `most` pixels, the border repeated: a mild augmentation."""
    if most == 0:
        return images
    n, _, height, width = images.shape
    padded = F.pad(images, (most,) * 4, mode="replicate")
    down, right = rng.integers(0, 2 * most + 1, (2, n))
    rows = torch.from_numpy(down)[:, None] + torch.arange(height)
    columns = torch.from_numpy(right)[:, None] + torch.arange(width)
    samples = torch.arange(n)[:, None, None]
    # Indices around the channel slice put the channels last; they are moved back.
    return padded[samples, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()
