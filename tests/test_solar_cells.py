"""The study of examples/solar_cells, on generated photographs of cells; the real ones only where they are installed."""

import importlib
import json
import sys
from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from image_files import write_cells

from nascli.files import read_json
from nascli.lut import Measurement
from nascli.progress import Silent
from nascli.spaces.architecture import Architecture
from nascli.spaces.catalog import load_space
from nascli.spaces.reference_networks import mobilenetv2
from nascli.supernet.recipes.files import named_recipe

FOLDER = Path(__file__).parent.parent / "examples" / "solar_cells"
MODULES = ("run", "report", "rivals", "train_members", "differences")
SHORT = [
    "--space",
    "spos-mini:resolution=16",
    "--budget",
    "latency=50ms",
    "--set",
    "supernet.epochs=1",
    "--set",
    "retraining.epochs=1",
    "--set",
    "spos.population=4",
    "--set",
    "spos.generations=1",
    "--set",
    "finalists=1",
    "--epochs",
    "1",
    "--seeds",
    "2",
    "--tolerance",
    "1e9",
    "--processes",
    "1",
]


@pytest.fixture
def study(monkeypatch):
    """The modules of the study by name; they are imported as the script imports them."""
    monkeypatch.syspath_prepend(str(FOLDER))
    yield {name: importlib.import_module(name) for name in MODULES}
    for name in MODULES:
        sys.modules.pop(name, None)


def test_the_interval_of_a_difference_is_student_s_over_seeds(study, rng):
    # Differences of the seeds: 0.25, 0.5, and 0.75; their mean is 0.5, and their standard deviation 0.25.
    theirs = np.zeros((3, 4), bool)
    ours = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]], bool)
    found = study["differences"].compare(ours, theirs, np.full(4, 0.25), np.zeros(4, int), rng)
    assert (found.mean, found.deviation) == pytest.approx((0.5, 0.25))
    assert found.high - found.mean == pytest.approx(4.302653 * 0.25 / 3**0.5)
    assert found.mean - found.low == pytest.approx(found.high - found.mean)
    assert 0 <= found.image_low < 0.5 < found.image_high <= 1


def test_networks_that_are_alike_do_not_differ_on_other_photographs(study, rng):
    right = rng.random((3, 50)) < 0.8
    found = study["differences"].compare(right, right, np.full(50, 0.02), np.arange(50) % 4, rng)
    assert (found.mean, found.low, found.high, found.image_low, found.image_high) == (0, 0, 0, 0, 0)


@pytest.mark.parametrize("seeds", [3, 5])
def test_the_smallest_visible_difference_is_seen_four_times_out_of_five(study, rng, seeds):
    from scipy.stats import ttest_1samp

    visible = study["differences"].smallest_visible(2.0, seeds)
    samples = rng.normal(visible, 2.0, (20_000, seeds))
    assert np.mean(ttest_1samp(samples, 0, axis=1).pvalue < 0.05) == pytest.approx(0.8, abs=0.01)


def test_the_scaled_network_is_mobilenetv2(study):
    for width in (1.0, 1.4, 0.35):
        text = f"{FOLDER / 'mobilenetv2.py'}:mobilenetv2-scaled:resolution=224,channels=3,classes=1000,width={width}"
        space = load_space(text)
        network = space.network([0] * len(space.layers))
        assert network.program.canonical == mobilenetv2(width).program.canonical


def test_a_cell_is_defective_from_two_thirds_on_and_both_classes_weigh_the_same(study):
    document = {"labels": [0, 0, 1, 2], "predicted": [0, 3, 1, 3], "defective": [0.1, 0.8, 0.4, 0.9]}
    labels, measures = study["report"].outcomes({"winner": [document]}, classes=4)
    assert labels.tolist() == [0, 0, 1, 2]
    scores = {name: float(right["winner"][0] @ weights) for name, (weights, right) in measures.items()}
    assert scores == pytest.approx({"top1": 0.5, "defective": 0.75, "defective_balanced": (2 / 3 + 1) / 2})


