"""Recipes of Network Space Search (Hong et al. 2021), which trains on CIFAR-10 and CIFAR-100."""

from __future__ import annotations

from dataclasses import replace

from nascli.supernet.recipes.entry import RETRAINING, SUPERNET, RecipeEntry, left_open, referred, stated
from nascli.supernet.training.recipe import Recipe


def nss_supernet(epochs: int = 90, batch: int = 64) -> Recipe:
    """Return the recipe of the supernets: the one on which spaces are learned, and that of an Elite Space.

    Args:
        epochs: Number of epochs.
        batch: Number of images per step. The learning rate is in proportion to it: FBNet's 0.1 for 192.
    """
    return Recipe(
        epochs,
        batch,
        rate=0.1 * batch / 192,
        warmup=0.0,
        weight_decay=1e-4,
        label_smoothing=0.0,
        nesterov=False,
        pad=4,
        flip=True,
    )


def nss(epochs: int = 200) -> Recipe:
    """Return the recipe by which architectures train on CIFAR-10: that of cutout (DeVries and Taylor 2017).

    Args:
        epochs: Number of epochs. The learning rate falls to a fifth after 30, 60, and 80 % of them.
    """
    return Recipe(
        epochs,
        batch=128,
        rate=0.1,
        warmup=0.0,
        schedule="steps",
        decay=0.2,
        milestones=(0.3, 0.6, 0.8),
        weight_decay=5e-4,
        label_smoothing=0.0,
        pad=4,
        flip=True,
        cutout=16,
    )


def nss_cifar100(epochs: int = 200) -> Recipe:
    """Return the recipe by which architectures train on CIFAR-100, where the square of cutout is smaller.

    Args:
        epochs: Number of epochs.
    """
    return replace(nss(epochs), cutout=8)


_PAPER = "Hong et al. 2021, Network Space Search for Pareto-Efficient Spaces"
_FBNET = "section 4.1 refers to FBNetV2, which continues FBNet (Wu et al. 2019): "
_SUPERNET = {
    "batch": stated("section 4.1", "64 images a step"),
    "epochs": left_open(_FBNET + "90", "section 4.1"),
    "rate": left_open(_FBNET + "0.1 for 192 images, in proportion", "section 4.1"),
    "schedule": left_open(_FBNET + "cosine", "section 4.1"),
    "floor": left_open(_FBNET + "cosine to 0", "section 4.1"),
    "warmup": left_open("the paper's warm-up holds the distribution still, not the rate", "section 4.1"),
    "weight_decay": left_open(_FBNET + "1e-4", "section 4.1"),
    "label_smoothing": left_open("not mentioned; none"),
    "optimizer": left_open(_FBNET + "SGD", "section 4.1"),
    "momentum": left_open(_FBNET + "0.9", "section 4.1"),
    "nesterov": left_open(_FBNET + "plain momentum", "section 4.1"),
    "decay_all": left_open("not mentioned; all weights"),
    "crop": left_open("not mentioned; small images are padded instead"),
    "pad": left_open("not mentioned; the usual one of CIFAR"),
    "flip": left_open("not mentioned; the usual one of CIFAR"),
}
_CUTOUT = "the settings of DeVries and Taylor (2017): "
_SECTION = "section 4.3"
_RETRAINING = {
    name: referred(_SECTION, _CUTOUT + words)
    for name, words in {
        "epochs": "200",
        "batch": "128 images a step",
        "rate": "0.1",
        "schedule": "steps",
        "decay": "a fifth",
        "milestones": "after 60, 120, and 160 of 200 epochs",
        "warmup": "none",
        "weight_decay": "5e-4",
        "label_smoothing": "none",
        "optimizer": "SGD",
        "momentum": "0.9",
        "nesterov": "Nesterov's",
        "decay_all": "all weights, in the code",
        "crop": "none; padded images instead",
        "pad": "4 pixels",
        "flip": "half of the images",
        "cutout": "a square of 16 pixels on CIFAR-10",
    }.items()
}

ENTRIES = (
    RecipeEntry("nss", SUPERNET, nss_supernet, "Network Space Search on CIFAR", _PAPER, _SUPERNET),
    RecipeEntry("nss", RETRAINING, nss, "Network Space Search on CIFAR-10", _PAPER, _RETRAINING),
    RecipeEntry(
        "nss-cifar100",
        RETRAINING,
        nss_cifar100,
        "Network Space Search on CIFAR-100",
        _PAPER,
        {**_RETRAINING, "cutout": referred(_SECTION, _CUTOUT + "a square of 8 pixels on CIFAR-100")},
    ),
)
