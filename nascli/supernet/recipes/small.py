"""Recipes for small images and training on a CPU."""

from __future__ import annotations

from nascli.supernet.recipes.entry import RETRAINING, SUPERNET, RecipeEntry
from nascli.supernet.training.recipe import Recipe


def small(epochs: int = 12) -> Recipe:
    """Return the recipe of a network trained from scratch.

    Args:
        epochs: Number of epochs.
    """
    return Recipe(epochs, batch=32, shift=2, clip=5.0)


def low_bit(epochs: int = 12) -> Recipe:
    """Return the recipe of a network with low bit widths, which train better at half the learning rate of `small`.

    Args:
        epochs: Number of epochs.
    """
    return Recipe(epochs, batch=32, rate=0.05, shift=2, clip=5.0)


def small_supernet(epochs: int = 14, batch: int = 32) -> Recipe:
    """Return the recipe of a single-path supernet, or of the supernet of a staged space.

    Args:
        epochs: Number of epochs.
        batch: Number of images per step.
    """
    return Recipe(epochs, batch, shift=2, clip=5.0)


def small_multi_branch_supernet(epochs: int = 12, batch: int = 32) -> Recipe:
    """Return the recipe of a multi-branch supernet.

    Random sets of branches learn slowly at first: a high learning rate and little augmentation help on small data.

    Args:
        epochs: Number of epochs.
        batch: Number of images per step.
    """
    return Recipe(epochs, batch, rate=0.3, shift=1, label_smoothing=0.0, clip=5.0)


# On the command line `low_bit` is called "counted". Old settings call the last recipe "nse-small".
ENTRIES = (
    RecipeEntry("small", RETRAINING, small, "small images on a CPU"),
    RecipeEntry("counted", RETRAINING, low_bit, "low bit widths: half the learning rate of small"),
    RecipeEntry("small", SUPERNET, small_supernet, "small images on a CPU"),
    RecipeEntry(
        "nse-small", SUPERNET, small_multi_branch_supernet, "multi-branch spaces, small images on a CPU"
    ),
)
