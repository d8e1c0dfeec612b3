import xml.etree.ElementTree as ElementTree

import pytest
from simulated_devices import DEVICES, add_figures, add_table

from nascli.errors import StoreError, UnknownNameError
from nascli.execution import Execution
from nascli.lut import Setup
from nascli.pipeline.tables.exchange import (
    diff_packs,
    draw_difference,
    export_table,
    import_foreign_files,
    import_packs,
    merge_packs,
)
from nascli.pipeline.tables.inventory import list_tables
from nascli.profiles.target import TargetSpec

CSV = "kind,height,width,cin,cout,kernel,stride,ms\nconv,14,14,16,24,3,2,0.5\n"


@pytest.fixture
def models(tiny):
    return [operator for operator in tiny.operators() if operator.program.output]


@pytest.fixture
def pack_of(tmp_path, models):
    """Writes the pack of a simulated device, of all models or some."""

    def write(name, *, device=None, some=models, times=1, batch=4):
        store = tmp_path / f"{len(list(tmp_path.iterdir()))}.sqlite"
        factors = tuple(times * value for value in DEVICES[device or name])
        setup = add_table(store, name, factors, some, batch)
        out = store.with_suffix(".parquet")
        export_table(TargetSpec(device=name, batch=setup.batch), Execution(store=store), out)
        return out

    return write


def test_a_table_comes_back_from_its_pack(tmp_path, pack_of, models):
    pack = pack_of("alpha")
    (summary,) = import_packs([pack], tmp_path / "other.sqlite")
    assert (summary.operators, summary.samples, summary.new) == (
        len(models),
        3 * len(models),
        3 * len(models),
    )
    (again,) = import_packs([pack], tmp_path / "other.sqlite")
    assert again.new == 0 and again.samples == summary.samples
    (row,) = list_tables(tmp_path / "other.sqlite")
    assert row.setup == summary.pack.setup and row.operators == len(models)


def test_a_damaged_pack_keeps_the_good_ones_beside_it_out(tmp_path, pack_of):
    good, bad = pack_of("alpha"), pack_of("beta")
    bad.write_bytes(bad.read_bytes()[:-100])
    with pytest.raises(StoreError, match="damaged"):
        import_packs([good, bad], tmp_path / "other.sqlite")
    assert not (tmp_path / "other.sqlite").exists()


def test_a_store_that_is_not_there_has_nothing_to_export(tmp_path):
    with pytest.raises(StoreError, match="there is no store at"):
        export_table(TargetSpec(), Execution(store=tmp_path / "none"), tmp_path / "p.parquet")


def test_packs_of_one_setup_are_merged_and_of_two_are_not(tmp_path, pack_of, models):
    first, second = pack_of("alpha", some=models[:3]), pack_of("alpha", some=models[2:])
    merged = merge_packs([first, second], tmp_path / "both.parquet")
    assert merged.operators == len(models)
    with pytest.raises(StoreError):
        merge_packs([first, pack_of("beta")], tmp_path / "none.parquet")
    assert not (tmp_path / "none.parquet").exists()


def test_a_difference_tells_ratios_setups_and_what_is_in_one_only(pack_of, models):
    first = pack_of("alpha", some=models[1:])
    difference = diff_packs(first, pack_of("alpha", device="alpha", some=models[:-1], times=3, batch=8))
    assert list(difference.setup) == ["batch: 4 against 8"]
    assert difference.only_first == (models[-1].label,) and difference.only_second == (models[0].label,)
    ratios = [row.ratio for row in difference.rows]
    assert len(ratios) == len(models) - 2 and 1 < difference.median_ratio < 3
    assert min(ratios) <= difference.median_ratio <= max(ratios)
    document = difference.to_json()
    assert document["rows"][0]["ratio"] == ratios[0] and document["only_first"] == [models[-1].label]


def test_a_difference_is_drawn_with_a_point_for_each_operator(tmp_path, pack_of, models):
    difference = diff_packs(pack_of("alpha"), pack_of("alpha", times=2))
    draw_difference(difference, "one", "two", tmp_path / "d.svg")
    root = ElementTree.parse(tmp_path / "d.svg").getroot()
    assert len(root.findall(".//{*}circle")) >= len(models)
    with pytest.raises(StoreError, match="cannot write"):
        draw_difference(difference, "one", "two", tmp_path / "nowhere" / "d.svg")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "does not say its device and its batch"),
        ({"batch": 8}, "does not say its device,"),
        ({"device": "titanxp"}, "does not say its batch,"),
        ({"device": "cpu", "batch": 8}, "'cpu' means whatever machine nascli runs on"),
    ],
)
def test_another_tool_s_table_needs_a_device_and_a_batch(tmp_path, given, message):
    (tmp_path / "t.csv").write_text(CSV)
    with pytest.raises(StoreError, match=message):
        import_foreign_files([tmp_path / "t.csv"], "csv", tmp_path / "s.sqlite", **given)
    assert not (tmp_path / "s.sqlite").exists()


def test_another_tool_s_table_says_where_it_is_from(tmp_path):
    (tmp_path / "t.csv").write_text(CSV)
    (summary,) = import_foreign_files(
        [tmp_path / "t.csv"], "csv", tmp_path / "s.sqlite", device="titanxp", batch=8
    )
    assert (summary.operators, summary.new, summary.pack) == (1, 1, None)
    (row,) = list_tables(tmp_path / "s.sqlite")
    assert row.setup == Setup("titanxp", "unknown", "imported from csv", "fp32", 8, 1)
    with pytest.raises(UnknownNameError, match="magic"):
        import_foreign_files([tmp_path / "t.csv"], "magic", tmp_path / "s.sqlite", device="x", batch=8)


def test_a_pack_holds_the_table_that_was_asked_for_alone(tmp_path, models):
    store = tmp_path / "s.sqlite"
    add_table(store, "alpha", DEVICES["alpha"], models)
    add_figures(store, Setup("alpha", "simulated", "1", "fp16", 4, 1), DEVICES["alpha"], models[:2])
    spec = TargetSpec(device="alpha", batch=4, precision="fp16")
    summary = export_table(spec, Execution(store=store), tmp_path / "p.parquet")
    assert (summary.setup.precision, summary.operators, summary.samples) == ("fp16", 2, 6)
