"""Architectures ranked on simulated devices, whose latency of every architecture is known."""

import csv
import itertools
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from simulated_devices import DEVICES, MIXED, add_networks, add_table, truth

from nascli.commands.hints import error_as_text
from nascli.costmodel.transfer import nearest_device, transfer
from nascli.costmodel.transfer_quality import left_out_quality, rank_correlation
from nascli.errors import (
    ArchitectureError,
    ConstraintError,
    MissingMeasurementsError,
    StoreError,
    UnknownNameError,
)
from nascli.execution import Execution
from nascli.lut import Setup, Store
from nascli.lut.exchange.packs import import_pack, read_pack, read_store, write_pack
from nascli.pipeline.measure.known_devices import known_costs
from nascli.pipeline.measure.measured_networks import networks_to_measure
from nascli.pipeline.measure.measurement_form import read_form, write_form
from nascli.pipeline.measure.new_device import choice_features, rank_on_new_device
from nascli.pipeline.measure.subjects import space_subjects
from nascli.profiles.profiling import network_operator
from nascli.profiles.target import TargetSpec
from nascli.progress import Silent
from nascli.spaces import Architecture, make_space
from nascli.spaces.counts import count


def where(path, device="new", batch=4):
    return TargetSpec(device=device, batch=batch), Execution(store=path)


def ranked(space, path, device="new", batch=4, **options):
    return rank_on_new_device(space, *where(path, device, batch), progress=Silent(), **options)


@pytest.fixture
def store(tmp_path, tiny):
    """Tables of three devices with the whole tiny space."""
    for name, device in DEVICES.items():
        add_table(tmp_path / "s.sqlite", name, device, space_subjects(tiny, 16))
    return tmp_path / "s.sqlite"


def all_architectures(space):
    rows = itertools.product(*(range(len(layer.candidates)) for layer in space.layers))
    return [Architecture.of(space, np.array(row)) for row in rows]


def test_a_table_says_what_every_architecture_costs(store, tiny):
    costs = {table.setup.device: table.cost for table in known_costs(tiny, *where(store))}
    assert set(costs) == set(DEVICES)
    codes = tiny.sample(20, np.random.default_rng(0))
    for name, device in DEVICES.items():
        exact = [truth(tiny.network(row).program, device) for row in codes]
        assert costs[name](codes) == pytest.approx(exact)
    assert [table.setup.device for table in known_costs(tiny, *where(store), ["beta"])] == ["beta"]


def test_a_faster_copy_of_a_known_device_is_found_out(store, tiny):
    copy = tuple(value / 4 for value in DEVICES["gamma"])
    # The entry into a model is no part of the copy; it is small.
    rows = networks_to_measure(tiny, 10, 0)
    add_networks(store, "new", copy, tiny, rows)
    result = ranked(tiny, store)
    assert result.networks == 10 and result.setup.device == "new" and not result.complete_table
    assert result.known[0].setup.device == result.nearest_device.device == "gamma"
    assert sum(device.weight for device in result.known) == pytest.approx(1)
    assert result.nearest.pairs_in_order == 1 and result.nearest.mean_absolute < 0.12
    assert result.transferred.pairs_in_order > 0.9
    seconds = [architecture.seconds for architecture in result.architectures]
    assert seconds == sorted(seconds) and len(seconds) == 10
    for architecture in result.architectures:
        low, high = architecture.interval
        assert low < architecture.seconds < high and architecture.measured is None


def test_a_mixture_of_two_devices_is_ranked_better_than_by_any_of_them(store, tiny):
    """Over all architectures of the space."""
    rows = networks_to_measure(tiny, 10, 0)
    add_networks(store, "new", MIXED, tiny, rows)
    everything = all_architectures(tiny)
    assert len(everything) == tiny.size
    result = ranked(tiny, store, architectures=[(str(a.choices), a) for a in everything])
    exact = {a.choices: truth(a.network.program, MIXED) for a in everything}
    predicted = np.array([one.seconds for one in result.architectures])
    actual = np.array([exact[one.choices] for one in result.architectures])
    codes = tiny.check(np.array([one.choices for one in result.architectures]))
    ours = spearmanr(predicted, actual).statistic
    single = [spearmanr(table.cost(codes), actual).statistic for table in known_costs(tiny, *where(store))]
    assert ours > max(single), (ours, single)
    assert np.mean(np.abs(predicted / actual - 1)) < 0.05
    low, high = np.array([one.interval for one in result.architectures]).T
    assert np.mean((low <= actual) & (actual <= high)) > 0.85
    measured = {one.choices: one.measured for one in result.architectures if one.measured is not None}
    assert set(measured) == set(rows)
    assert all(measured[row] == pytest.approx(exact[row]) for row in rows)


