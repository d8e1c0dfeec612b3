"""Recipes of PC-NAS (Li et al. 2020, section 4)."""

from __future__ import annotations

from nascli.supernet.training.recipe import Recipe


def pcnas_supernet(epochs: int = 1, batch: int = 512) -> Recipe:
    """The supernet, trained on its pools. How many epochs a stage takes is a setting of the search."""
    return Recipe(epochs, batch, rate=0.1, warmup=0.0, floor=5e-4, weight_decay=1e-4, label_smoothing=0.0)


def pcnas(epochs: int = 300) -> Recipe:
    """The finalists, trained from scratch."""
    return Recipe(
        epochs, batch=512, rate=0.1, warmup=0.0, floor=5e-4, weight_decay=1e-4, mixup=0.2, label_smoothing=0.0
    )


RECIPES = {"pcnas": pcnas}
SUPERNETS = {"pcnas": pcnas_supernet}
