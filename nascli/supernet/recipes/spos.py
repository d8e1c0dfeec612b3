"""Recipes of SPOS (Guo et al. 2020, section 4), which trains as ShuffleNet V2 (Ma et al. 2018)."""

from __future__ import annotations

from nascli.supernet.training.recipe import Recipe


def spos_supernet(epochs: int = 120, batch: int = 1024) -> Recipe:
    """Return the recipe of the supernet, trained on uniformly drawn paths.

    Args:
        epochs: Number of epochs.
        batch: Number of images per step.
    """
    return Recipe(epochs, batch, rate=0.5, warmup=0.0, schedule="linear", weight_decay=4e-5)


def spos(epochs: int = 240) -> Recipe:
    """Return the recipe of the best architecture, trained from scratch.

    Args:
        epochs: Number of epochs.
    """
    return Recipe(epochs, batch=1024, rate=0.5, warmup=0.0, schedule="linear", weight_decay=4e-5)


RECIPES = {"spos": spos}
SUPERNETS = {"spos": spos_supernet}
