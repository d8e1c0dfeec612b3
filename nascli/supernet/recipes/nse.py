"""Recipes of NSE (Ci et al. 2021, appendix B)."""

from __future__ import annotations

from nascli.supernet.training.recipe import Recipe


def nse_supernet(epochs: int = 100, batch: int = 1024) -> Recipe:
    """Return the recipe of the supernet of one round. The learning rate rises over its first two epochs.

    Args:
        epochs: Number of epochs of the round.
        batch: Number of images per step.
    """
    return Recipe(epochs, batch, rate=0.4, warmup=2 / epochs, weight_decay=4e-5, label_smoothing=0.0)


def nse(epochs: int = 350) -> Recipe:
    """Return the recipe of finalists under a constraint on MACs, trained from scratch.

    Under a latency constraint, the paper has a weight decay of 1e-4.

    Args:
        epochs: Number of epochs.
    """
    return Recipe(epochs, batch=2048, rate=0.8, weight_decay=4e-5, ema=0.9999)


RECIPES = {"nse": nse}
SUPERNETS = {"nse": nse_supernet}
