"""Parts of a data set, which deliver images to the device that trains or evaluates."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from nascli.spaces.primitives import Shape
from nascli.supernet.data.augmentation import cover_rectangles, move_images, shift_own_images
from nascli.supernet.data.rows import Batch, Rows, TrainingRows
from nascli.supernet.data.views import TrainingView
from nascli.supernet.training.recipe import Recipe


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
class PixelNormalisation:
    """How pixels become the input of a network: the mean is subtracted, and the result is divided by the deviation.

    Attributes:
        mean: Mean of the pixels, a number or `(1, channels, 1, 1)`, float32.
        deviation: Their standard deviation, of the same shape.
        peak: Value of the brightest pixel: 255 for images of bytes.
    """

    mean: Tensor = field(default_factory=lambda: torch.tensor(0.0))
    deviation: Tensor = field(default_factory=lambda: torch.tensor(1.0))
    peak: float = 255.0

    def to(self, device: torch.device) -> PixelNormalisation:
        """Return the same normalisation on a device."""
        return replace(self, mean=self.mean.to(device), deviation=self.deviation.to(device))

    def apply(self, pixels: Tensor) -> Tensor:
        """Return normalised float32 images from pixels of bytes, `(batch, channels, height, width)`."""
        images = pixels.to(torch.float32, memory_format=torch.channels_last)
        return images.sub_(self.mean).div_(self.deviation)

    def by_white(self, channels: int) -> Normalisation:
        """Return the normalisation on a scale on which the brightest pixel is 1, for a number of channels."""
        shares = [
            (values.double() / self.peak).reshape(-1).expand(channels)
            for values in (self.mean, self.deviation)
        ]
        mean, deviation = (tuple(share.tolist()) for share in shares)
        return Normalisation(mean, deviation)

    def black(self, channels: int) -> Tensor:
        """Return the normalised value of a black pixel, `(1, channels, 1, 1)`."""
        return (-self.mean / self.deviation).expand(1, channels, 1, 1)

    def to_bytes(self, images: Tensor) -> Tensor:
        """Return images `(batch, channels, height, width)` as bytes, from black (0) to the brightest pixel (255)."""
        pixels = (images * self.deviation + self.mean) * (255 / self.peak)
        return pixels.round_().clamp_(0, 255).to(torch.uint8)

    def from_bytes(self, pixels: Tensor) -> Tensor:
        """Return what `to_bytes` was given, up to rounding."""
        images = pixels.to(torch.float32, memory_format=torch.channels_last)
        return images.mul_(self.peak / 255).sub_(self.mean).div_(self.deviation)


class ImageSplit(ABC):
    """One part of a data set. Its images are normalised and delivered to `device`.

    Attributes:
        labels: Class of each image, `(n,)` int64, on the CPU.
    """

    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    @abstractmethod
    def shape(self) -> Shape:
        """Shape of one image as it is delivered."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Device to which images and labels are delivered."""

    @abstractmethod
    def to(self, device: torch.device | str) -> ImageSplit:
        """Return a split of the same images that delivers to a device."""

    @abstractmethod
    def evaluated(self, batches: Iterable[Rows]) -> Iterator[Batch]:
        """Deliver batches of images as they are evaluated, without augmentation; the next ones are read ahead.

        Args:
            batches: Rows of the split in each batch, `(batch,)`.

        Yields:
            Normalised images `(batch, channels, height, width)` float32 in the channels-last memory format, and
            labels `(batch,)`, on the device.

        Raises:
            DataError: An image cannot be read.
        """

    @abstractmethod
    def augmented(self, batches: Iterable[TrainingRows], recipe: Recipe, seed: int) -> Iterator[Batch]:
        """Deliver the rows of this process in batches for training, augmented as the recipe says.

        Augmentation follows from the seed, the epoch, and the row, whatever the number of processes and workers.

        Args:
            batches: Rows of each step.
            recipe: Recipe that names the augmentation.
            seed: Seed of the training.

        Yields:
            As `evaluated`.

        Raises:
            DataError: An image cannot be read.
        """

    @abstractmethod
    def subset(self, rows: Rows) -> ImageSplit:
        """Return a split of some of the images, in the order of `rows`."""

    @abstractmethod
    def joined(self, other: ImageSplit) -> ImageSplit:
        """Return a split of these images and, after them, those of another split of the same data set."""

    @property
    @abstractmethod
    def content(self) -> Iterable[bytes]:
        """What identifies images and labels, as input of a digest."""

    @property
    def digest(self) -> str:
        """Digest of images and labels: 32 hexadecimal digits. It does not depend on the device."""
        state = hashlib.sha256()
        for part in self.content:
            state.update(part)
        return state.hexdigest()[:32]

    def take(self, rows: Tensor | Rows) -> Batch:
        """Return some images as they are evaluated.

        Args:
            rows: Rows of the split, `(batch,)`, on the CPU.

        Returns:
            Normalised images `(batch, channels, height, width)` float32 in the channels-last memory format, and
            labels `(batch,)`, on the device.

        Raises:
            DataError: An image cannot be read.
        """
        return next(self.evaluated([np.asarray(rows)]))


