"""Augmentation of a whole batch on its device: moved, mirrored, and partly covered images.

The random numbers of an image follow from the seed, the epoch, and its row in the split. They are drawn on the host.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from nascli.random_streams import RandomStream, generator
from nascli.supernet.data.rows import TrainingRows
from nascli.supernet.training.recipe import Recipe

# Erased rectangles: smallest and largest share of the image's area, and largest ratio of their sides (Zhong et al.
# 2020, section 3).
_ERASED_AREA = (0.02, 0.33)
_ERASED_RATIO = 3.3

Floats = npt.NDArray[np.float64]


class Drawn(IntEnum):
    """What random numbers of an image are drawn for; the first index of `RandomStream.IMAGE_AUGMENTATION`."""

    PADDED_CROP = 1
    FLIP = 2
    CUTOUT = 3
    ERASING = 4
    VIEW = 5
    VERTICAL_FLIP = 6


def _uniform(seed: int, drawn: Drawn, batch: TrainingRows, columns: int) -> Floats:
    """Return uniform numbers of the images that this process takes, `(columns, own rows)`, from 0 to below 1.

    A row's numbers follow from its own number alone: they are the outputs of SplitMix64 (Steele et al. 2014) at
    positions that belong to the row.
    """
    entropy = [seed, RandomStream.IMAGE_AUGMENTATION, drawn, batch.epoch]
    key = np.random.SeedSequence(entropy).generate_state(1, np.uint64)
    rows = batch.rows[batch.own].astype(np.uint64)
    position = rows * np.uint64(columns) + np.arange(1, columns + 1, dtype=np.uint64)[:, None]
    z = key + position * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    numbers: Floats = ((z ^ (z >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53
    return numbers


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
    down, right = rng.integers(0, 2 * max_shift + 1, (2, len(images)))
    return _windows(F.pad(images, (max_shift,) * 4, mode="replicate"), down, right, max_shift)


def _windows(
    padded: Tensor, down: npt.NDArray[np.int64], right: npt.NDArray[np.int64], border: int
) -> Tensor:
    """Cut a window out of each padded image; it starts `down` and `right` of the upper left corner."""
    height, width = padded.shape[2] - 2 * border, padded.shape[3] - 2 * border
    rows = torch.from_numpy(down)[:, None] + torch.arange(height)
    columns = torch.from_numpy(right)[:, None] + torch.arange(width)
    rows, columns = (each.to(padded.device, non_blocking=True) for each in (rows, columns))
    samples = torch.arange(len(padded), device=padded.device)[:, None, None]
    # Indices around the channel slice put the channels last; they are moved back.
    return padded[samples, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def move_images(images: Tensor, batch: TrainingRows, recipe: Recipe, seed: int, black: Tensor) -> Tensor:
    """Shift images, cut them out of a black border, and mirror them, as the recipe says.

    Args:
        images: Images of the rows that this process takes, `(n, channels, height, width)`.
        batch: Rows of the step.
        recipe: Recipe with `shift`, `pad`, `flip`, and `flip_vertical`.
        seed: Seed of the training.
        black: Value of the border, `(1, channels, 1, 1)`.

    Returns:
        Images of the same shape.
    """
    images = shift_own_images(images, batch, recipe, seed)
    if recipe.pad:
        numbers = _uniform(seed, Drawn.PADDED_CROP, batch, 2)
        down, right = (numbers * (2 * recipe.pad + 1)).astype(np.int64)
        # A border of zeros in an image whose black is 0.
        padded = F.pad(images - black, (recipe.pad,) * 4)
        images = _windows(padded, down, right, recipe.pad) + black
    for wanted, drawn, axis in ((recipe.flip, Drawn.FLIP, 3), (recipe.flip_vertical, Drawn.VERTICAL_FLIP, 2)):
        if wanted:
            mirrored = torch.from_numpy(_uniform(seed, drawn, batch, 1)[0] < 0.5)
            mirrored = mirrored.to(images.device, non_blocking=True)
            images = torch.where(mirrored[:, None, None, None], images.flip(axis), images)
    return images


def shift_own_images(images: Tensor, batch: TrainingRows, recipe: Recipe, seed: int) -> Tensor:
    """Shift the images of this process as `shift_images` shifts the whole batch of the step.

    Args:
        images: Images of the rows that this process takes, `(n, channels, height, width)`.
        batch: Rows of the step.
        recipe: Recipe with `shift`.
        seed: Seed of the training.
    """
    if recipe.shift == 0:
        return images
    rng = generator(seed, RandomStream.AUGMENTATION, batch.step)
    down, right = rng.integers(0, 2 * recipe.shift + 1, (2, len(batch.rows)))[:, batch.own]
    padded = F.pad(images, (recipe.shift,) * 4, mode="replicate")
    return _windows(padded, down, right, recipe.shift)


def cover_rectangles(images: Tensor, batch: TrainingRows, recipe: Recipe, seed: int) -> Tensor:
    """Set random rectangles of images to the mean: by random erasing and by cutout, as the recipe says.

    Random erasing covers 2 to 33 % of the area with sides of a ratio up to 3.3 (Zhong et al. 2020, section 3); the
    rectangle lies inside of the image. The square of cutout has its centre anywhere in the image, and is cut at the
    border (DeVries and Taylor 2017, section 3).

    Args:
        images: Normalised images of the rows that this process takes, `(n, channels, height, width)`.
        batch: Rows of the step.
        recipe: Recipe with `erasing` and `cutout`.
        seed: Seed of the training.

    Returns:
        Images of the same shape.
    """
    height, width = images.shape[2:]
    if recipe.erasing:
        chance, area, ratio, y, x = _uniform(seed, Drawn.ERASING, batch, 5)
        low, high = _ERASED_AREA
        pixels = (low + (high - low) * area) * height * width
        aspect = _ERASED_RATIO ** (2 * ratio - 1)
        tall = np.clip(np.round(np.sqrt(pixels * aspect)), 1, height)
        wide = np.clip(np.round(np.sqrt(pixels / aspect)), 1, width)
        top, left = np.floor(y * (height - tall + 1)), np.floor(x * (width - wide + 1))
        tall = np.where(chance < recipe.erasing, tall, 0)
        images = _cover(images, top, top + tall, left, left + wide)
    if recipe.cutout:
        y, x = _uniform(seed, Drawn.CUTOUT, batch, 2)
        top = np.floor(y * height) - recipe.cutout // 2
        left = np.floor(x * width) - recipe.cutout // 2
        images = _cover(images, top, top + recipe.cutout, left, left + recipe.cutout)
    return images


def _cover(images: Tensor, top: Floats, bottom: Floats, left: Floats, right: Floats) -> Tensor:
    """Set one rectangle of each image to 0; the lower and the right end are not part of it."""
    ends = torch.from_numpy(np.stack([top, bottom, left, right]).astype(np.int64))
    ends = ends.to(images.device, non_blocking=True)
    y = torch.arange(images.shape[2], device=images.device)
    x = torch.arange(images.shape[3], device=images.device)
    rows = (y >= ends[0][:, None]) & (y < ends[1][:, None])
    columns = (x >= ends[2][:, None]) & (x < ends[3][:, None])
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)
