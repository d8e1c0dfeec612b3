"""Data sets in three parts, normalised and resized, and the parameters that they ask of a space."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from nascli.errors import DataError, Remedy
from nascli.spaces.catalog import make_space, takes_parameter
from nascli.spaces.primitives import Shape
from nascli.spaces.space import Space
from nascli.spaces.staged import StagedSpace
from nascli.supernet.data.sources.base import Labels, Pixels, RawImages
from nascli.supernet.data.sources.folder import count_class_folders
from nascli.supernet.data.sources.registry import find_source

# Seed of the split. It is the same for everybody, so that figures can be compared.
_SPLIT_SEED = 20260
# Training images from which the mean and deviation of each channel are estimated.
_STATISTICS_IMAGES = 20_000


@dataclass(frozen=True)
class ImageSplit:
    """One part of a data set.

    Attributes:
        images: Normalised images, `(n, channels, height, width)` float32.
        labels: Class of each image, `(n,)` int64.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def device(self) -> torch.device:
        """Where images are delivered."""
        return self.images.device

    def to(self, device: torch.device) -> ImageSplit:
        """Return the same images, delivered to another device."""
        return ImageSplit(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Normalisation:
    """By what the channels of images were normalised, on a scale on which black is 0 and white is 1.

    Attributes:
        mean: What was subtracted from each channel.
        deviation: By what each channel was divided then.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]


@dataclass(frozen=True)
class Images:
    """A data set in three parts. A search sees the first two; the test part is for its final figures.

    Attributes:
        name: Name of the data set as the user wrote it, such as 'digits' or 'cifar10:FOLDER'.
        classes: Number of classes.
        train: Images that weights are fitted to.
        validation: Images held out of the training part, by which a search ranks architectures.
        test: Images on which each reported network is evaluated once.
        normalisation: How the images were normalised; None where it is not known.
    """

    name: str
    classes: int
    train: ImageSplit
    validation: ImageSplit
    test: ImageSplit
    normalisation: Normalisation | None = None

    def to(self, device: torch.device) -> Images:
        """Return the same data set, delivered to another device."""
        parts = (part.to(device) for part in (self.train, self.validation, self.test))
        return Images(self.name, self.classes, *parts)

    @property
    def shape(self) -> Shape:
        """Shape of one image."""
        return Shape(*self.train.images.shape[1:])

    @property
    def digest(self) -> str:
        """Digest of all images and labels: 32 hexadecimal digits."""
        state = hashlib.sha256()
        for split in (self.train, self.validation, self.test):
            state.update(split.images.cpu().contiguous().numpy().tobytes())
            state.update(split.labels.cpu().numpy().tobytes())
        return state.hexdigest()[:32]


def _parse_name(spec: str) -> tuple[str, Path | None]:
    name, _, folder = spec.partition(":")
    return name, Path(folder).expanduser() if folder else None


def data_properties(spec: str) -> tuple[int, int]:
    """Return the numbers of classes and of channels of a data set without loading it.

    Args:
        spec: Name of a data set, or a name and a folder: 'cifar10:FOLDER'.

    Raises:
        UnknownNameError: No data set has that name.
        DataError: The folder has fewer than two class folders.
    """
    name, folder = _parse_name(spec)
    source = find_source(name)
    classes = source.classes
    if classes is None:
        classes = count_class_folders(folder) if folder is not None else 0
        if classes < 2:
            raise DataError(
                f"{spec}: there is no folder with at least 2 class folders.",
                "Name the data set with its folder.",
                Remedy(arguments={"data": f"{name}:FOLDER"}),
            )
    return classes, source.channels or 3


def load_images(spec: str, resolution: int, *, max_images: int | None = None) -> Images:
    """Load a data set at a resolution, split into training, validation, and test parts.

    The test part is the source's own; a fifth of the rest is then held out for validation. If the source has none, a
    fifth of the images is the test part, and another fifth the validation part. The split is the same for every seed.
    Images are normalised by the mean and deviation of the training part: per channel, or of all pixels if there is one
    channel.

    Args:
        spec: Name of a data set, or a name and a folder: 'cifar10:FOLDER'.
        resolution: Height and width of the images, in pixels.
        max_images: Largest number of images of the training and validation parts together, if the source has a
            test part of its own; None for all.

    Raises:
        UnknownNameError: No data set has that name.
        DataError: Files of the data set are missing or damaged.
        RuntimeUnavailableError: The package that has or reads the images is not installed.
    """
    classes, _ = data_properties(spec)
    name, folder = _parse_name(spec)
    raw = find_source(name).read(folder, resolution)
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(raw.labels))
    if raw.test_labels is None or raw.test_images is None:
        train, validation, test = np.split(order, [len(order) * 3 // 5, len(order) * 4 // 5])
        test_images, test_labels = raw.images[test], raw.labels[test]
    else:
        order = order[:max_images]
        train, validation = np.split(order, [len(order) * 4 // 5])
        test_images, test_labels = raw.test_images, raw.test_labels
    mean, deviation = _channel_statistics(raw, train)

    def part(pixels: Pixels, labels: Labels) -> ImageSplit:
        normalised = torch.from_numpy(((pixels - mean) / deviation).astype(np.float32))
        return ImageSplit(_resize(normalised, resolution), torch.from_numpy(labels))

    return Images(
        spec,
        classes,
        part(raw.images[train], raw.labels[train]),
        part(raw.images[validation], raw.labels[validation]),
        part(test_images, test_labels),
        _normalisation(raw, train, mean, deviation),
    )


def _normalisation(raw: RawImages, train: npt.NDArray[np.int64], mean: Any, deviation: Any) -> Normalisation:
    """Return the normalisation by white: 255 of bytes, and otherwise the largest pixel of the training part."""
    white = 255.0 if raw.images.dtype == np.uint8 else max(1e-6, float(raw.images[train].max()))
    channels = raw.images.shape[1]
    means, deviations = (
        tuple((np.broadcast_to(np.ravel(values), channels) / white).tolist()) for values in (mean, deviation)
    )
    return Normalisation(means, deviations)


def _channel_statistics(raw: RawImages, train: npt.NDArray[np.int64]) -> tuple[Any, Any]:
    """Return the mean and deviation of the training pixels: `(1, channels, 1, 1)`, or scalars for one channel."""
    if raw.images.shape[1] == 1:
        mean, deviation = raw.images[train].mean(), raw.images[train].std()
    else:
        sample = raw.images[np.sort(train)[:_STATISTICS_IMAGES]].astype(np.float32)
        mean, deviation = sample.mean((0, 2, 3), keepdims=True), sample.std((0, 2, 3), keepdims=True)
    # A channel that never changes has deviation 0; its normalised pixels are 0.
    return mean, np.maximum(deviation, 1e-6)


def _resize(images: Tensor, resolution: int) -> Tensor:
    if images.shape[-2:] != (resolution, resolution):
        is_smaller = images.shape[-1] > resolution
        images = F.interpolate(
            images, (resolution, resolution), mode="bilinear", align_corners=False, antialias=is_smaller
        )
    return images.contiguous()


def require_fit(images: Images, shape: Shape, classes: int) -> None:
    """Check that a data set fits a space.

    Args:
        images: The data set.
        shape: Shape of the images that the space takes.
        classes: Number of classes that the space's networks tell apart.

    Raises:
        DataError: Channels, resolution, or number of classes differ.
    """
    if images.shape != shape or images.classes != classes:
        raise DataError(
            f"{images.name} has images of {images.shape} in {images.classes} classes, but the space takes "
            f"{shape} and tells {classes} classes apart.",
            "Give the space the channels and classes of the data, and load the data at its resolution.",
            Remedy(arguments={"space": f"NAME:channels={images.shape.channels},classes={images.classes}"}),
        )


def space_for_data(space: Space, data: str) -> Space:
    """Return the space with the data's classes and channels, unless its parameters set them already.

    Args:
        space: A space by name and parameters.
        data: Name of a data set.
    """
    return make_space(space.name, **parameters_for_data(space, data))


def parameters_for_data(space: Space | StagedSpace, data: str) -> dict[str, Any]:
    """Return the parameters of a space, completed by the data's classes and channels where they are not set.

    Args:
        space: A space; parameters that its family does not take are left out.
        data: Name of a data set.

    Raises:
        UnknownNameError: No data set has that name.
        DataError: The folder has fewer than two class folders.
    """
    classes, channels = data_properties(data)
    properties = {"classes": classes, "channels": channels}
    accepted = {k: v for k, v in properties.items() if takes_parameter(space.name, k)}
    return {**accepted, **dict(space.parameters)}
