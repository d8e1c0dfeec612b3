"""Recipes of ProxylessNAS (Cai, Zhu, and Han 2019), whose authors' code states what the paper leaves open."""

from __future__ import annotations

from nascli.supernet.recipes.entry import RETRAINING, SUPERNET, RecipeEntry, left_open, stated
from nascli.supernet.training.recipe import Recipe


def proxyless_supernet(epochs: int = 160, batch: int = 256) -> Recipe:
    """Return the recipe of the weights in a search.

    Args:
        epochs: Number of epochs; probabilities do not learn in the first 40 of 160.
        batch: Number of images per step.
    """
    return Recipe(epochs, batch, rate=0.05, warmup=0.0, weight_decay=4e-5, crop=0.08, flip=True, jitter=0.3)


def proxyless(epochs: int = 300) -> Recipe:
    """Return the recipe of a network trained from scratch.

    Args:
        epochs: Number of epochs.
    """
    return Recipe(
        epochs,
        batch=256,
        rate=0.05,
        warmup=0.0,
        weight_decay=4e-5,
        decay_all=False,
        crop=0.08,
        flip=True,
        jitter=0.4,
        dropout=0.1,
    )


_PAPER = "Cai, Zhu, and Han 2019, ProxylessNAS"
_CODE = "in the authors' code: "
_BOTH = {
    "schedule": left_open(_CODE + "cosine"),
    "floor": left_open(_CODE + "to 0"),
    "warmup": left_open(_CODE + "the rate does not rise first"),
    "weight_decay": left_open(_CODE + "4e-5"),
    "label_smoothing": left_open(_CODE + "0.1"),
    "optimizer": left_open(_CODE + "SGD"),
    "momentum": left_open(_CODE + "0.9"),
    "nesterov": left_open(_CODE + "Nesterov's"),
    "crop": left_open(_CODE + "8 to 100 % of the area"),
    "flip": left_open(_CODE + "half of the images"),
}
_SUPERNET = {
    **_BOTH,
    "batch": stated("section 4.2", "256 images a step"),
    "epochs": left_open(_CODE + "40 for the weights alone and 120 with the probabilities"),
    "rate": left_open(_CODE + "two cosines, from 0.05 for the weights alone and then from 0.025; here one"),
    "decay_all": left_open(_CODE + "all weights"),
    "jitter": left_open(_CODE + "0.125 for brightness and 0.5 for saturation; here one figure between them"),
}
_RETRAINING = {
    **_BOTH,
    "batch": left_open(_CODE + "256 images a step"),
    "epochs": left_open(_CODE + "300"),
    "rate": left_open(_CODE + "0.05"),
    "decay_all": left_open(_CODE + "not on normalisation"),
    "jitter": left_open(_CODE + "0.4 each for brightness, contrast, and saturation"),
    "dropout": left_open(_CODE + "0.1 for the phone's network, 0.2 for the CPU's, and 0.3 for the GPU's"),
}

ENTRIES = (
    RecipeEntry("proxyless", SUPERNET, proxyless_supernet, "ProxylessNAS on ImageNet", _PAPER, _SUPERNET),
    RecipeEntry("proxyless", RETRAINING, proxyless, "ProxylessNAS on ImageNet", _PAPER, _RETRAINING),
)
