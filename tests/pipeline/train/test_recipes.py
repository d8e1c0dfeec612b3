import pytest

from nascli.errors import ConstraintError, NascliError, UnknownNameError
from nascli.pipeline.train.recipes import chosen_recipe
from nascli.supernet.recipes.registry import find_recipe


def test_fields_of_a_recipe_are_changed_by_name():
    recipe = chosen_recipe("retraining", "small", changes=["recipe.rate=0.4", "recipe.flip=true"])
    assert (recipe.rate, recipe.flip, recipe.batch) == (0.4, True, 32)
    steps = ["recipe.schedule=steps", "recipe.milestones=0.5,0.75"]
    assert chosen_recipe("retraining", "small", changes=steps).milestones == (0.5, 0.75)
    assert chosen_recipe("supernet", "spos").epochs == 120


def test_what_a_recipe_says_in_epochs_follows_their_number():
    assert chosen_recipe("retraining", "nse", epochs=10).warmup == 2 / 10
    changed = chosen_recipe("retraining", "nse", changes=["recipe.epochs=20", "recipe.rate=0.1"])
    assert (changed.epochs, changed.warmup, changed.rate) == (20, 2 / 20, 0.1)
    assert chosen_recipe("retraining", "nse", changes=["recipe.epochs=20", "recipe.warmup=0"]).warmup == 0


def test_a_file_is_a_recipe_too(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('base = "modern"\nrate = 0.1\n')
    recipe = chosen_recipe("retraining", str(file), epochs=30, changes=["recipe.mixup=0"])
    assert (recipe.epochs, recipe.rate, recipe.mixup) == (30, 0.1, 0.0)
    assert recipe.warmup == find_recipe("modern", 30).warmup


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ("recipe.rates=1", UnknownNameError, "Did you mean rate"),
        ("supernet.rate=1", UnknownNameError, "unknown group of hyper-parameters 'supernet'. .*recipe"),
        ("rate=1", UnknownNameError, r"unknown field of a recipe 'rate'. .*recipe\.rate"),
        ("recipe.rate", ConstraintError, r"such as recipe\.rate=0\.4"),
        ("recipe.rate=x", ConstraintError, "rate takes float"),
        ("recipe.batch=1", NascliError, "batch >= 2"),
    ],
)
def test_what_cannot_be_changed(change, error, message):
    with pytest.raises(error, match=message):
        chosen_recipe("retraining", "small", changes=[change])