@dataclass(frozen=True, eq=False)
class MemorySplit(ImageSplit):
    """A part of a data set whose images lie normalised in memory, on the device.

    Attributes:
        images: Normalised images, `(n, channels, height, width)` float32, on the device.
        labels: Class of each image, `(n,)` int64, on the CPU.
        normalisation: How the images were normalised.
    """

    images: Tensor
    labels: Tensor
    normalisation: PixelNormalisation = field(default_factory=PixelNormalisation)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> Shape:
        """Shape of one image."""
        return Shape(*self.images.shape[1:])

    @property
    def device(self) -> torch.device:
        """Device on which the images lie."""
        return self.images.device

    def to(self, device: torch.device | str) -> MemorySplit:
        """Return the same images on a device."""
        device = torch.device(device)
        return replace(self, images=self.images.to(device), normalisation=self.normalisation.to(device))

    def subset(self, rows: Rows) -> MemorySplit:
        """Return a split of some of the images."""
        chosen = torch.from_numpy(rows)
        return replace(self, images=self.images[chosen.to(self.device)], labels=self.labels[chosen])

    def joined(self, other: ImageSplit) -> MemorySplit:
        """Return a split of these images and, after them, those of another split in memory."""
        assert isinstance(other, MemorySplit)
        images = torch.cat([self.images, other.images])
        return replace(self, images=images, labels=torch.cat([self.labels, other.labels]))

    @property
    def content(self) -> Iterable[bytes]:
        """The images and the labels, as bytes."""
        yield self.images.cpu().contiguous().numpy().tobytes()
        yield self.labels.numpy().tobytes()

    @cached_property
    def _labels_on_device(self) -> Tensor:
        return self.labels.to(self.device)

    def _pick(self, rows: Rows) -> Batch:
        """Return images and labels of some rows, on the device."""
        chosen = torch.from_numpy(rows).to(self.device, non_blocking=True)
        return self.images[chosen], self._labels_on_device[chosen]

    def evaluated(self, batches: Iterable[Rows]) -> Iterator[Batch]:
        """Deliver batches of images as they are evaluated."""
        for rows in batches:
            images, labels = self._pick(rows)
            yield images.contiguous(memory_format=torch.channels_last), labels

    def augmented(self, batches: Iterable[TrainingRows], recipe: Recipe, seed: int) -> Iterator[Batch]:
        """Deliver the rows of this process in batches for training."""
        view = TrainingView.of(recipe, self.shape.height, seed)
        for batch in batches:
            rows = batch.rows[batch.own]
            images, labels = self._pick(rows)
            if view.changes_colours_or_scale:
                # Such augmentation is defined for bytes, image by image.
                pixels = self.normalisation.to_bytes(images)
                pixels = torch.stack(
                    [view(image, batch.epoch, int(row)) for image, row in zip(pixels, rows, strict=True)]
                )
                images = shift_own_images(self.normalisation.from_bytes(pixels), batch, recipe, seed)
            else:
                black = self.normalisation.black(self.shape.channels)
                images = move_images(images, batch, recipe, seed, black)
            images = cover_rectangles(images, batch, recipe, seed)
            yield images.contiguous(memory_format=torch.channels_last), labels
