"""Every recipe, with the numbers of its paper."""

import dataclasses

import pytest

from nascli.errors import UnknownNameError
from nascli.supernet.recipes.registry import find_recipe, find_supernet_recipe, recipe_names
from nascli.supernet.training.recipe import Recipe

# What is the same in all of them.
COMMON = {"optimizer": "sgd", "accumulate": 1, "amp": False}
SMALL = {
    "epochs": 12, "batch": 32, "rate": 0.1, "warmup": 0.1, "schedule": "cosine", "floor": 0.0, "weight_decay": 4e-5,
    "label_smoothing": 0.1, "shift": 2, "clip": 5.0, "mixup": 0.0, "ema": 0.0,
}  # fmt: skip
# No paper states a clipped gradient or moves images by pixels.
PAPER = {**SMALL, "shift": 0, "clip": 0.0}
RECIPES = {
    "small": SMALL,
    "counted": {**SMALL, "rate": 0.05},
    # Section 4: batch 1024, 240 epochs, and the settings of ShuffleNet V2: 0.5 falling linearly, 4e-5.
    "spos": {**PAPER, "epochs": 240, "batch": 1024, "rate": 0.5, "warmup": 0.0, "schedule": "linear"},
    # Section 4.1: batch 512, cosine from 0.1 to 5e-4, L2 1e-4, 300 epochs, mixup.
    "pcnas": {
        **PAPER, "epochs": 300, "batch": 512, "warmup": 0.0, "floor": 5e-4, "weight_decay": 1e-4,
        "label_smoothing": 0.0, "mixup": 0.2,
    },
    # Appendix B: 350 epochs, batch 2048, 0.8, weight decay 4e-5, average with decay 0.9999.
    "nse": {**PAPER, "epochs": 350, "batch": 2048, "rate": 0.8, "ema": 0.9999},
}  # fmt: skip
SUPERNETS = {
    "small": {**SMALL, "epochs": 5, "batch": 32},
    "nse-small": {**SMALL, "epochs": 5, "rate": 0.3, "shift": 1, "label_smoothing": 0.0},
    "spos": {**PAPER, "epochs": 120, "batch": 1024, "rate": 0.5, "warmup": 0.0, "schedule": "linear"},
    "pcnas": {
        **PAPER, "epochs": 200, "batch": 512, "warmup": 0.0, "floor": 5e-4, "weight_decay": 1e-4, "label_smoothing": 0.0,
    },
    # Appendix B: batch 1024, 100 epochs, 0.4 by cosine after 2 epochs of warm-up, weight decay 4e-5.
    "nse": {**PAPER, "epochs": 100, "batch": 1024, "rate": 0.4, "warmup": 0.02, "label_smoothing": 0.0},
}  # fmt: skip


def test_all_recipes_are_here():
    assert recipe_names() == ["small", "counted", "nse", "pcnas", "spos"]
    assert set(recipe_names()) == set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_from_scratch(name):
    recipe = find_recipe(name)
    assert recipe.to_json() == COMMON | RECIPES[name]
    assert find_recipe(name, 7) == dataclasses.replace(recipe, epochs=7)


@pytest.mark.parametrize("name", SUPERNETS)
def test_recipes_of_supernets(name):
    numbers = COMMON | SUPERNETS[name]
    assert find_supernet_recipe(name, numbers["epochs"], numbers["batch"]) == Recipe(**numbers)


def test_names_that_are_not_there():
    with pytest.raises(UnknownNameError, match="unknown recipe 'spoz'. Did you mean spos"):
        find_recipe("spoz")
    with pytest.raises(UnknownNameError, match="unknown recipe of a supernet 'counted'"):
        find_supernet_recipe("counted", 1, 32)
