"""Recipes of NSE (Ci et al. 2021, section 4)."""

from __future__ import annotations

from nascli.supernet.training.recipe import Recipe


def nse_supernet(epochs: int = 100, batch: int = 1024) -> Recipe:
    """The supernet of one round; the learning rate rises over its first two epochs."""
    return Recipe(epochs, batch, rate=0.4, warmup=2 / epochs, weight_decay=4e-5, label_smoothing=0.0)


def nse(epochs: int = 350) -> Recipe:
    """The finalists, trained from scratch."""
    return Recipe(epochs, batch=2048, rate=0.8, weight_decay=4e-5, ema=0.9999)


RECIPES = {"nse": nse}
SUPERNETS = {"nse": nse_supernet}
