import json

import pytest
from commanding import run
from onnx_models import TRANSFORMER, floats, saved, transformer_weights

from nascli.pipeline.measure import peaks
from nascli.spaces import Shape


@pytest.fixture
def transformer(tmp_path, quick_measuring, monkeypatch):
    monkeypatch.setattr(peaks, "_COPIED_BYTES", (1 << 12, 1 << 14, 1 << 16))
    monkeypatch.setattr(peaks, "_PRODUCTS", ((Shape(8, 4, 4), 1),))
    return saved(tmp_path / "vit.onnx", TRANSFORMER, transformer_weights())


def test_where_the_time_of_a_file_goes(tmp_path, transformer):
    page = tmp_path / "page.html"
    document = json.loads(run("profile", "--network", transformer, "--html", page, "--json").stdout)
    assert document["network"] == "vit" and document["setup"]["batch"] == 1
    pieces = document["pieces"]
    assert sum(p["seconds"] for p in pieces) == pytest.approx(document["pieces_together"]["seconds"])
    assert "vit" in page.read_text() and "from input to output" in page.read_text()

    shown = run("profile", "--network", transformer, "--breakdown")
    assert "attention" in shown.stdout and "outside of pieces" in shown.stdout
    assert "the network" in shown.stdout and "of best" in shown.stdout and "0 to measure" in shown.stderr
    top = run("profile", "--network", transformer, "--top", "2").stdout
    assert f"and {len(pieces) - 2} more with" in top
    ordered = run("profile", "--network", transformer, "--order", "network").stdout
    names = [p["name"] for p in pieces]
    places = [ordered.index(f"│ {number} ") for number in range(1, len(names) + 1)]
    assert places == sorted(places)


def test_two_files_side_by_side(tmp_path, transformer):
    other = saved(tmp_path / "other.onnx", TRANSFORMER.replace("g (", "h ("), transformer_weights())
    page = tmp_path / "two.html"
    shown = run("profile", "--network", transformer, "--compare", other, "--html", page).stdout
    assert "other against vit, by kind" in shown and "two.html" in shown
    assert "Both networks from input to output" in page.read_text()
    document = json.loads(run("profile", "--network", transformer, "--compare", other, "--json").stdout)
    assert document["first"]["network"] == "vit" and document["second"]["network"] == "other"
    assert len(document["equal_pieces"]) == len({p["key"] for p in document["first"]["pieces"]})


def test_the_second_file_is_measured_at_the_batch_of_the_first(tmp_path, transformer):
    text = "g (float[3,3,8,8] x) => (float[3,4,8,8] y) { y = Conv (x, w) }"
    other = saved(tmp_path / "three.onnx", text, {"w": floats(4, 3, 1, 1)})
    document = json.loads(run("profile", "--network", transformer, "--compare", other, "--json").stdout)
    assert document["first"]["setup"]["batch"] == document["second"]["setup"]["batch"] == 1


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--html", "x.html"], "--html is about a network"),
        (["--network", "x.onnx", "--breakdown", "--host", "me@there"], "without --host"),
        (["--network", "x.onnx", "--top", "3", "--unstable"], "without --unstable"),
        (["--network", "x.onnx", "--order", "size"], "Invalid value"),
        (["--network", "x.onnx", "--top", "0"], "Invalid value"),
    ],
)
def test_what_does_not_go_together_is_refused(args, text):
    assert text in run("profile", *args, expect=2).stderr


def test_a_file_that_is_not_there(tmp_path):
    missing = run("profile", "--network", tmp_path / "none.onnx", "--breakdown", expect=1)
    assert "no such file" in missing.stderr
