"""Recipes of SPOS (Guo et al. 2020, section 4), which trains as ShuffleNet V2 (Ma et al. 2018)."""

from __future__ import annotations

from nascli.supernet.recipes.entry import COMPUTING, RETRAINING, SUPERNET, Note, RecipeEntry, referred, stated
from nascli.supernet.training.recipe import Recipe


def spos_supernet(epochs: int = 120, batch: int = 1024) -> Recipe:
    """Return the recipe of the supernet, trained on uniformly drawn paths.

    Args:
        epochs: Number of epochs.
        batch: Number of images per step.
    """
    return Recipe(
        epochs,
        batch,
        rate=0.5,
        warmup=0.0,
        schedule="linear",
        weight_decay=4e-5,
        nesterov=False,
        decay_all=False,
        crop=0.08,
        flip=True,
        jitter=0.4,
    )


def spos(epochs: int = 240) -> Recipe:
    """Return the recipe of the best architecture, trained from scratch with the same settings.

    Args:
        epochs: Number of epochs.
    """
    return spos_supernet(epochs, batch=1024)


_PAPER = "Guo et al. 2020, Single Path One-Shot NAS"
_SECTION = "section 4"
_REFERRED = {
    "rate": "as ShuffleNet V2, which starts at 0.5",
    "schedule": "as ShuffleNet V2, linear",
    "floor": "as ShuffleNet V2, down to 0",
    "warmup": "as ShuffleNet V2, whose rate does not rise first",
    "weight_decay": "as ShuffleNet V2, 4e-5",
    "label_smoothing": "as ShuffleNet V2, 0.1",
    "optimizer": "as ShuffleNet V2, SGD",
    "momentum": "as ShuffleNet V2, 0.9",
    "nesterov": "as ShuffleNet V2, plain momentum",
    "decay_all": "as ShuffleNet V2, whose code spares biases and normalisation",
    "crop": "as ShuffleNet V2, random resized crops of 8 to 100 % of the area",
    "flip": "as ShuffleNet V2, half of the images",
    "jitter": "as ShuffleNet V2, 0.4 each for brightness, contrast, and saturation",
}
_NOTES = {
    "batch": stated(_SECTION, "1,024 images a step"),
    **{name: referred(_SECTION, words) for name, words in _REFERRED.items()},
    "synchronised": Note(COMPUTING, "", "eight cards of 128 images each; each normalises its own"),
}

ENTRIES = (
    RecipeEntry(
        "spos",
        SUPERNET,
        spos_supernet,
        "SPOS on ImageNet",
        _PAPER,
        {**_NOTES, "epochs": stated(_SECTION, "120 epochs, which are 150,000 steps of 1,280,000 images")},
    ),
    RecipeEntry(
        "spos",
        RETRAINING,
        spos,
        "SPOS on ImageNet",
        _PAPER,
        {**_NOTES, "epochs": stated(_SECTION, "240 epochs, which are 300,000 steps of 1,280,000 images")},
    ),
)
