"""Images to train on: loaded once, normalised, resized to the space's resolution."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nascli.errors import DataError, Remedy
from nascli.spaces.catalog import make_space, takes_parameter
from nascli.spaces.primitives import Shape
from nascli.spaces.space import Space
from nascli.spaces.staged import StagedSpace
from nascli.supernet.data.sources.base import Labels, Pixels
from nascli.supernet.data.sources.folder import classes_in
from nascli.supernet.data.sources.registry import find_source


@dataclass(frozen=True)
class ImageSplit:
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
    train: ImageSplit
    validation: ImageSplit
    test: ImageSplit

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


def _split_name(spec: str) -> tuple[str, Path | None]:
    name, _, folder = spec.partition(":")
    return name, Path(folder).expanduser() if folder else None


def data_properties(spec: str) -> tuple[int, int]:
    """Number of classes and of channels of a data set, without loading it.

    Raises:
        UnknownNameError: no such data set.
        DataError: a folder that has no classes.
    """
    name, folder = _split_name(spec)
    source = find_source(name)
    classes = source.classes
    if classes is None:
        classes = classes_in(folder) if folder is not None else 0
        if classes < 2:
            raise DataError(
                f"{spec}: no folder with at least 2 class folders.",
                "Name the data set with its folder.",
                Remedy(arguments={"data": f"{name}:FOLDER"}),
            )
    return classes, source.channels or 3


def load_images(spec: str, resolution: int, *, max_images: int | None = None) -> Images:
    """Load a data set at a resolution.

    The test part is the source's own, or a fifth of it. A fifth of the rest (as much as the test part where
    there is no own one) is held out for validation, as the papers do; the split is the same for everybody.

    Args:
        spec: a name, or a name and a folder: ``cifar10:FOLDER``.
        resolution: height and width of the images.
        max_images: keep only that many images of the training and validation part together.

    Raises:
        UnknownNameError: no such data set.
        DataError: its package or files are missing or damaged.
    """
    classes, _ = data_properties(spec)
    name, folder = _split_name(spec)
    raw = find_source(name).read(folder, resolution)
    rng = np.random.default_rng(20260)
    order = rng.permutation(len(raw.labels))
    if raw.test_labels is None or raw.test_images is None:
        first, second = len(order) * 3 // 5, len(order) * 4 // 5
        train, validation, test = order[:first], order[first:second], order[second:]
        test_images, test_labels = raw.images[test], raw.labels[test]
    else:
        order = order[:max_images]
        cut = len(order) * 4 // 5
        train, validation = order[:cut], order[cut:]
        test_images, test_labels = raw.test_images, raw.test_labels
    sample = raw.images[np.sort(train)[:20_000]].astype(np.float32)
    mean, deviation = sample.mean((0, 2, 3), keepdims=True), sample.std((0, 2, 3), keepdims=True)
    if raw.images.shape[1] == 1:
        mean, deviation = raw.images[train].mean(), raw.images[train].std()

    # A channel that never changes has no deviation, and stays at 0.
    deviation = np.maximum(deviation, 1e-6)

    def part(pixels: Pixels, labels: Labels) -> ImageSplit:
        images = torch.from_numpy(((pixels - mean) / deviation).astype(np.float32))
        if images.shape[-2:] != (resolution, resolution):
            smaller = images.shape[-1] > resolution
            images = F.interpolate(
                images, (resolution, resolution), mode="bilinear", align_corners=False, antialias=smaller
            )
        return ImageSplit(images.contiguous(), torch.from_numpy(labels))

    return Images(
        spec,
        classes,
        part(raw.images[train], raw.labels[train]),
        part(raw.images[validation], raw.labels[validation]),
        part(test_images, test_labels),
    )


def require_fit(images: Images, shape: Shape, classes: int) -> None:
    """Refuse a data set that does not fit a space.

    Raises:
        DataError: other channels, resolution or classes.
    """
    if images.shape != shape or images.classes != classes:
        raise DataError(
            f"{images.name} has images of {images.shape} in {images.classes} classes, but the space takes "
            f"{shape} and tells {classes} classes apart.",
            "Give the space the data's parameters.",
            Remedy(arguments={"space": f"NAME:channels={images.shape.channels},classes={images.classes}"}),
        )


def space_for_data(space: Space, data: str) -> Space:
    """The space with the data's classes and channels, where its parameters do not say otherwise."""
    return make_space(space.name, **parameters_for_data(space, data))


def parameters_for_data(space: Space | StagedSpace, data: str) -> dict[str, Any]:
    """The parameters of a space, with the data's classes and channels where they do not say otherwise."""
    classes, channels = data_properties(data)
    wanted = {"classes": classes, "channels": channels}
    fitting = {k: v for k, v in wanted.items() if takes_parameter(space.name, k)}
    return {**fitting, **dict(space.parameters)}
