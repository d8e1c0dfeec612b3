"""Batches: their order and augmentation, from seed, epoch, and index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nascli.random_streams import generator
from nascli.supernet.data.images import ImageSplit

# Images that are evaluated at a time.
EVALUATION_BATCH = 128


def shifted(images: Tensor, rng: np.random.Generator, max_shift: int) -> Tensor:
    """Each image moved by up to `max_shift` pixels, the border repeated: a mild augmentation."""
    if max_shift == 0:
        return images
    n, _, height, width = images.shape
    padded = F.pad(images, (max_shift,) * 4, mode="replicate")
    down, right = rng.integers(0, 2 * max_shift + 1, (2, n))
    rows = torch.from_numpy(down)[:, None] + torch.arange(height)
    columns = torch.from_numpy(right)[:, None] + torch.arange(width)
    samples = torch.arange(n)[:, None, None]
    # Indices around the channel slice put the channels last; they are moved back.
    return padded[samples, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def endless_batch(
    split: ImageSplit, batch: int, index: int, *, seed: int, stream: IntEnum, indices: Sequence[int] = ()
) -> tuple[Tensor, Tensor]:
    """Return one batch of an endless pass over a split.

    Args:
        split: Images.
        batch: Images per batch.
        index: Which batch of the pass.
        seed, stream, indices: What the order of the images is drawn from, as in `generator`; the epoch is appended.
    """
    size = min(batch, len(split))
    epoch, place = divmod(index, max(1, len(split) // size))
    order = generator(seed, stream, *indices, epoch).permutation(len(split))
    part = torch.from_numpy(order[place * size : (place + 1) * size])
    return split.images[part].contiguous(memory_format=torch.channels_last), split.labels[part]


def batches(split: ImageSplit, max_images: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
    """The first images of a split (all by default), a few at a time, with their labels."""
    count = len(split) if max_images is None else min(max_images, len(split))
    for start in range(0, count, EVALUATION_BATCH):
        stop = min(start + EVALUATION_BATCH, count)
        images = split.images[start:stop].contiguous(memory_format=torch.channels_last)
        yield images, split.labels[start:stop]
