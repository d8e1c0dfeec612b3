"""Recipes of NSE (Ci et al. 2021, appendix B)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from nascli.supernet.recipes.entry import (
    COMPUTING,
    RETRAINING,
    SUPERNET,
    Note,
    RecipeEntry,
    left_open,
    referred,
    stated,
)
from nascli.supernet.training.recipe import Recipe

WARMUP_EPOCHS = 2
EFFICIENTNET_WARMUP_EPOCHS = 5


def nse_supernet(epochs: int = 100, batch: int = 1024) -> Recipe:
    """Return the recipe of the supernet of one round. The learning rate rises over its first two epochs.

    Args:
        epochs: Number of epochs of the round.
        batch: Number of images per step.
    """
    return Recipe(
        epochs,
        batch,
        rate=0.4,
        warmup=WARMUP_EPOCHS / epochs,
        weight_decay=4e-5,
        label_smoothing=0.0,
        decay_all=False,
        crop=0.08,
        flip=True,
        jitter=0.2,
    )


def nse(epochs: int = 350) -> Recipe:
    """Return the recipe of finalists under a constraint on MACs, trained from scratch.

    Args:
        epochs: Number of epochs; the learning rate rises over the first two.
    """
    return replace(nse_supernet(epochs), batch=2048, rate=0.8, ema=0.9999)


def nse_latency(epochs: int = 350) -> Recipe:
    """Return the recipe of finalists under a constraint on latency, whose weights decay more.

    Args:
        epochs: Number of epochs; the learning rate rises over the first two.
    """
    return replace(nse(epochs), weight_decay=1e-4)


def nse_dagger(epochs: int = 350) -> Recipe:
    """Return the recipe of the rows with a dagger in Table 1, which trains as EfficientNet (Tan and Le 2019).

    The networks of these rows have swish and squeeze-and-excitation, which belong to the space and not to the recipe.

    Args:
        epochs: Number of epochs; the learning rate rises over the first five.
    """
    return Recipe(
        epochs,
        batch=2048,
        rate=0.128,
        warmup=EFFICIENTNET_WARMUP_EPOCHS / epochs,
        schedule="exponential",
        decay=0.97,
        decay_epochs=2.4,
        weight_decay=1e-5,
        decay_all=False,
        label_smoothing=0.1,
        optimizer="rmsprop",
        momentum=0.9,
        betas=(0.9, 0.9),
        epsilon=1e-3,
        ema=0.9999,
        crop=0.08,
        flip=True,
        dropout=0.2,
        drop_path=0.2,
    )


def follow_epochs(before: Recipe, after: Recipe) -> Recipe:
    """Return a changed recipe whose learning rate rises over as many epochs as it did before.

    Args:
        before: A recipe of this file at any number of epochs and any batch size; others are left alone.
        after: The same with some fields changed. A changed warm-up stays as it is.
    """
    for make, warmup in _WARMUP_EPOCHS.items():
        if before == replace(make(before.epochs), batch=before.batch) and before.warmup == after.warmup:
            return replace(after, warmup=warmup / after.epochs)
    return after


# Over how many epochs the learning rates rise, however many epochs there are.
_WARMUP_EPOCHS: dict[Callable[[int], Recipe], int] = {
    nse_supernet: WARMUP_EPOCHS,
    nse: WARMUP_EPOCHS,
    nse_latency: WARMUP_EPOCHS,
    nse_dagger: EFFICIENTNET_WARMUP_EPOCHS,
}

_PAPER = "Ci et al. 2021, Evolving Search Space for NAS"
_APPENDIX = "appendix B"
_CODE = {
    "label_smoothing": left_open("not mentioned; none, as in the authors' code"),
    "decay_all": left_open("not mentioned; the authors' code spares biases and normalisation"),
    "crop": left_open("not mentioned; 8 to 100 % of the area, as in the authors' code"),
    "flip": left_open("not mentioned; as in the authors' code"),
    "jitter": left_open("not mentioned; 0.2, as in the authors' code"),
}
_SUPERNET = {
    **_CODE,
    "epochs": stated(_APPENDIX, "100 a round"),
    "batch": stated(_APPENDIX, "1,024 images a step"),
    "rate": stated(_APPENDIX, "0.4"),
    "schedule": stated(_APPENDIX, "cosine"),
    "floor": stated(_APPENDIX, "0 at the end"),
    "warmup": stated(_APPENDIX, "two epochs; the authors' code begins them at 0.1, and this recipe at 0"),
    "weight_decay": stated(_APPENDIX, "4e-5"),
    "optimizer": stated(_APPENDIX, "SGD"),
    "momentum": stated(_APPENDIX, "0.9"),
    "nesterov": stated(_APPENDIX, "Nesterov's"),
    "synchronised": Note(COMPUTING, "", "not mentioned; the authors' code synchronises"),
}
_AS_SUPERNET = "not said anew for retraining; as for the supernet"
_RETRAINING = {
    **_CODE,
    "epochs": stated(_APPENDIX, "350"),
    "batch": stated(_APPENDIX, "2,048 images a step"),
    "rate": stated(_APPENDIX, "0.8"),
    "ema": stated(_APPENDIX, "an average with decay 0.9999"),
    "weight_decay": stated(_APPENDIX, "4e-5 under a constraint on MACs"),
    **{
        name: left_open(_AS_SUPERNET)
        for name in ("schedule", "floor", "warmup", "optimizer", "momentum", "nesterov")
    },
}
_EFFICIENTNET = "EfficientNet's training settings: "
_DAGGER = {
    "epochs": stated(_APPENDIX, "350"),
    "batch": stated(_APPENDIX, "2,048 images a step"),
    "ema": stated(_APPENDIX, "an average with decay 0.9999"),
    "policy": stated("Table 1", "AutoAugment has a mark of its own, which NSENet does not have"),
    "rate": referred(_APPENDIX, _EFFICIENTNET + "0.256 for 4,096 images, hence half of it for 2,048"),
    "schedule": referred(_APPENDIX, _EFFICIENTNET + "exponential"),
    "decay": referred(_APPENDIX, _EFFICIENTNET + "0.97"),
    "decay_epochs": referred(_APPENDIX, _EFFICIENTNET + "every 2.4 epochs"),
    "warmup": referred(_APPENDIX, _EFFICIENTNET + "five epochs, in the code"),
    "weight_decay": referred(_APPENDIX, _EFFICIENTNET + "1e-5"),
    "decay_all": referred(_APPENDIX, _EFFICIENTNET + "not on normalisation, in the code"),
    "label_smoothing": referred(_APPENDIX, _EFFICIENTNET + "0.1, in the code"),
    "optimizer": referred(_APPENDIX, _EFFICIENTNET + "RMSProp"),
    "momentum": referred(_APPENDIX, _EFFICIENTNET + "0.9"),
    "betas": referred(_APPENDIX, _EFFICIENTNET + "squares decay by 0.9"),
    "epsilon": referred(_APPENDIX, _EFFICIENTNET + "1e-3, in the code"),
    "crop": referred(_APPENDIX, _EFFICIENTNET + "8 to 100 % of the area, in the code"),
    "flip": referred(_APPENDIX, _EFFICIENTNET + "half of the images, in the code"),
    "dropout": referred(_APPENDIX, _EFFICIENTNET + "0.2 for B0"),
    "drop_path": referred(_APPENDIX, _EFFICIENTNET + "the last branch survives with 0.8"),
}

ENTRIES = (
    RecipeEntry("nse", SUPERNET, nse_supernet, "a round of NSE on ImageNet", _PAPER, _SUPERNET),
    RecipeEntry("nse", RETRAINING, nse, "NSE on ImageNet, under MACs", _PAPER, _RETRAINING),
    RecipeEntry(
        "nse-latency",
        RETRAINING,
        nse_latency,
        "NSE on ImageNet, under latency",
        _PAPER,
        {**_RETRAINING, "weight_decay": stated(_APPENDIX, "1e-4 under a constraint on latency")},
    ),
    RecipeEntry(
        "nse-dagger",
        RETRAINING,
        nse_dagger,
        "NSE on ImageNet, trained as EfficientNet (Table 1, with a dagger)",
        _PAPER,
        _DAGGER,
    ),
)
