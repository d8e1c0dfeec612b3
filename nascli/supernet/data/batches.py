"""Batches of images: which rows of a split a step takes, from seed and epoch alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum

import numpy as np

from nascli.random_streams import RandomStream, generator
from nascli.supernet.data.rows import Batch, Rows, TrainingRows
from nascli.supernet.data.splits import ImageSplit
from nascli.supernet.training import distributed
from nascli.supernet.training.recipe import Recipe

# Images that are evaluated at a time.
EVALUATION_BATCH = 128


def training_batches(
    split: ImageSplit, recipe: Recipe, *, seed: int, start: int, stop: int
) -> Iterator[Batch]:
    """Iterate over the batches of training steps, augmented as the recipe says.

    The split is shuffled anew in each epoch; an incomplete batch at its end is left out. Order and augmentation
    follow from the seed, the epoch, and the image, so that a training that resumes at any step sees the same
    batches, whatever the number of processes and workers.

    Args:
        split: Images to train on.
        recipe: Recipe that names the batch size and the augmentation.
        seed: Seed of order and augmentation.
        start: First step, from 0.
        stop: Step before which to stop.

    Yields:
        The rows of this process: normalised images `(batch, channels, height, width)` float32 in the channels-last
        memory format, and labels `(batch,)`, on the device of the split.

    Raises:
        DataError: An image cannot be read.
    """
    return split.augmented(_training_rows(len(split), recipe.batch, seed, start, stop), recipe, seed)


def _training_rows(images: int, batch: int, seed: int, start: int, stop: int) -> Iterator[TrainingRows]:
    """Yield the rows of each step."""
    steps_per_epoch = max(1, images // batch)
    order: Rows | None = None
    for step in range(start, stop):
        epoch, index = divmod(step, steps_per_epoch)
        if order is None or index == 0:
            order = generator(seed, RandomStream.DATA_ORDER, epoch).permutation(images)
        rows = order[index * batch : (index + 1) * batch]
        yield TrainingRows(step, epoch, rows, distributed.rows_of_this_process(len(rows)))


class EndlessBatches:
    """Batches of an endless pass over a split, which is shuffled anew in each epoch, without augmentation.

    Images that are read from files are read ahead as long as batches are asked for one after the other.

    Args:
        split: Images to draw from.
        batch: Images per batch; a smaller split is returned whole.
        seed: Seed of the order.
        stream: Random stream of the order.
        indices: What else the order is drawn from, as in `generator`; the epoch is appended.
        share: Whether a batch is shared out among processes, so that each gets only its own rows.

    Raises:
        ProcessGroupError: There are more processes than rows to share.
    """

    def __init__(
        self,
        split: ImageSplit,
        batch: int,
        *,
        seed: int,
        stream: IntEnum,
        indices: Sequence[int] = (),
        share: bool = False,
    ) -> None:
        self._split, self._seed, self._stream, self._indices = split, seed, stream, tuple(indices)
        self._size = min(batch, len(split))
        self._share = share
        if share:
            distributed.require_rows(self._size)
        self._next = -1
        self._batches: Iterator[Batch] = iter(())

    def at(self, index: int) -> Batch:
        """Return a batch.

        Args:
            index: Number of the batch in the pass, from 0.

        Returns:
            Images `(batch, channels, height, width)` in the channels-last memory format, and labels `(batch,)`, on
            the device of the split.

        Raises:
            DataError: An image cannot be read.
        """
        if index != self._next:
            self._batches = self._split.evaluated(self._rows_from(index))
        self._next = index + 1
        return next(self._batches)

    @property
    def weight(self) -> float:
        """Factor of the mean loss over the rows of this process, with which the mean over processes is the batch's."""
        return distributed.loss_weight(self._size) if self._share else 1.0

    def _rows_from(self, index: int) -> Iterator[Rows]:
        """Yield the rows of all batches from a number on."""
        order: Rows | None = None
        batches_per_epoch = max(1, len(self._split) // self._size)
        while True:
            epoch, number = divmod(index, batches_per_epoch)
            if order is None or number == 0:
                order = generator(self._seed, self._stream, *self._indices, epoch).permutation(
                    len(self._split)
                )
            rows = order[number * self._size : (number + 1) * self._size]
            yield rows[distributed.rows_of_this_process(len(rows))] if self._share else rows
            index += 1


def evaluation_batches(
    split: ImageSplit, max_images: int | None = None, *, share: bool = False
) -> Iterator[Batch]:
    """Iterate over the images of a split in their own order, without augmentation.

    Args:
        split: Images to evaluate.
        max_images: Number of images, the first of the split; None for all.
        share: Whether the processes that train together share the batches; each of them gets its own ones.

    Yields:
        Up to `EVALUATION_BATCH` images in the channels-last memory format, and their labels, on the device of the
        split.

    Raises:
        DataError: An image cannot be read.
    """
    count = len(split) if max_images is None else min(max_images, len(split))
    starts = range(0, count, EVALUATION_BATCH)
    if share:
        starts = starts[distributed.rows_of_this_process(len(starts))]
    return split.evaluated(np.arange(start, min(start + EVALUATION_BATCH, count)) for start in starts)
