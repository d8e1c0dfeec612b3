"""The registry of recipes, and those for small images; `test_papers` holds those of the papers."""

import dataclasses
import math

import pytest

from nascli.errors import UnknownNameError
from nascli.supernet.recipes.entry import CHOSEN, RETRAINING, SUPERNET
from nascli.supernet.recipes.nse import follow_epochs, nse_supernet
from nascli.supernet.recipes.registry import (
    find_entry,
    find_recipe,
    find_supernet_recipe,
    recipe_entries,
    recipe_names,
)
from nascli.supernet.training.recipe import Recipe

# What is the same in all of them.
COMMON = {"optimizer": "sgd", "accumulate": 1, "amp": False}
SMALL = {
    "epochs": 12, "batch": 32, "rate": 0.1, "warmup": 0.1, "schedule": "cosine", "floor": 0.0, "weight_decay": 4e-5,
    "label_smoothing": 0.1, "shift": 2, "clip": 5.0, "mixup": 0.0, "ema": 0.0,
}  # fmt: skip
RECIPES = {"small": SMALL, "counted": {**SMALL, "rate": 0.05}}
SUPERNETS = {
    "small": {**SMALL, "epochs": 5, "batch": 32},
    "nse-small": {**SMALL, "epochs": 5, "rate": 0.3, "shift": 1, "label_smoothing": 0.0},
}


def test_all_recipes_are_here():
    assert recipe_names() == [
        "small", "autospace", "counted", "modern", "modern-adamw", "nse", "nse-dagger", "nse-latency", "nss",
        "nss-cifar100", "pcnas", "proxyless", "spos",
    ]  # fmt: skip
    assert recipe_names(SUPERNET) == [
        "small", "autospace", "autospace-cells", "nse", "nse-small", "nss", "pcnas", "proxyless", "spos",
    ]  # fmt: skip
    keys = [(entry.kind, entry.name) for entry in recipe_entries()]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_from_scratch(name):
    recipe = find_recipe(name)
    assert recipe.to_json() == COMMON | RECIPES[name]
    assert find_recipe(name, 7) == dataclasses.replace(recipe, epochs=7)


@pytest.mark.parametrize("name", SUPERNETS)
def test_recipes_of_supernets(name):
    numbers = COMMON | SUPERNETS[name]
    assert find_supernet_recipe(name, numbers["epochs"], numbers["batch"]) == Recipe(**numbers)


def test_a_recipe_has_its_own_numbers_unless_it_is_told_others():
    assert find_supernet_recipe("small") == Recipe(14, 32, shift=2, clip=5.0)
    assert (find_supernet_recipe("spos").epochs, find_supernet_recipe("spos").batch) == (120, 1024)
    assert find_supernet_recipe("nss", batch=192).rate == pytest.approx(0.1)


@pytest.mark.parametrize("entry", recipe_entries(), ids=lambda entry: f"{entry.kind} {entry.name}")
def test_every_recipe_trains_for_any_number_of_epochs(entry):
    for epochs in (1, 2, 50):
        recipe = entry.make(epochs)
        rates = [recipe.rate_at(step, 10 * epochs) for step in range(10 * epochs)]
        assert recipe.epochs == epochs and all(0 <= rate <= recipe.rate for rate in rates)


def test_recipes_of_our_own_say_so():
    entry = find_entry(RETRAINING, "modern")
    assert entry.note("rate").mark == CHOSEN and entry.open_fields == ()
    assert "rate" not in find_entry(RETRAINING, "pcnas").open_fields
    assert "mixup" in find_entry(RETRAINING, "pcnas").open_fields


def test_modern_recipes_spare_normalisation_and_average_weights():
    for name in ("modern", "modern-adamw"):
        recipe = find_recipe(name)
        assert not recipe.decay_all and recipe.ema and recipe.policy == "randaugment"
        assert math.isclose(recipe.warmup * recipe.epochs, 5)
        assert recipe.schedule == "cosine"


def test_a_warm_up_over_epochs_follows_their_number():
    before = nse_supernet(100, batch=64)
    after = dataclasses.replace(before, epochs=50, rate=0.1)
    assert follow_epochs(before, after) == dataclasses.replace(after, warmup=0.04)
    chosen = dataclasses.replace(after, warmup=0.5)
    assert follow_epochs(before, chosen) == chosen
    other = find_recipe("small")
    assert follow_epochs(other, dataclasses.replace(other, epochs=3)).warmup == other.warmup


def test_names_that_are_not_there():
    with pytest.raises(UnknownNameError, match="unknown recipe 'spoz'. Did you mean spos"):
        find_recipe("spoz")
    with pytest.raises(UnknownNameError, match="unknown recipe of a supernet 'counted'"):
        find_supernet_recipe("counted", 1, 32)
