import math

import pytest

from nascli.errors import NascliError
from nascli.supernet.training.recipe import ArchitectureParameterSettings, Recipe


def test_schedules_and_recipes():
    recipe = Recipe(epochs=1, rate=1.0, warmup=0.1)
    rates = [recipe.rate_at(step, 100) for step in range(100)]
    assert rates[0] == 0.1 and max(rates) == 1.0 and rates[9] == 1.0 and rates[-1] < 0.01
    with pytest.raises(NascliError, match="epochs >= 1"):
        Recipe(epochs=0)


def test_schedules_by_hand():
    linear = Recipe(epochs=1, rate=1.0, warmup=0.0, schedule="linear", floor=0.2)
    assert linear.rate_at(0, 11) == 1.0
    assert linear.rate_at(6, 11) == pytest.approx(0.2 + 0.8 * 0.5)
    cosine = Recipe(epochs=1, rate=1.0, warmup=0.0, floor=0.2)
    assert cosine.rate_at(6, 11) == pytest.approx(0.2 + 0.8 * 0.5)


def test_steps_by_hand():
    """As cutout on CIFAR: a fifth after 60, 120, and 160 of 200 epochs, here of one step each."""
    recipe = Recipe(200, rate=1.0, warmup=0.0, schedule="steps", decay=0.2, milestones=(0.3, 0.6, 0.8))
    rates = [recipe.rate_at(step, 200) for step in range(200)]
    # The first step is its own warm-up, at the full rate.
    assert rates[:60] == [1.0] * 60
    assert rates[60:120] == pytest.approx([0.2] * 60)
    assert rates[120:160] == pytest.approx([0.04] * 40)
    assert rates[160:] == pytest.approx([0.008] * 40)


def test_exponential_by_hand():
    recipe = Recipe(10, rate=1.0, warmup=0.0, schedule="exponential", decay=0.5, decay_epochs=2.0)
    rates = [recipe.rate_at(step, 10) for step in range(10)]
    assert rates == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125, 0.0625, 0.0625]


@pytest.mark.parametrize("milestones", [(), (0.5, 0.3), (0.3, 0.3), (0.0,), (1.0,)])
def test_milestones_rise_between_the_ends(milestones):
    with pytest.raises(NascliError, match="milestones"):
        Recipe(1, schedule="steps", milestones=milestones)


@pytest.mark.parametrize("name", ["rate", "weight_decay", "decay_epochs", "jitter"])
def test_numbers_of_a_recipe_are_finite(name):
    for value in (math.nan, math.inf):
        with pytest.raises(NascliError):
            Recipe(1, **{name: value})


@pytest.mark.parametrize("wrong", [{"optimizer": "lamb"}, {"accumulate": 64}, {"ema": 1.0}, {"floor": 9.0}])
def test_recipes_that_cannot_be_are_refused(wrong):
    with pytest.raises(NascliError):
        Recipe(epochs=1, batch=64, **wrong)


@pytest.mark.parametrize(
    "wrong", [{"rate": -1.0}, {"betas": (0.9, 1.0)}, {"betas": (0.9,)}, {"weight": -1e-5}, {"start": 1.0}]
)
def test_settings_of_architecture_parameters_that_cannot_be_are_refused(wrong):
    with pytest.raises(NascliError):
        ArchitectureParameterSettings(**wrong)
