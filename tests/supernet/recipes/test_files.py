"""Recipes from TOML files, and what is refused."""

import pytest

from nascli.errors import NascliError, UnknownNameError
from nascli.supernet.recipes.files import named_recipe
from nascli.supernet.recipes.registry import find_recipe, find_supernet_recipe
from nascli.supernet.training.recipe import Recipe


@pytest.fixture
def written(tmp_path):
    """A function that writes a recipe and reads it."""

    def job(text, kind="retraining", epochs=None):
        file = tmp_path / "mine.toml"
        file.write_text(text)
        return named_recipe(kind, str(file), epochs)

    return job


def test_names_are_those_of_the_registry():
    assert named_recipe("retraining", "nse", 7) == find_recipe("nse", 7)
    assert named_recipe("supernet", "spos") == find_supernet_recipe("spos")


def test_a_file_sets_fields_of_a_recipe(written):
    text = 'epochs = 3\nrate = 1\nflip = true\noptimizer = "adam"\nbetas = [0, 0.9]\ncutout = 4\n'
    recipe = written(text)
    assert recipe == Recipe(3, rate=1.0, flip=True, optimizer="adam", betas=(0.0, 0.9), cutout=4)
    assert isinstance(recipe.rate, float) and written(text, epochs=5).epochs == 5


def test_a_file_changes_another_recipe(written):
    recipe = written('base = "nse"\nepochs = 50\nrate = 0.2\n')
    assert (recipe.epochs, recipe.rate, recipe.warmup, recipe.ema) == (50, 0.2, 2 / 50, 0.9999)
    assert written('base = "nse"\nepochs = 50\n', epochs=20).warmup == 2 / 20
    assert written('base = "nse"').epochs == 350
    assert written('base = "nss"\nbatch = 32\n', kind="supernet").batch == 32


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (
            "epochs = 3\nrates = 1\n",
            UnknownNameError,
            "unknown field of a recipe in .*'rates'. Did you mean rate",
        ),
        ("epochs = 3\n[rate]\nx = 1\n", NascliError, "rate takes a number"),
        ("epochs = 3\nrate = true\n", NascliError, "rate takes a number, not True"),
        ("epochs = 3.0\n", NascliError, "epochs takes a whole number, not 3.0"),
        ('epochs = 3\nflip = "yes"\n', NascliError, "flip takes true or false, not 'yes'"),
        ("epochs = 3\nbetas = 0.9\n", NascliError, "betas takes a list of numbers"),
        ("epochs = 3\nrate = nan\n", NascliError, "rate must be finite"),
        (f"epochs = 3\nrate = {10**400}\n", NascliError, "rate is too large"),
        ("epochs = 3\nrate = -1.0\n", NascliError, "floor <= rate"),
        ('epochs = 3\nschedule = "steps"\n', NascliError, "needs milestones"),
        ("rate = 1.0\n", NascliError, "sets no epochs"),
        ("base = 3\n", NascliError, "base names a recipe, not 3"),
        ('base = "counted"\n', UnknownNameError, "unknown recipe of a supernet 'counted'"),
        ("epochs 3\n", NascliError, "is not TOML"),
        ("x = " + "[" * 100_000, NascliError, "is not TOML"),
        ("#" * (1 << 21), NascliError, "is larger than"),
    ],
)
def test_what_is_no_recipe_is_refused(written, text, error, message):
    with pytest.raises(error, match=message):
        written(text, kind="supernet")


def test_files_that_cannot_be_read_are_told(tmp_path):
    with pytest.raises(NascliError, match="cannot read the recipe .*none.toml"):
        named_recipe("retraining", str(tmp_path / "none.toml"))
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(NascliError, match="is not TOML"):
        named_recipe("retraining", str(tmp_path / "bytes.toml"))
