"""Options that say how a data set is split and read."""

import json

import pytest
from commanding import QUICK, TINY, run
from image_files import write_images

from nascli.search.preset import Preset
from nascli.supernet.training.recipe import Recipe

pytestmark = pytest.mark.usefixtures("quick_measuring")


@pytest.fixture
def architecture(tmp_path):
    from nascli.spaces import Architecture, load_space

    space = load_space(f"{TINY},classes=2,channels=3")
    Architecture.of(space, [1] * len(space.layers), "mine").save(tmp_path / "a.json")
    return tmp_path / "a.json"


def test_a_folder_is_trained_on_with_workers_and_all_of_its_images(architecture, tmp_path):
    paths = write_images(tmp_path / "photos", images=30, suffix=".jpg")
    common = ["train", architecture, "--data", f"folder:{tmp_path / 'photos'}", "--epochs", "1", "--batch", "2", "--json"]  # fmt: skip
    held = json.loads(
        run(*common, "--data-workers", "2", "--validation", "10", "--out", tmp_path / "a").stdout
    )
    again = json.loads(run(*common, "--no-image-cache", "--validation", "10", "--out", tmp_path / "b").stdout)
    assert again["top1"] == held["top1"] and again["validation_top1"] == held["validation_top1"]
    settings = json.loads((tmp_path / "a" / "settings.json").read_text())
    assert settings["validation"] == 10 and "workers" not in settings and "train_on" not in settings
    done = run(*common, "--train-on", "all", "--out", tmp_path / "c")
    assert "validation images are trained on too" in done.stderr
    assert json.loads((tmp_path / "c" / "settings.json").read_text())["train_on"] == "all"
    assert run(*common, "--out", tmp_path / "a", expect=1).stderr
    paths[5].write_bytes(b"no image")
    refused = run(*common, "--out", tmp_path / "d", expect=1)
    assert f"cannot read the image {paths[5]}" in refused.stderr.replace("\n", "")
    skipped = run(*common, "--skip-bad-images", "--out", tmp_path / "e")
    assert "replaced by another image of its class" in skipped.stderr.replace("\n", " ")


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [("--validation", "many", "such as 50000 or 0.1"), ("--data-workers", "-2", "'auto' or a number")],
)
def test_values_that_cannot_be_read(architecture, tmp_path, option, value, text):
    refused = run("train", architecture, option, value, "--out", tmp_path / "out", expect=1)
    assert text in refused.stderr.replace("\n", " ")


def test_the_winner_is_trained_on_all_images_where_asked(tmp_path):
    args = ["search", "--space", TINY, "--algorithm", "random", "--constraint", "macs<=1M", "--evaluations", "8", *QUICK[4:]]  # fmt: skip
    run(*args, "--final-on", "all", "--validation", "25%", "--out", tmp_path / "run")
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert settings["preset"]["final_on"] == "all" and settings["validation"] == 0.25
    assert all(f.name.startswith("network-all-") for f in (tmp_path / "run" / "training").iterdir())


def test_a_preset_that_trains_on_the_training_part_is_written_as_before():
    recipe = Recipe(epochs=1)
    assert "final_on" not in Preset({}, recipe, recipe).to_json()
    assert Preset({}, recipe, recipe, final_on="all").to_json()["final_on"] == "all"
