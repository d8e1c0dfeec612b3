"""Data sets in three parts, normalised and resized, and the parameters that they ask of a space."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nascli.errors import DataError, Remedy
from nascli.progress import Progress, Silent
from nascli.spaces.catalog import make_space, takes_parameter
from nascli.spaces.primitives import Shape
from nascli.spaces.space import Space
from nascli.spaces.staged import StagedSpace
from nascli.supernet.data.opened import open_splits, part_rows
from nascli.supernet.data.options import TRAINING_PARTS, DataOptions
from nascli.supernet.data.partition import hold_out, split_order
from nascli.supernet.data.rows import Rows
from nascli.supernet.data.sources.base import Labels, Pixels, RawImages
from nascli.supernet.data.sources.folder import count_class_folders
from nascli.supernet.data.sources.registry import find_named_source
from nascli.supernet.data.splits import ImageSplit, MemorySplit, Normalisation, PixelNormalisation

# Training images from which the mean and deviation of each channel are estimated.
_STATISTICS_IMAGES = 20_000


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

    @property
    def shape(self) -> Shape:
        """Shape of one image."""
        return self.train.shape

    @property
    def device(self) -> torch.device:
        """Device to which images and labels are delivered."""
        return self.train.device

    def to(self, device: torch.device | str) -> Images:
        """Return the same data set, delivered to a device."""
        parts = {name: getattr(self, name).to(device) for name in ("train", "validation", "test")}
        return replace(self, **parts)

    @cached_property
    def everything(self) -> ImageSplit:
        """The images of the training part and, after them, those of the validation part, for a final training."""
        return self.train.joined(self.validation)

    def trained_on(self, part: str) -> Images:
        """Return the data set whose training part is what a final training uses.

        Args:
            part: 'train' for the training part, or 'all' for the training and validation parts together; figures on
                the validation part then say nothing about other images.

        Raises:
            DataError: The part is neither.
        """
        if part not in TRAINING_PARTS:
            raise DataError(f"a final training is on {' or '.join(TRAINING_PARTS)}, not {part!r}.")
        return self if part == "train" else replace(self, train=self.everything)

    @cached_property
    def digest(self) -> str:
        """Digest of all images and labels: 32 hexadecimal digits. It does not depend on the device."""
        state = hashlib.sha256()
        for split in (self.train, self.validation, self.test):
            for part in split.content:
                state.update(part)
        return state.hexdigest()[:32]


def data_properties(spec: str) -> tuple[int, int]:
    """Return the numbers of classes and of channels of a data set without loading it.

    Args:
        spec: Name of a data set, or a name and a folder: 'cifar10:FOLDER'.

    Raises:
        UnknownNameError: No data set has that name.
        DataError: What the name stands for is missing, or has fewer than two classes.
    """
    source, text = find_named_source(spec)
    if source.properties is not None:
        return source.properties(text)
    classes = source.classes
    if classes is None:
        classes = count_class_folders(Path(text).expanduser()) if text else 0
        if classes < 2:
            raise DataError(
                f"{spec}: there is no folder with at least 2 class folders.",
                "Name the data set with its folder.",
                Remedy(arguments={"data": f"{spec.partition(':')[0]}:FOLDER"}),
            )
    return classes, source.channels or 3


def load_images(
    spec: str,
    resolution: int,
    *,
    max_images: int | None = None,
    options: DataOptions = DataOptions(),
    progress: Progress = Silent(),
) -> Images:
    """Load a data set at a resolution, split into training, validation, and test parts.

    The test part is the source's own, or else a fifth of the images. The validation part is the source's own, or as
    many images as the options say, or else a fifth of those that are not in a test part of the source's own. The split
    is the same for every seed. What the options hold out is balanced by class, and so is everything that is held out
    of images that are not read into memory. Images are normalised by the mean and deviation of the training part,
    estimated from a sample: per channel, or of all pixels if there is one channel.

    Args:
        spec: Name of a data set, or a name and a folder: 'cifar10:FOLDER'; or an object of a Python file:
            'FILE.py:NAME'.
        resolution: Height and width of the images, in pixels.
        max_images: Largest number of images of the training and validation parts together, if the source has a
            test part of its own; None for all.
        options: How the data set is split and read.
        progress: Says what is done where it takes time.

    Raises:
        UnknownNameError: No data set has that name.
        DataError: Files of the data set are missing or damaged, or it cannot be split in that way.
        RuntimeUnavailableError: The package that has or reads the images is not installed.
    """
    source, text = find_named_source(spec)
    if source.open is not None:
        parts = source.open(text)
        rows = part_rows(spec, source, parts, max_images, options)
        splits = open_splits(spec, parts, rows, resolution, options, progress)
        streamed = splits[0]
        by_white = streamed.normalisation.by_white(streamed.shape.channels)
        return Images(spec, len(parts.class_names), *splits, by_white)
    assert source.read is not None
    classes, _ = data_properties(spec)
    raw = source.read(Path(text).expanduser() if text else None, resolution)
    if int(raw.labels.max()) >= classes:
        raise DataError(
            f"{spec} has images of class {raw.labels.max()}, but its classes are 0..{classes - 1}."
        )
    train, validation, test = _memory_parts(raw, classes, max_images, options.validation)
    if test is None:
        assert raw.test_images is not None and raw.test_labels is not None
        test_images, test_labels = raw.test_images, raw.test_labels
    else:
        test_images, test_labels = raw.images[test], raw.labels[test]
    mean, deviation = _channel_statistics(raw, train)
    normalisation = PixelNormalisation(
        torch.from_numpy(np.asarray(mean, np.float32)),
        torch.from_numpy(np.asarray(deviation, np.float32)),
        255.0 if raw.images.dtype == np.uint8 else max(1e-6, float(raw.images[train].max())),
    )

    def part(pixels: Pixels, labels: Labels) -> MemorySplit:
        normalised = torch.from_numpy(((pixels - mean) / deviation).astype(np.float32))
        return MemorySplit(_resize(normalised, resolution), torch.from_numpy(labels), normalisation)

    return Images(
        spec,
        classes,
        part(raw.images[train], raw.labels[train]),
        part(raw.images[validation], raw.labels[validation]),
        part(test_images, test_labels),
        normalisation.by_white(raw.images.shape[1]),
    )


def count_images(spec: str, options: DataOptions = DataOptions()) -> tuple[int, int]:
    """Return the numbers of images of the training and the validation part, without decoding files.

    Args:
        spec: Name of a data set, as in `load_images`.
        options: How the data set is split.

    Raises:
        UnknownNameError: No data set has that name.
        DataError: Files of the data set are missing or damaged, or it cannot be split in that way.
        RuntimeUnavailableError: The package that has or reads the images is not installed.
    """
    source, text = find_named_source(spec)
    if source.open is None:
        # The resolution changes nothing about the numbers.
        images = load_images(spec, 8, options=options)
        return len(images.train), len(images.validation)
    rows = part_rows(spec, source, source.open(text), None, options)
    return len(rows.train), len(rows.validation)


def _memory_parts(
    raw: RawImages, classes: int, max_images: int | None, held_out: float | None
) -> tuple[Rows, Rows, Rows | None]:
    """Return the rows of the training, validation, and test parts; None for the source's own test part."""
    order = split_order(len(raw.labels))
    test: Rows | None = None
    if raw.test_labels is None:
        order, test = np.split(order, [len(order) * 4 // 5])
        start = len(raw.labels) * 3 // 5
    else:
        order = order[:max_images]
        start = len(order) * 4 // 5
    if held_out is None:
        train, validation = np.split(order, [start])
    else:
        names = [str(number) for number in range(classes)]
        train, validation = hold_out(order, raw.labels, held_out, names, "validation")
    return train, validation, test


def _channel_statistics(raw: RawImages, train: Rows) -> tuple[Any, Any]:
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
