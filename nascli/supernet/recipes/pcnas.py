"""Recipes of PC-NAS (Li et al. 2020, section 4.1)."""

from __future__ import annotations

from nascli.supernet.training.recipe import Recipe


def pcnas_supernet(epochs: int = 1, batch: int = 512) -> Recipe:
    """Return the recipe of the supernet, which trains on pools of partial models.

    Args:
        epochs: Not used by the search: how many epochs each of its stages takes is one of its settings.
        batch: Number of images per step.
    """
    return Recipe(epochs, batch, rate=0.1, warmup=0.0, floor=5e-4, weight_decay=1e-4, label_smoothing=0.0)


def pcnas(epochs: int = 300) -> Recipe:
    """Return the recipe of finalists, trained from scratch with mixup.

    The paper does not state the parameter of mixup; 0.2 is the one of Zhang et al. (2018) for ImageNet.

    Args:
        epochs: Number of epochs.
    """
    return Recipe(
        epochs, batch=512, rate=0.1, warmup=0.0, floor=5e-4, weight_decay=1e-4, mixup=0.2, label_smoothing=0.0
    )


RECIPES = {"pcnas": pcnas}
SUPERNETS = {"pcnas": pcnas_supernet}
