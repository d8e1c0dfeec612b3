"""Recipes for a CPU and small images."""

from __future__ import annotations

from nascli.supernet.training.recipe import Recipe


def small(epochs: int = 12) -> Recipe:
    """A network trained from scratch."""
    return Recipe(epochs, batch=32)


def low_bit(epochs: int = 12) -> Recipe:
    """A network with convolutions at low bit widths, which half the learning rate of `small` suits."""
    return Recipe(epochs, batch=32, rate=0.05)


def small_supernet(epochs: int, batch: int = 32) -> Recipe:
    """A single-path supernet, or one of stages."""
    return Recipe(epochs, batch)


def small_multi_branch_supernet(epochs: int, batch: int = 32) -> Recipe:
    """A multi-branch supernet.

    Random sets of branches learn slowly at first: a high learning rate and little augmentation help small data.
    """
    return Recipe(epochs, batch, rate=0.3, shift=1, label_smoothing=0.0)


# "counted" is the name of `low_bit` on the command line, and "nse-small" that of the last one in old settings.
RECIPES = {"small": small, "counted": low_bit}
SUPERNETS = {"small": small_supernet, "nse-small": small_multi_branch_supernet}
