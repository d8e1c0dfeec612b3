"""Recipes for small images and training on a CPU."""

from __future__ import annotations

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


def small_supernet(epochs: int, batch: int = 32) -> Recipe:
    """Return the recipe of a single-path supernet, or of the supernet of a staged space.

    Args:
        epochs: Number of epochs.
        batch: Number of images per step.
    """
    return Recipe(epochs, batch, shift=2, clip=5.0)


def small_multi_branch_supernet(epochs: int, batch: int = 32) -> Recipe:
    """Return the recipe of a multi-branch supernet.

    Random sets of branches learn slowly at first: a high learning rate and little augmentation help on small data.

    Args:
        epochs: Number of epochs.
        batch: Number of images per step.
    """
    return Recipe(epochs, batch, rate=0.3, shift=1, label_smoothing=0.0, clip=5.0)


# On the command line `low_bit` is called "counted". Old settings call the last recipe "nse-small".
RECIPES = {"small": small, "counted": low_bit}
SUPERNETS = {"small": small_supernet, "nse-small": small_multi_branch_supernet}
