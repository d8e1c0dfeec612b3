"""How a decoded image becomes an image of the resolution that a network takes, for evaluation and for training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nascli.errors import missing_package
from nascli.random_streams import RandomStream
from nascli.supernet.data.augmentation import Drawn
from nascli.supernet.training.recipe import Recipe

# Images are evaluated as the central part of a slightly larger image: 224 pixels of 256 (He et al. 2016).
_LARGER = 256 / 224


def load_transforms() -> Any:
    """Return torchvision's transforms; who forks processes that use them loads them first, for all of them.

    Raises:
        RuntimeUnavailableError: torchvision is not installed.
    """
    try:
        from torchvision.transforms import v2
    except ImportError as error:
        raise missing_package(
            "torchvision", "search", "images of different sizes, and their augmentation"
        ) from error
    return v2


@dataclass(frozen=True)
class EvaluationView:
    """The view of an image in which networks are evaluated.

    The shorter side of a larger image becomes 256/224 of the resolution, and the centre is cut out. An image whose
    shorter side is not larger than the resolution is cut to its central square, and resized.

    Attributes:
        resolution: Height and width of the view, in pixels.
        whole: Whether the central square of a larger image is seen up to its border, because the subject fills it.
    """

    resolution: int
    whole: bool = False

    def __call__(self, image: Tensor) -> Tensor:
        """Return the view of an image.

        Args:
            image: Bytes, `(channels, height, width)`.

        Returns:
            Bytes, `(channels, resolution, resolution)`.
        """
        size = self.resolution
        height, width = image.shape[1:]
        if height == width == size:
            return image
        functional = load_transforms().functional
        shorter = min(height, width)
        if shorter <= size or self.whole:
            square = functional.center_crop(image, [shorter, shorter])
            resized: Tensor = functional.resize(square, [size, size], antialias=True)
            return resized
        larger = max(size, round(size * _LARGER))
        resized = functional.resize(image, [larger], antialias=True)
        return functional.center_crop(resized, [size, size])  # type: ignore[no-any-return]


@dataclass(frozen=True)
class TrainingView:
    """The view of an image that a training step sees, which is drawn anew in each epoch.

    It has the part of the augmentation that is defined for bytes: random resized crop, crop out of a padded image,
    mirroring, colour jitter, and policies. Without a random resized crop it starts from the evaluation view.

    Attributes:
        resolution: Height and width of the view, in pixels.
        seed: Seed of the training.
        crop, pad, flip, jitter, policy, operations, magnitude, flip_vertical: As in `Recipe`.
        whole: As in `EvaluationView`.
    """

    resolution: int
    seed: int
    crop: float = 0.0
    pad: int = 0
    flip: bool = False
    jitter: float = 0.0
    policy: str = "none"
    operations: int = 2
    magnitude: int = 9
    flip_vertical: bool = False
    whole: bool = False

    @classmethod
    def of(cls, recipe: Recipe, resolution: int, seed: int, *, whole: bool = False) -> TrainingView:
        """Return the view that a recipe names.

        Args:
            recipe: Recipe of the training.
            resolution: Height and width of the view, in pixels.
            seed: Seed of the training.
            whole: As in `EvaluationView`.
        """
        return cls(
            resolution,
            seed,
            recipe.crop,
            recipe.pad,
            recipe.flip,
            recipe.jitter,
            recipe.policy,
            recipe.operations,
            recipe.magnitude,
            recipe.flip_vertical,
            whole,
        )

    @property
    def changes_colours_or_scale(self) -> bool:
        """Whether the view does more than to move and mirror an image."""
        return bool(self.crop or self.jitter) or self.policy != "none"

    def transform(self) -> Callable[[Tensor], Tensor]:
        """Return the transform of torchvision, which draws from torch's own generator."""
        v2 = load_transforms()
        size = self.resolution
        steps: list[Callable[[Any], Any]] = []
        if self.crop:
            steps.append(v2.RandomResizedCrop(size, scale=(self.crop, 1.0), antialias=True))
        else:
            steps.append(EvaluationView(size, self.whole))
        if self.pad:
            steps.append(v2.RandomCrop(size, padding=self.pad))
        if self.flip:
            steps.append(v2.RandomHorizontalFlip())
        if self.flip_vertical:
            steps.append(v2.RandomVerticalFlip())
        if self.jitter or self.policy != "none":
            # Pillow changes colours faster than torch does.
            steps.append(v2.functional.to_pil_image)
        if self.jitter:
            steps.append(v2.ColorJitter(self.jitter, self.jitter, self.jitter))
        if self.policy == "autoaugment":
            steps.append(v2.AutoAugment(v2.AutoAugmentPolicy.IMAGENET))
        elif self.policy == "randaugment":
            steps.append(v2.RandAugment(self.operations, self.magnitude))
        if self.jitter or self.policy != "none":
            steps.append(v2.functional.pil_to_tensor)

        def apply(image: Tensor) -> Tensor:
            changed: Any = image
            for step in steps:
                changed = step(changed)
            return changed  # type: ignore[no-any-return]

        return apply

    def __call__(self, image: Tensor, epoch: int, row: int) -> Tensor:
        """Return the view of an image in an epoch.

        Args:
            image: Bytes, `(channels, height, width)`.
            epoch: Number of the pass over the split, from 0.
            row: Row of the image in its split.

        Returns:
            Bytes, `(channels, resolution, resolution)`.
        """
        return self.drawn(self.transform(), image, epoch, row)

    def drawn(self, transform: Callable[[Tensor], Tensor], image: Tensor, epoch: int, row: int) -> Tensor:
        """Apply a transform with the random numbers of an image in an epoch; torch's own state is left as it was.

        Args:
            transform: What `transform` returned.
            image: Bytes, `(channels, height, width)`.
            epoch: Number of the pass over the split, from 0.
            row: Row of the image in its split.
        """
        # torch.manual_seed would also note the seed for each card.
        shared = torch.default_generator
        before = shared.get_state()
        shared.manual_seed(image_seed(self.seed, epoch, row))
        try:
            return transform(image)
        finally:
            shared.set_state(before)


def image_seed(seed: int, epoch: int, row: int) -> int:
    """Return the seed of the view of an image in an epoch, which depends on nothing but the arguments.

    Args:
        seed: Seed of the training.
        epoch: Number of the pass over the split, from 0.
        row: Row of the image in its split.
    """
    entropy = [seed, RandomStream.IMAGE_AUGMENTATION, Drawn.VIEW, epoch, row]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))
