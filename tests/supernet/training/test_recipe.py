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
