"""Data sets whose images are read when they are needed: their cache, their split, and their statistics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from nascli.errors import DataError
from nascli.progress import Progress
from nascli.supernet.data.cache import cached
from nascli.supernet.data.options import DataOptions
from nascli.supernet.data.partition import SPLIT_SEED, hold_out, split_order
from nascli.supernet.data.pictures import PictureParts, Pictures
from nascli.supernet.data.reader import BadImages, ImageReader, Request, decode_all
from nascli.supernet.data.rows import Rows
from nascli.supernet.data.sources.base import Source
from nascli.supernet.data.splits import PixelNormalisation
from nascli.supernet.data.streamed import StreamedSplit

# Share of the images that is held out for the test part, and for the validation part.
_HELD_OUT = 0.2
# Training images from which the mean and deviation of each channel are estimated, and how many are read at a time.
_STATISTICS_IMAGES, _STATISTICS_BATCH = 4096, 64


@dataclass(frozen=True)
class PartRows:
    """Which images of what a source opened each part has.

    Attributes:
        train: Rows of the source's training images.
        validation: Rows of the same, or of the source's own validation images if it has any.
        test: Rows of the same, or of the source's own test images if it has any.
    """

    train: Rows
    validation: Rows
    test: Rows


def part_rows(
    spec: str, source: Source, parts: PictureParts, max_images: int | None, options: DataOptions
) -> PartRows:
    """Divide images into parts, balanced by class; nothing is read.

    Args:
        spec: Name of the data set.
        source: Its source.
        parts: What the source opened.
        max_images: Largest number of images of the training and validation parts together, if there is a test part.
        options: How the data set is split.

    Raises:
        DataError: The number of classes is not the source's, a class has too few images, or the source has a
            validation part of its own and the options name another.
    """
    names, labels = parts.class_names, parts.train.labels
    if source.classes is not None and source.classes != len(names):
        raise DataError(f"{spec} has images of {len(names)} classes, not of {source.classes}.")
    rows, share = split_order(len(labels)), _HELD_OUT
    if parts.test is None:
        rows, test = hold_out(rows, labels, _HELD_OUT, names, "test")
        # A fifth of all images, not of those that are left.
        share /= 1 - _HELD_OUT
    else:
        rows, test = rows[:max_images], np.arange(len(parts.test))
    if parts.validation is None:
        size = share if options.validation is None else options.validation
        rows, validation = hold_out(rows, labels, size, names, "validation")
    elif options.validation is not None:
        raise DataError(
            f"{spec} has a validation part of its own, of {len(parts.validation)} images.",
            "Name no size for it.",
        )
    else:
        validation = np.arange(len(parts.validation))
    return PartRows(rows, validation, test)


def open_splits(
    spec: str, parts: PictureParts, rows: PartRows, resolution: int, options: DataOptions, progress: Progress
) -> tuple[StreamedSplit, StreamedSplit, StreamedSplit]:
    """Open the parts of a data set whose images are read when they are needed.

    Args:
        spec: Name of the data set.
        parts: What the source opened.
        rows: Which images each part has.
        resolution: Height and width of the images, in pixels.
        options: How the data set is read.
        progress: Says what is done.

    Returns:
        The training, validation, and test parts.

    Raises:
        DataError: An image cannot be read.
    """
    bad = BadImages(progress.message)

    def kept(pictures: Pictures, title: str) -> Pictures:
        if not options.cache:
            return pictures
        skips = options.skip_bad_images
        return cached(pictures, title, progress, lambda all_of: decode_all(all_of, options.workers, skips))

    def reader(pictures: Pictures, own: Rows) -> ImageReader:
        return ImageReader(pictures, own, resolution, options.workers, options.skip_bad_images, bad)

    alone = parts.validation is None and parts.test is None
    pictures = kept(parts.train, spec if alone else f"{spec}, training part")
    validation, test = (
        pictures if part is None else kept(part, f"{spec}, {title} part")
        for part, title in ((parts.validation, "validation"), (parts.test, "test"))
    )
    train = reader(pictures, rows.train)
    normalisation = estimate_statistics(train)
    return (
        StreamedSplit.of(train, normalisation),
        StreamedSplit.of(reader(validation, rows.validation), normalisation),
        StreamedSplit.of(reader(test, rows.test), normalisation),
    )


def estimate_statistics(reader: ImageReader) -> PixelNormalisation:
    """Estimate the mean and deviation of each channel from a random sample of images, which is always the same.

    Args:
        reader: Reads the training images; their evaluation views are used.

    Returns:
        Mean and deviation, `(1, channels, 1, 1)`.

    Raises:
        DataError: An image cannot be read.
    """
    count = len(reader.rows)
    rng = np.random.default_rng(SPLIT_SEED)
    sample = np.sort(rng.choice(count, min(count, _STATISTICS_IMAGES), replace=False))
    channels = reader.pictures.channels
    # How often each value occurs: exact, whatever the order.
    histogram = torch.zeros(channels, 256, dtype=torch.int64)
    requests = (
        Request(part) for part in np.split(sample, range(_STATISTICS_BATCH, len(sample), _STATISTICS_BATCH))
    )
    for pixels in reader.batches(requests, few=len(sample) < _STATISTICS_BATCH):
        for channel in range(channels):
            histogram[channel] += torch.bincount(pixels[:, channel].reshape(-1), minlength=256)
    shares = histogram.double() / histogram.sum(1, keepdim=True)
    values = torch.arange(256, dtype=torch.float64)
    mean = shares @ values
    deviation = ((shares @ values**2) - mean**2).clamp_min(0).sqrt()
    # A channel that never changes has deviation 0; its normalised pixels are 0.
    shape = (1, channels, 1, 1)
    return PixelNormalisation(mean.float().view(shape), deviation.clamp_min(1e-6).float().view(shape))