def test_the_study_goes_on_where_it_was_and_leaves_no_paths(
    study, tmp_path, monkeypatch, quick_measuring, capsys
):
    monkeypatch.setenv("NASCLI_HOME", str(tmp_path / "home"))
    write_cells(tmp_path / "cells")
    out = tmp_path / "study"
    words = ["run.py", *SHORT, "--data", f"elpv:{tmp_path / 'cells'}", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", words)
    study["run"].main()
    first = (out / "results.json").read_text()
    assert str(tmp_path) not in first and str(FOLDER) not in first
    document = read_json(out / "results.json")
    assert {name: len(rows) for name, rows in document["networks"].items()} == {
        "winner": 1, "mobilenetv2": 1, "random": 2,
    }  # fmt: skip
    assert document["recipe"]["flip_vertical"] and document["test_images"] == 13
    trained = {file: file.stat().st_mtime_ns for file in out.rglob("training.json")}
    assert len(trained) == 6
    # As if the study had been killed while it trained the last network.
    lost = out / "trained" / "random-1" / "test.json"
    kept = lost.read_text()
    lost.unlink()
    study["run"].main()
    assert {key: value for key, value in read_json(lost).items() if key != "seconds"} == {
        key: value for key, value in json.loads(kept).items() if key != "seconds"
    }
    again = read_json(out / "results.json")
    assert {**again, "training_seconds": 0} == {**document, "training_seconds": 0}
    changed = {file.parent.name for file, time in trained.items() if file.stat().st_mtime_ns != time}
    assert changed == {"random-1"}
    assert "| winner of the search |" in (out / "results.md").read_text()


def test_the_width_of_the_nearest_latency_is_found_by_bisection(study, monkeypatch):
    rivals, asked = study["rivals"], []

    def measure(architecture, *, batch, progress):
        asked.append(architecture)
        return Measurement(float(architecture) / 100, 0.0, 0.0, 6)

    monkeypatch.setattr(rivals, "only_architecture", lambda spec: spec)
    monkeypatch.setattr(rivals.nascli, "measure", measure, raising=False)
    specs = [str(number) for number in range(60)]
    assert rivals.nearest_widths(specs, 0.234, None) == ["23", "24", "22"]
    assert len(asked) == len(set(asked)) <= 10
    assert rivals.nearest_widths(specs, 9.0, None)[0] == "59"


@pytest.fixture
def measured_rivals(study, monkeypatch):
    """Function that chooses rivals of a winner of 1 ms whose own latencies, in milliseconds, are given."""
    rivals = study["rivals"]
    winner = Architecture.of(load_space("spos-mini:resolution=16"), [0] * 7)
    scaled = f"{FOLDER / 'mobilenetv2.py'}:mobilenetv2-scaled:resolution=16,width="

    def chosen(mobilenets, randoms, tolerance):
        figures = [Measurement(ms / 1000, ms / 1000, ms / 1000, 6) for ms in (1, *mobilenets, *randoms)]
        widths = [f"{scaled}{0.1 + index / 10:g}" for index in range(len(mobilenets))]
        rows = [tuple([1] * 6 + [index]) for index in range(len(randoms))]
        monkeypatch.setattr(rivals.nascli, "measure", lambda *a, **k: figures[0], raising=False)
        monkeypatch.setattr(rivals, "nearest_widths", lambda *a: widths)
        monkeypatch.setattr(rivals, "random_rivals", lambda *a: rows)
        monkeypatch.setattr(rivals, "measure_networks", lambda *a, **k: figures)
        options = Namespace(seeds=2, tolerance=tolerance, out=Path("out"))
        return rivals.choose_networks(winner, options, Silent())

    return chosen


def test_rivals_are_as_fast_as_the_winner(measured_rivals):
    found = measured_rivals([1.02, 0.99], [1.1, 1.01, 0.96, 0.98], 0.03)
    assert [row["seconds"] for row in found["mobilenetv2"]] == pytest.approx([0.00099])
    assert found["mobilenetv2"][0]["space"].endswith("width=0.2")
    assert [row["seconds"] for row in found["random"]] == pytest.approx([0.00101, 0.00098])


@pytest.mark.parametrize(
    ("mobilenets", "randoms", "words"),
    [
        ([1.05], [1, 1], "within 3%: the nearest MobileNetV2 differs by 5.0%, and 2 of 2 random"),
        (
            [1.0],
            [1.0, 1.1, 0.9],
            "differs by 0.0%, and 1 of 3 random architectures keep it, of which 2 are needed",
        ),
    ],
)
def test_networks_of_other_latencies_are_no_rivals(measured_rivals, mobilenets, randoms, words):
    with pytest.raises(SystemExit, match=words):
        measured_rivals(mobilenets, randoms, 0.03)


def test_the_tutorial_shows_the_recipe_and_the_search_of_the_study(study):
    tutorial = (FOLDER.parent.parent / "docs" / "tutorial.md").read_text()
    assert (
        f'```toml title="examples/solar_cells/recipe.toml"\n{(FOLDER / "recipe.toml").read_text()}```'
        in tutorial
    )
    run = study["run"]
    (command,) = [
        line for line in tutorial.splitlines() if line.startswith("nascli search") and "elpv" in line
    ]
    said = command.replace("--supernet-epochs ", "--set supernet.epochs=").split()
    assert said[3] == run.SPACE and said[said.index("--constraint") + 1] == run.BUDGET
    assert tuple(said[at + 1] for at, word in enumerate(said) if word == "--set") == run.SEARCH


def test_the_recipe_mirrors_cells_and_cuts_no_defect_off():
    recipe = named_recipe("retraining", str(FOLDER / "recipe.toml"), None)
    assert recipe.flip and recipe.flip_vertical and recipe.crop == 0 and recipe.pad == 0


@pytest.mark.skipif(find_spec("elpv_dataset") is None, reason="elpv-dataset is not installed")
def test_the_photographs_are_those_of_the_paper(tmp_path, monkeypatch):
    from nascli.supernet.data.images import load_images

    monkeypatch.setenv("NASCLI_HOME", str(tmp_path))
    images = load_images("elpv", 16)
    labels = np.concatenate([s.labels.numpy() for s in (images.train, images.validation, images.test)])
    # Buerhop-Lutz et al. 2018, and Deitsch et al. 2019, table 1.
    assert np.bincount(labels).tolist() == [1508, 295, 106, 715]
    assert [len(s) for s in (images.train, images.validation, images.test)] == [1574, 525, 525]
