"""The loss of a batch: cross-entropy with smoothed labels, of images mixed in pairs where the recipe says so."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nascli.random_streams import RandomStream, generator
from nascli.supernet.training.recipe import Recipe

# From images `(batch, channels, height, width)` to logits `(batch, classes)`.
Forward = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class MixedBatch:
    """Images of which each may have a second label.

    Attributes:
        images: `(batch, channels, height, width)`.
        labels: Classes of the images, `(batch,)`.
        partners: Classes of the images that were mixed into them, `(batch,)`; None where none were.
        share: Weight of `labels`, from 0 to 1; the rest is that of `partners`.
    """

    images: Tensor
    labels: Tensor
    partners: Tensor | None = None
    share: float = 1.0


class BatchLoss:
    """The loss that a recipe asks for. What it draws follows from the seed, the step, and the part of the batch.

    Args:
        recipe: Recipe; of it mixup, cutmix, label smoothing, and automatic mixed precision are used.
        seed: Seed of what is mixed with what.
    """

    def __init__(self, recipe: Recipe, seed: int) -> None:
        self.recipe = recipe
        self.seed = seed

    def __call__(self, forward: Forward, images: Tensor, labels: Tensor, step: int, part: int = 0) -> Tensor:
        """Return the mean loss of one part of a batch, a scalar on the device of the images.

        Args:
            forward: The network.
            images: `(batch, channels, height, width)`.
            labels: Classes, `(batch,)`.
            step: Number of the step, from 0.
            part: Number of the part of the step's batch, from 0.
        """
        batch = self.mix(images, labels, step, part)
        with self._autocast(images):
            return self.cross_entropy(forward(batch.images).float(), batch)

    def mix(self, images: Tensor, labels: Tensor, step: int, part: int = 0) -> MixedBatch:
        """Mix images in pairs, by mixup or cutmix; where the recipe has both, by one of them at random.

        Args:
            images: `(batch, channels, height, width)`.
            labels: Classes, `(batch,)`.
            step: Number of the step, from 0.
            part: Number of the part of the step's batch, from 0.
        """
        mixup, cutmix = self.recipe.mixup, self.recipe.cutmix
        if not mixup and not cutmix:
            return MixedBatch(images, labels)
        rng = generator(self.seed, RandomStream.MIXUP, step, part)
        patches = bool(cutmix) and (not mixup or rng.random() < 0.5)
        share = float(rng.beta(cutmix, cutmix) if patches else rng.beta(mixup, mixup))
        # A small copy from the host, for which the host does not wait.
        partner = torch.from_numpy(rng.permutation(len(labels))).to(images.device, non_blocking=True)
        if not patches:
            return MixedBatch(share * images + (1 - share) * images[partner], labels, labels[partner], share)
        rows, columns, share = cutmix_box(images.shape[2], images.shape[3], share, rng)
        mixed = images.clone()
        mixed[:, :, rows, columns] = images[:, :, rows, columns][partner]
        return MixedBatch(mixed, labels, labels[partner], share)

    def cross_entropy(self, logits: Tensor, batch: MixedBatch) -> Tensor:
        """Return the mean cross-entropy with smoothed labels.

        Args:
            logits: `(batch, classes)` float32.
            batch: The images of the logits.
        """
        smoothing = self.recipe.label_smoothing
        first = F.cross_entropy(logits, batch.labels, label_smoothing=smoothing)
        if batch.partners is None:
            return first
        second = F.cross_entropy(logits, batch.partners, label_smoothing=smoothing)
        return batch.share * first + (1 - batch.share) * second

    def _autocast(self, images: Tensor) -> torch.autocast:
        dtype = getattr(torch, self.recipe.amp_type)
        return torch.autocast(images.device.type, dtype, enabled=self.recipe.amp)


def cutmix_box(height: int, width: int, share: float, rng: np.random.Generator) -> tuple[slice, slice, float]:
    """Draw the patch of an image that cutmix replaces (Yun et al. 2019, Eq. 2).

    The sides of the patch are those of the image times the root of `1 - share`. Its centre is uniform over the image,
    and what lies outside is cut off.

    Args:
        height: Rows of the image.
        width: Columns of the image.
        share: Share of the area that is to be kept, from 0 to 1.
        rng: Generator of the centre.

    Returns:
        Rows and columns of the patch, and the share of the area that is kept indeed.
    """
    ratio = math.sqrt(1 - share)
    rows = _side(height, ratio, rng)
    columns = _side(width, ratio, rng)
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    return rows, columns, 1 - area / (height * width)


def _side(length: int, ratio: float, rng: np.random.Generator) -> slice:
    half = int(length * ratio) // 2
    centre = int(rng.integers(length))
    return slice(max(0, centre - half), min(length, centre + half))