def test_leaving_out_is_what_it_says(tiny):
    """Against every fit made again by hand."""
    rng = np.random.default_rng(4)
    codes = tiny.sample(60, rng)
    known = rng.lognormal(size=(60, 3))
    measured, seconds = np.arange(6), known[:6, 0] * rng.lognormal(0, 0.4, 6)
    features = choice_features(tiny, codes)
    assert features.sum(axis=1).tolist() == [len(tiny.layers)] * 60
    ours, alone = left_out_quality(known, features, measured, seconds, 1.645)
    single = {"ours": [], "alone": []}
    for i in range(6):
        rest = [j for j in range(6) if j != i]
        single["ours"].append(transfer(known, features, np.array(rest), seconds[rest]))
        single["alone"].append(nearest_device(known, np.array(rest), seconds[rest])[1][i])
    predicted = np.array([fit.seconds[i] for i, fit in enumerate(single["ours"])])
    assert ours.rank_correlation == pytest.approx(spearmanr(predicted, seconds).statistic)
    assert ours.mean_absolute == pytest.approx(np.mean(np.abs(predicted / seconds - 1)))
    ends = [(fit.interval()[0][i], fit.interval()[1][i]) for i, fit in enumerate(single["ours"])]
    assert ours.within_interval == np.mean(
        [low <= s <= high for (low, high), s in zip(ends, seconds, strict=True)]
    )
    assert alone.mean_absolute == pytest.approx(np.mean(np.abs(np.array(single["alone"]) / seconds - 1)))
    assert alone.within_interval is None
    right = [0, 0]
    for i, j in itertools.combinations(range(6), 2):
        rest = [k for k in range(6) if k not in (i, j)]
        for method, values in enumerate((
            transfer(known, features, np.array(rest), seconds[rest]).seconds,
            nearest_device(known, np.array(rest), seconds[rest])[1],
        )):  # fmt: skip
            right[method] += (values[i] < values[j]) == (seconds[i] < seconds[j])
    assert (ours.pairs_in_order, alone.pairs_in_order) == (right[0] / 15, right[1] / 15)
    assert rank_correlation(np.ones(3), np.arange(3.0)) is None


def test_what_is_asked_for_hardly_changes_a_prediction(store, tiny):
    add_networks(store, "new", MIXED, tiny, networks_to_measure(tiny, 10, 0))
    architectures = [(f"{i}", a) for i, a in enumerate(all_architectures(tiny)[::40])]
    together = {
        one.name: one.seconds for one in ranked(tiny, store, architectures=architectures).architectures
    }
    for name, architecture in architectures[:3]:
        (alone,) = ranked(tiny, store, architectures=[(name, architecture)]).architectures
        assert alone.seconds == pytest.approx(together[name], rel=0.01)


def test_networks_that_a_pack_brings_are_known_by_their_programs(store, tiny, tmp_path):
    """Packs do not say which architecture a network is; labels do, and a label that lies is not believed."""
    elsewhere = tmp_path / "there.sqlite"
    rows = networks_to_measure(tiny, 8, 0)
    setup = add_networks(elsewhere, "new", MIXED, tiny, rows)
    with Store(elsewhere) as there:
        write_pack(read_store(there, setup), tmp_path / "p.parquet")
    with Store(store) as here:
        import_pack(read_pack(tmp_path / "p.parquet"), here)
        assert here.networks(tiny.digest) == {}
    assert ranked(tiny, store).networks == 8
    lying = replace(network_operator(tiny.network((0, 0, 0, 0))), family=f"network {tiny.name} [5, 5, 5, 5]")
    outside = replace(
        network_operator(tiny.network((0, 0, 0, 1))), family=f"network {tiny.name} [99, 5, 5, 5]"
    )
    add_table(store, "new", MIXED, [lying, outside])
    expected = 8 + len(set(rows) & {(0, 0, 0, 0), (0, 0, 0, 1)})
    result = ranked(tiny, store)
    assert result.networks in (8, expected)
    # Given as an architecture, the same network is known.
    given = [("a", Architecture.of(tiny, np.array([0, 0, 0, 0])))]
    assert ranked(tiny, store, architectures=given).networks == len({*rows, (0, 0, 0, 0)})


