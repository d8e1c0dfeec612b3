"""Recipes of PC-NAS (Li et al. 2020, section 4.1)."""

from __future__ import annotations

from dataclasses import replace

from nascli.supernet.recipes.entry import RETRAINING, SUPERNET, RecipeEntry, left_open, stated
from nascli.supernet.training.recipe import Recipe


def pcnas_supernet(epochs: int = 200, batch: int = 512) -> Recipe:
    """Return the recipe of the supernet, which trains on pools of partial models.

    Args:
        epochs: Not used by the search: how many epochs each of its stages takes is one of its settings.
        batch: Number of images per step.
    """
    return Recipe(
        epochs,
        batch,
        rate=0.1,
        warmup=0.0,
        floor=5e-4,
        weight_decay=1e-4,
        label_smoothing=0.0,
        crop=0.08,
        flip=True,
    )


def pcnas(epochs: int = 300) -> Recipe:
    """Return the recipe of the best model, trained from scratch as the supernet was, but with mixup.

    Args:
        epochs: Number of epochs.
    """
    return replace(pcnas_supernet(epochs), mixup=0.2)


_PAPER = "Li et al. 2020, Improving One-Shot NAS by Suppressing the Posterior Fading"
_SECTION = "section 4.1"
_NOTES = {
    "batch": stated(_SECTION, "512 images a step"),
    "rate": stated(_SECTION, "0.1 at first"),
    "schedule": stated(_SECTION, "cosine"),
    "floor": stated(_SECTION, "5e-4 at the end"),
    "weight_decay": stated(_SECTION, "L2 regularisation with weight 1e-4"),
    "optimizer": stated(_SECTION, "mini-batch SGD"),
    "momentum": stated(_SECTION, "0.9"),
    "nesterov": stated(_SECTION, "Nesterov's"),
    "warmup": left_open("no rising rate is mentioned; the warm-up of the paper is training on all paths"),
    "label_smoothing": left_open("not mentioned; none"),
    "decay_all": left_open("not mentioned; L2 regularisation is taken to be that of all weights"),
    "crop": left_open("not mentioned; the usual one of ImageNet"),
    "flip": left_open("not mentioned; the usual one of ImageNet"),
}

ENTRIES = (
    RecipeEntry(
        "pcnas",
        SUPERNET,
        pcnas_supernet,
        "PC-NAS on ImageNet",
        _PAPER,
        {**_NOTES, "epochs": stated(_SECTION, "100 of warm-up and 20 times 5, 200 in total")},
    ),
    RecipeEntry(
        "pcnas",
        RETRAINING,
        pcnas,
        "PC-NAS on ImageNet",
        _PAPER,
        {
            **_NOTES,
            "epochs": stated(_SECTION, "300"),
            "mixup": left_open("mixup is used; 0.2 as Zhang et al. (2018) on ImageNet", _SECTION),
        },
    ),
)
