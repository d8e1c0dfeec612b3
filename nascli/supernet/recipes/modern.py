"""Recipes after what became usual later than the papers: cosine, RandAugment, erasing, mixup, and averaged weights."""

from __future__ import annotations

from dataclasses import replace

from nascli.supernet.recipes.entry import RETRAINING, RecipeEntry
from nascli.supernet.training.recipe import Recipe

WARMUP_EPOCHS = 5


def modern(epochs: int = 300) -> Recipe:
    """Return a recipe with SGD, close to the one of torchvision's later weights (Vryniotis 2021).

    Its learning rate is for 1,024 images per step; it grows in proportion to the batch.

    Args:
        epochs: Number of epochs; the learning rate rises over the first five.
    """
    return Recipe(
        epochs,
        batch=1024,
        rate=0.5,
        warmup=min(1.0, WARMUP_EPOCHS / epochs),
        weight_decay=2e-5,
        decay_all=False,
        label_smoothing=0.1,
        crop=0.08,
        flip=True,
        policy="randaugment",
        operations=2,
        magnitude=9,
        erasing=0.1,
        mixup=0.2,
        ema=0.9999,
    )


def modern_adamw(epochs: int = 300) -> Recipe:
    """Return the same with AdamW, which depends less on the batch size and on the network.

    Args:
        epochs: Number of epochs; the learning rate rises over the first five.
    """
    return replace(modern(epochs), optimizer="adamw", rate=1e-3, weight_decay=0.05)


ENTRIES = (
    RecipeEntry("modern", RETRAINING, modern, "SGD, cosine, RandAugment, averaged weights"),
    RecipeEntry("modern-adamw", RETRAINING, modern_adamw, "AdamW, cosine, RandAugment, averaged weights"),
)
