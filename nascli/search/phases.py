"""The phases of a search, which an algorithm announces before it begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nascli.progress import Phase

if TYPE_CHECKING:
    from nascli.supernet.training.recipe import Recipe

# Rates that phases of a search share. A step of a training along one path takes as long for an image, whether the path
# is one of a supernet or a network of its own.
TRAINING, EVALUATION = "training", "evaluation"


def training_phase(
    task: str,
    images: int,
    recipe: Recipe,
    *,
    epochs: int | None = None,
    rate: str = TRAINING,
    in_parts: bool = False,
) -> Phase:
    """Return the phase of a training.

    Args:
        task: What `Progress.start` calls it, or the beginning of that.
        images: The number of training images.
        recipe: How to train.
        epochs: The number of epochs; None for the recipe's.
        rate: Another name of a rate, where steps do more than train one path.
        in_parts: Whether the training starts several times, each time up to where it goes next.
    """
    steps = max(1, images // recipe.batch) * (recipe.epochs if epochs is None else epochs)
    return Phase(task, steps, rate, work=recipe.batch, in_parts=in_parts)


def evaluation_phase(task: str, architectures: int | None, *, rate: str = EVALUATION) -> Phase:
    """Return the phase that evaluates architectures with inherited weights.

    Args:
        task: What `Progress.start` calls it, or the beginning of that.
        architectures: How many there are at most; None where it is not known.
        rate: Another name of a rate, where an evaluation is not one on the whole validation part.
    """
    return Phase(task, architectures, rate)