def test_figures_from_a_form_rank_a_device_that_nobody_knows(store, tiny, tmp_path):
    rows = networks_to_measure(tiny, 10, 0)
    *_, form = write_form(tiny, rows, tmp_path / "w", 4)
    assert sorted(p.suffix for p in (tmp_path / "w").iterdir()) == [".csv"] + [".json"] * 10 + [".onnx"] * 10
    assert Architecture.load(tmp_path / "w" / "01.architecture.json").choices == rows[0]
    with pytest.raises(StoreError, match="may hold figures"):
        write_form(tiny, rows, tmp_path / "w", 4)
    with pytest.raises(ConstraintError, match=r"measured on phone in .*: 0; a transfer needs at least 5"):
        ranked(tiny, store, "phone", measurements=form)
    lines = list(csv.reader(form.open()))
    for line, row in zip(lines[1:], rows, strict=True):
        line[2] = repr(1e3 * truth(tiny.network(row).program, MIXED))
    with form.open("w") as file:
        csv.writer(file).writerows([*lines, lines[1]])
    assert read_form(tiny, form) == pytest.approx({r: truth(tiny.network(r).program, MIXED) for r in rows})
    from_form = ranked(tiny, store, "phone", measurements=form)
    assert from_form.setup is None and from_form.device == "phone"
    add_networks(store, "new", MIXED, tiny, rows)
    measured = ranked(tiny, store)
    assert [one.choices for one in from_form.architectures] == [one.choices for one in measured.architectures]
    for a, b in zip(from_form.architectures, measured.architectures, strict=True):
        assert a.seconds == pytest.approx(b.seconds)
    json.dumps(from_form.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("codes\n0 0 0 0\n", "exactly one column named seconds"),
        ("codes,ms,us\n0 0 0 0,1,1\n", "exactly one column named seconds"),
        ("network,ms\na,1\n", "needs a column codes"),
        ("codes,ms\n0 0 0 0,1\n0 0 0 0,fast\n", "line 3: could not convert"),
        ("codes,ms\n0 0 0 0,-1\n", "line 2: a latency must be finite and above 0"),
        ("codes,ms\n0 0 0 0,nan\n", "line 2: a latency must be finite"),
        ("codes,ms\n0 0 0,1\n", "line 2: .*has 4 choices"),
        ("codes,ms\n0 0 0 77,1\n", "line 2: .*must be in"),
        ("codes,ms\n0 0 0 99999999999999999999,1\n", "line 2: "),
        ("", "no columns"),
    ],
)
def test_forms_that_cannot_be_read_name_the_line(tiny, tmp_path, text, message):
    (tmp_path / "f.csv").write_text(text)
    with pytest.raises(StoreError, match=message):
        read_form(tiny, tmp_path / "f.csv")


def test_networks_to_measure_are_different_and_cover_the_space(tiny):
    rows = networks_to_measure(tiny, 10, 0)
    assert len(set(rows)) == 10 and rows == networks_to_measure(tiny, 10, 0)
    macs = [count(tiny.network(row).program).macs for row in rows]
    everything = [count(a.network.program).macs for a in all_architectures(tiny)]
    assert min(macs) == min(everything) and max(macs) == max(everything)
    assert not set(networks_to_measure(tiny, 10, 0, rows)) & set(rows)


def test_several_settings_of_one_device_are_used_and_of_versions_the_newest(store, tiny):
    with Store(store) as one:
        for version, threads in (("2", 1), ("1", 2)):
            setup = Setup("alpha", "simulated", version, "fp32", 4, threads)
            pack = read_store(one, Setup("alpha", "simulated", "1", "fp32", 4, 1))
            import_pack(replace(pack, setup=setup), one)
    setups = [table.setup for table in known_costs(tiny, *where(store), ["alpha"])]
    assert sorted((s.runtime_version, s.threads) for s in setups) == [("1", 2), ("2", 1)]


