"""Recipes of AutoSpace (Zhou et al. 2021, supplement), which states little and searches with ProxylessNAS."""

from __future__ import annotations

from dataclasses import replace

from nascli.supernet.recipes.entry import RETRAINING, SUPERNET, RecipeEntry, left_open, stated
from nascli.supernet.recipes.proxyless import proxyless, proxyless_supernet
from nascli.supernet.training.recipe import Recipe


def autospace_cells(epochs: int = 160, batch: int = 256) -> Recipe:
    """Return the recipe of the supernet in which cells evolve, at a constant rate: cells that come late learn too.

    Args:
        epochs: Not used by the search: how long cells evolve is one of its settings.
        batch: Number of images per step.
    """
    return replace(proxyless_supernet(epochs, batch), schedule="constant")


def autospace_supernet(epochs: int = 120, batch: int = 256) -> Recipe:
    """Return the recipe of the supernet of the learned space.

    Args:
        epochs: Number of epochs.
        batch: Number of images per step.
    """
    return proxyless_supernet(epochs, batch)


def autospace(epochs: int = 300) -> Recipe:
    """Return the recipe of a network trained from scratch.

    Args:
        epochs: Number of epochs.
    """
    return proxyless(epochs)


_PAPER = "Zhou et al. 2021, AutoSpace"
_PROXYLESS = "not in the supplement; as ProxylessNAS, by which the paper searches: "
_FIELDS = (
    "rate", "schedule", "floor", "warmup", "weight_decay", "label_smoothing", "optimizer", "momentum", "nesterov",
    "decay_all", "crop", "flip", "jitter",
)  # fmt: skip
_OPEN = {name: left_open(f"{_PROXYLESS}see recipe proxyless") for name in _FIELDS}
_CELLS = {
    **{name: note for name, note in _OPEN.items() if name != "floor"},
    "batch": stated("supplement, section 1", "256 images a step"),
    "epochs": stated("supplement, section 1", "40 of warm-up and 120 of evolution"),
    "schedule": left_open("not in the supplement; constant, so that cells that come late learn too"),
}
_SUPERNET = {
    **_OPEN,
    "batch": left_open(f"{_PROXYLESS}256 images a step"),
    "epochs": left_open(f"{_PROXYLESS}120"),
}
_RETRAINING = {
    **_SUPERNET,
    "epochs": left_open(f"{_PROXYLESS}300"),
    "dropout": left_open(f"{_PROXYLESS}see recipe proxyless"),
}

ENTRIES = (
    RecipeEntry(
        "autospace-cells", SUPERNET, autospace_cells, "the evolution of AutoSpace's cells", _PAPER, _CELLS
    ),
    RecipeEntry(
        "autospace", SUPERNET, autospace_supernet, "the learned space of AutoSpace", _PAPER, _SUPERNET
    ),
    RecipeEntry("autospace", RETRAINING, autospace, "AutoSpace on ImageNet", _PAPER, _RETRAINING),
)
