"""Batches of images: their order and their augmentation, from seed, epoch, and index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from nascli.random_streams import RandomStream, generator
from nascli.supernet.data.images import ImageSplit
from nascli.supernet.training import distributed
from nascli.supernet.training.recipe import Recipe

# Images that are evaluated at a time.
EVALUATION_BATCH = 128


def shift_images(images: Tensor, rng: np.random.Generator, max_shift: int) -> Tensor:
    """Move each image by a random number of pixels in both directions, as a mild augmentation.

    The border is repeated where an image moves away from it.

    Args:
        images: `(n, channels, height, width)`.
        rng: Generator of the distances, which are uniform integers from -max_shift to max_shift.
        max_shift: Largest distance in pixels; 0 returns the images as they are.

    Returns:
        Images of the same shape and dtype.
    """
    if max_shift == 0:
        return images
    n, _, height, width = images.shape
    padded = F.pad(images, (max_shift,) * 4, mode="replicate")
    down, right = rng.integers(0, 2 * max_shift + 1, (2, n))
    rows = torch.from_numpy(down)[:, None] + torch.arange(height)
    columns = torch.from_numpy(right)[:, None] + torch.arange(width)
    samples = torch.arange(n)[:, None, None]
    rows, columns, samples = (i.to(images.device, non_blocking=True) for i in (rows, columns, samples))
    # Indices around the channel slice put the channels last; they are moved back.
    return padded[samples, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def training_batches(
    split: ImageSplit, recipe: Recipe, *, seed: int, start: int, stop: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the rows of this process in the batches of the steps from `start` to `stop`."""
    per_epoch = max(1, len(split) // recipe.batch)
    order: npt.NDArray[np.int64] | None = None
    for step in range(start, stop):
        epoch, index = divmod(step, per_epoch)
        if order is None or index == 0:
            order = generator(seed, RandomStream.DATA_ORDER, epoch).permutation(len(split))
        rows = torch.from_numpy(order[index * recipe.batch : (index + 1) * recipe.batch])
        rows = rows.to(split.device, non_blocking=True)
        images = shift_images(
            split.images[rows], generator(seed, RandomStream.AUGMENTATION, step), recipe.shift
        )
        labels = split.labels[rows]
        own = distributed.rows_of_this_process(len(labels))
        yield images[own].contiguous(memory_format=torch.channels_last), labels[own]


def endless_batch(
    split: ImageSplit, batch: int, index: int, *, seed: int, stream: IntEnum, indices: Sequence[int] = ()
) -> tuple[Tensor, Tensor]:
    """Return one batch of an endless pass over a split, which is shuffled anew in each epoch.

    Args:
        split: Images to draw from.
        batch: Images per batch; a smaller split is returned whole.
        index: Number of the batch in the pass, from 0.
        seed: Seed of the order.
        stream: Random stream of the order.
        indices: What else the order is drawn from, as in `generator`; the epoch is appended.

    Returns:
        Images `(batch, channels, height, width)` in the channels-last memory format, and labels `(batch,)`.
    """
    size = min(batch, len(split))
    epoch, number = divmod(index, max(1, len(split) // size))
    order = generator(seed, stream, *indices, epoch).permutation(len(split))
    rows = torch.from_numpy(order[number * size : (number + 1) * size]).to(split.device, non_blocking=True)
    return split.images[rows].contiguous(memory_format=torch.channels_last), split.labels[rows]


def evaluation_batches(
    split: ImageSplit, max_images: int | None = None, *, share: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """Iterate over the images of a split in their own order, without augmentation.

    Args:
        split: Images to evaluate.
        max_images: Number of images, the first of the split; None for all.
        share: Whether the processes that train together share the batches; each of them gets its own ones.

    Yields:
        Up to `EVALUATION_BATCH` images in the channels-last memory format, and their labels.
    """
    count = len(split) if max_images is None else min(max_images, len(split))
    starts = range(0, count, EVALUATION_BATCH)
    for start in starts[distributed.rows_of_this_process(len(starts))] if share else starts:
        stop = min(start + EVALUATION_BATCH, count)
        images = split.images[start:stop].contiguous(memory_format=torch.channels_last)
        yield images, split.labels[start:stop]