def test_what_is_missing_is_told(store, tiny, tmp_path):
    with pytest.raises(StoreError, match="there is no store"):
        ranked(tiny, tmp_path / "none.sqlite")
    with pytest.raises(StoreError, match="no other device .* at batch 8, fp32; found: alpha.*gamma"):
        ranked(tiny, store, batch=8)
    with pytest.raises(UnknownNameError, match="unknown device of the store 'alhpa'. Did you mean alpha"):
        ranked(tiny, store, sources=["alhpa"])
    with pytest.raises(StoreError, match="alpha is the new device itself"):
        ranked(tiny, store, "alpha", sources=["alpha"])
    with pytest.raises(StoreError, match="no table of alpha .* at batch 8"):
        ranked(tiny, store, batch=8, sources=["alpha"])
    with pytest.raises(UnknownNameError, match="unknown device 'new'") as unknown:
        ranked(tiny, store)
    assert "--measurements" in error_as_text(unknown.value)
    with pytest.raises(ConstraintError, match=r"measured on titanxp .*: 0; .* at least 5") as few:
        ranked(tiny, store, "titanxp")
    assert "--write-networks FOLDER" in error_as_text(few.value)
    add_networks(store, "new", MIXED, tiny, networks_to_measure(tiny, 4, 0))
    with pytest.raises(ConstraintError, match=r"measured on new .*: 4; .* at least 5"):
        ranked(tiny, store)
    with pytest.raises(StoreError, match="must be of one runtime, at batch 8"):
        add_table(store, "delta", MIXED, space_subjects(tiny, 16), batch=8)
        ranked(tiny, store, batch=8)
    other = make_space("proxyless-mini", resolution=8, width=0.5, depth=1)
    with pytest.raises(ArchitectureError, match="a is of the space"):
        ranked(tiny, store, architectures=[("a", Architecture.of(other, np.array([0, 0, 0, 0])))])
    with pytest.raises(MissingMeasurementsError, match="operators have no latency for alpha"):
        ranked(other, store, sources=["alpha"])


def test_a_table_that_has_the_whole_space_is_told(store, tiny):
    add_table(store, "new", MIXED, space_subjects(tiny, 16))
    add_networks(store, "new", MIXED, tiny, networks_to_measure(tiny, 10, 0))
    assert ranked(tiny, store).complete_table


def test_multi_branch_spaces_are_ranked_too(tmp_path):
    space = make_space("nse-19-mini", resolution=8, width=0.25, branches=2)
    for name, device in DEVICES.items():
        add_table(tmp_path / "s.sqlite", name, device, space_subjects(space, 16))
    add_networks(tmp_path / "s.sqlite", "new", MIXED, space, networks_to_measure(space, 10, 0))
    result = ranked(space, tmp_path / "s.sqlite", samples=30)
    actual = [truth(space.network(one.choices).program, MIXED) for one in result.architectures]
    assert spearmanr([one.seconds for one in result.architectures], actual).statistic > 0.9


def test_pairs_left_out_tell_the_order_on_real_devices(data_folder):
    """NAS-Bench-201: what ten networks say of themselves, and what is true of the others."""
    rows = pd.read_csv(data_folder / "nasbench201" / "nasbench201.csv.gz")
    chosen = np.random.default_rng(1).choice(len(rows), 500, replace=False)
    columns = [name for name in rows if name.startswith("lat_")]
    latency = rows[columns].to_numpy(float)[chosen] / 1e3
    operators = rows.arch_str.str.findall(r"([a-z_0-9]+)~").iloc[chosen].tolist()
    features = np.concatenate(
        [pd.get_dummies(pd.Series([row[edge] for row in operators])).to_numpy(float) for edge in range(6)],
        axis=1,
    )
    estimated, actual, ranks, nearest = [], [], [], []
    for device in range(len(columns)):
        known, truths = np.delete(latency, device, axis=1), latency[:, device]
        measured = np.random.default_rng([3, device]).choice(500, 10, replace=False)
        rest = np.setdiff1d(np.arange(500), measured)
        quality, _ = left_out_quality(known, features, measured, truths[measured], 1.645)
        predicted = transfer(known, features, measured, truths[measured]).seconds[rest]
        half = len(rest) // 2
        ordered = np.sign(predicted[:half] - predicted[half:]) == np.sign(
            truths[rest][:half] - truths[rest][half:]
        )
        estimated.append(quality.pairs_in_order)
        actual.append(np.mean(ordered))
        ranks.append(spearmanr(predicted, truths[rest]).statistic)
        alone = nearest_device(known, measured, truths[measured])[1][rest]
        nearest.append(spearmanr(alone, truths[rest]).statistic)
    assert np.mean(ranks) > 0.95 and np.mean(ranks) > np.mean(nearest)
    assert np.mean(estimated) == pytest.approx(np.mean(actual), abs=0.03)
