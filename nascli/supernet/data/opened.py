"""Data sets whose images are read when they are needed: their cache, their split, and their statistics."""

from __future__ import annotations

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


def open_splits(
    spec: str,
    source: Source,
    parts: PictureParts,
    resolution: int,
    max_images: int | None,
    options: DataOptions,
    progress: Progress,
) -> tuple[StreamedSplit, StreamedSplit, StreamedSplit]:
    """Split a data set whose images are read when they are needed; `load_images` says how.

    Args:
        spec: Name of the data set.
        source: Its source.
        parts: What the source opened.
        resolution: Height and width of the images, in pixels.
        max_images: Largest number of images of the training and validation parts together, if there is a test part.
        options: How the data set is split and read.
        progress: Says what is done.

    Returns:
        The training, validation, and test parts.

    Raises:
        DataError: The number of classes is not the source's, an image cannot be read, or a class has too few images.
    """
    names = parts.class_names
    if source.classes is not None and source.classes != len(names):
        raise DataError(f"{spec} has images of {len(names)} classes, not of {source.classes}.")
    bad = BadImages(progress.message)

    def kept(pictures: Pictures, title: str) -> Pictures:
        if not options.cache:
            return pictures
        return cached(
            pictures,
            title,
            progress,
            lambda all_of: decode_all(all_of, options.workers, options.skip_bad_images),
        )

    def reader(pictures: Pictures, rows: Rows) -> ImageReader:
        return ImageReader(pictures, rows, resolution, options.workers, options.skip_bad_images, bad)

    pictures = kept(parts.train, spec if parts.test is None else f"{spec}, training part")
    rows = split_order(len(pictures))
    share = _HELD_OUT
    if parts.test is None:
        rows, test_rows = hold_out(rows, pictures.labels, _HELD_OUT, names, "test")
        test = reader(pictures, test_rows)
        # Of all images, not of those that are left.
        share /= 1 - _HELD_OUT
    else:
        rows = rows[:max_images]
        test = reader(kept(parts.test, f"{spec}, test part"), np.arange(len(parts.test)))
    if parts.validation is None:
        size = share if options.validation is None else options.validation
        rows, validation_rows = hold_out(rows, pictures.labels, size, names, "validation")
        validation = reader(pictures, validation_rows)
    elif options.validation is not None:
        raise DataError(
            f"{spec} has a validation part of its own, of {len(parts.validation)} images.",
            "Name no size for it.",
        )
    else:
        own = kept(parts.validation, f"{spec}, validation part")
        validation = reader(own, np.arange(len(own)))
    train = reader(pictures, rows)
    normalisation = estimate_statistics(train)
    return (
        StreamedSplit.of(train, normalisation),
        StreamedSplit.of(validation, normalisation),
        StreamedSplit.of(test, normalisation),
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
