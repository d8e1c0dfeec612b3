"""Recipes of SPOS (Guo et al. 2020, section 4)."""

from __future__ import annotations

from nascli.supernet.training.recipe import Recipe


def spos_supernet(epochs: int = 120, batch: int = 1024) -> Recipe:
    """The supernet, trained on uniform paths."""
    return Recipe(epochs, batch, rate=0.5, warmup=0.0, schedule="linear", weight_decay=4e-5)


def spos(epochs: int = 240) -> Recipe:
    """The network that was found, trained from scratch."""
    return Recipe(epochs, batch=1024, rate=0.5, warmup=0.0, schedule="linear", weight_decay=4e-5)


RECIPES = {"spos": spos}
SUPERNETS = {"spos": spos_supernet}
