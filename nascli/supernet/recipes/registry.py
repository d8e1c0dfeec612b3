"""How supernets and networks are trained: by name, as a paper did it, or as suits a CPU and small images."""

from __future__ import annotations

from nascli.errors import UnknownNameError
from nascli.supernet.training.recipe import Recipe

RECIPES = ("small", "counted", "spos", "pcnas", "nse")


def recipe_of(name: str, epochs: int | None) -> Recipe:
    """How a network is trained in full: for a CPU and small images, or as a paper trained its result on ImageNet.

    Args:
        name: 'small'; 'counted', the same at half the rate, for few bits; or a paper's algorithm.
        epochs: None for the recipe's own number.

    Raises:
        UnknownNameError: no such recipe.
    """
    match name:
        case "small":
            return Recipe(epochs or 12, batch=32)
        case "counted":
            return Recipe(epochs or 12, batch=32, rate=0.05)
        case "spos":
            return Recipe(
                epochs or 240, batch=1024, rate=0.5, warmup=0.0, schedule="linear", weight_decay=4e-5
            )
        case "pcnas":
            return Recipe(
                epochs or 300, batch=512, rate=0.1, warmup=0.0, floor=5e-4, weight_decay=1e-4, mixup=0.2,
                label_smoothing=0.0,
            )  # fmt: skip
        case "nse":
            return Recipe(epochs or 350, batch=2048, rate=0.8, weight_decay=4e-5, ema=0.9999)
        case _:
            raise UnknownNameError("recipe", name, list(RECIPES))


def supernet_recipe(name: str | None, epochs: int, batch: int) -> Recipe:
    """How a supernet is trained for so many epochs: by a paper's algorithm, 'nse-small', or None for a small one."""
    match name:
        case None:
            return Recipe(epochs, batch)
        case "nse-small":
            # Random sets of branches learn slowly at first: a high rate and little augmentation help small data.
            return Recipe(epochs, batch, rate=0.3, shift=1, label_smoothing=0.0)
        case "pcnas":
            return Recipe(
                epochs, batch, rate=0.1, warmup=0.0, floor=5e-4, weight_decay=1e-4, label_smoothing=0.0
            )
        case "nse":
            return Recipe(epochs, batch, rate=0.4, warmup=2 / epochs, weight_decay=4e-5, label_smoothing=0.0)
        case "spos":
            return Recipe(epochs, batch, rate=0.5, warmup=0.0, schedule="linear", weight_decay=4e-5)
        case _:
            raise UnknownNameError("recipe of a supernet", name, ["nse-small", "pcnas", "nse", "spos"])
