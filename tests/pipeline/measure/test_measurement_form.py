import csv

import pytest

from nascli.errors import StoreError
from nascli.pipeline.measure.measurement_form import FORM, read_form, write_form
from nascli.spaces import Architecture


@pytest.fixture
def rows(tiny, rng):
    return list(dict.fromkeys(tuple(map(int, row)) for row in tiny.sample(3, rng)))


def form_of(tmp_path, text):
    path = tmp_path / "form.csv"
    path.write_text(text)
    return path


def codes(row):
    return " ".join(map(str, row))


def test_a_form_comes_with_the_models_that_it_is_about(tmp_path, tiny, rows):
    files = write_form(tiny, rows, tmp_path / "new", 2)
    assert files[-1].name == FORM and len(files) == 2 * len(rows) + 1
    assert all(file.exists() for file in files)
    assert Architecture.load(tmp_path / "new" / "02.architecture.json").choices == rows[1]
    with files[-1].open() as text:
        lines = list(csv.DictReader(text))
    assert lines[0] == {"network": "01.onnx", "codes": codes(rows[0]), "ms": ""}
    # An empty form has no measurements.
    assert read_form(tiny, files[-1]) == {}


def test_a_form_that_may_be_filled_in_is_not_written_over(tmp_path, tiny, rows):
    write_form(tiny, rows, tmp_path, 2)
    (tmp_path / FORM).write_text("filled in")
    with pytest.raises(StoreError, match="it may hold figures"):
        write_form(tiny, rows, tmp_path, 2)
    assert (tmp_path / FORM).read_text() == "filled in"


@pytest.mark.parametrize(("unit", "value"), [("seconds", "0.002"), ("ms", "2"), ("us", "2000")])
def test_latencies_are_read_in_the_unit_of_their_column(tmp_path, tiny, rows, unit, value):
    path = form_of(tmp_path, f"codes,{unit}\n{codes(rows[0])},{value}\n")
    assert read_form(tiny, path) == {rows[0]: pytest.approx(2e-3)}


def test_of_several_lines_of_one_architecture_the_median_counts(tmp_path, tiny, rows):
    lines = [f"{codes(rows[0])},{value}" for value in (1, 9, 2)] + [
        f"{codes(rows[1])},5",
        f"{codes(rows[2])},",
    ]
    found = read_form(tiny, form_of(tmp_path, "\n".join(["codes,ms", *lines])))
    assert found == {rows[0]: pytest.approx(2e-3), rows[1]: pytest.approx(5e-3)}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("CODES,fast", "line 2: could not convert"),
        ("CODES,0", "must be finite and above 0"),
        ("CODES,inf", "must be finite and above 0"),
        ("1 2,3", "line 2"),
        ("x,3", "line 2: invalid literal"),
        ("99999999999999999999,3", "line 2"),
    ],
)
def test_a_line_that_is_no_measurement_is_told_by_its_number(tmp_path, tiny, rows, line, message):
    path = form_of(tmp_path, f"codes,ms\n{line.replace('CODES', codes(rows[0]))}\n")
    with pytest.raises(StoreError, match=message):
        read_form(tiny, path)


@pytest.mark.parametrize("header", ["", "codes", "ms", "codes,ms,us"])
def test_a_file_without_its_columns_is_no_form(tmp_path, tiny, header):
    with pytest.raises(StoreError, match="needs a column codes and exactly one column") as caught:
        read_form(tiny, form_of(tmp_path, header))
    assert caught.value.remedies[0].job == "transfer"


def test_files_that_cannot_be_read_are_told(tmp_path, tiny):
    with pytest.raises(StoreError, match="cannot read"):
        read_form(tiny, tmp_path / "none.csv")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StoreError, match="is no text"):
        read_form(tiny, tmp_path / "bytes.csv")
