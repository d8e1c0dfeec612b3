import json

import numpy as np
import pytest
from simulated_devices import DEVICES, add_table, fill_this_machine, truth

from nascli.errors import ConstraintError, RunError, StoreError
from nascli.execution import Execution
from nascli.pipeline.measure.measured_networks import networks_to_measure
from nascli.pipeline.measure.subjects import space_subjects
from nascli.pipeline.run.measured_costs import (
    devices_elsewhere,
    measured_costs,
    require_tables_elsewhere,
)
from nascli.pipeline.run.settings import SearchSettings
from nascli.profiles.target import TargetSpec
from nascli.progress import Silent
from nascli.search.run_folder import COSTS, RunFolder


@pytest.fixture
def store(tmp_path, tiny):
    path = tmp_path / "s.sqlite"
    fill_this_machine(path, DEVICES["alpha"], tiny)
    return path


class Messages(Silent):
    def __init__(self):
        self.texts = []

    def message(self, text, *remedies):
        self.texts.append(text)


def settings_of(space, store, *budgets, **options):
    execution = Execution(store=store)
    return SearchSettings(
        space.spec, "digits", budgets or ("latency<=1s",), TargetSpec(batch=4), execution=execution, **options
    )


def costs_in(folder, space, settings, progress=None):
    with RunFolder(folder, settings.to_json()) as run:
        return measured_costs(settings, space, {}, run, progress or Silent())


def test_a_space_costs_what_its_table_says_and_nothing_is_measured(tmp_path, store, tiny):
    heard = Messages()
    costs, source = costs_in(tmp_path / "run", tiny, settings_of(tiny, store), heard)
    rows = tiny.sample(20, np.random.default_rng(0))
    exact = [truth(tiny.network(row).program, DEVICES["alpha"]) for row in rows]
    assert costs.latency(rows) == pytest.approx(exact) and costs.latency.kind == "measured"
    assert heard.texts == ["latency model: sum of operator latencies in context"]
    assert source.setup["batch"] == 4 and source.quality["models"] > 10 and costs.margin == 0
    assert set(source.fixed) == {block.name for block in tiny.blocks if block not in tiny.layers}


def test_enough_networks_calibrate_it_and_a_confidence_gives_a_margin(tmp_path, store, tiny):
    fill_this_machine(store, DEVICES["alpha"], tiny, networks_to_measure(tiny, 12, 0))
    costs, source = costs_in(tmp_path / "run", tiny, settings_of(tiny, store, confidence=0.9))
    assert costs.latency.kind == "calibrated" and source.model.endswith("calibrated on 12 whole networks")
    assert 0 <= costs.margin < 0.05


def test_a_confidence_without_a_calibration_is_refused_with_the_job_that_mends_it(tmp_path, store, tiny):
    settings = settings_of(tiny, store, confidence=0.9)
    with pytest.raises(ConstraintError, match=r"a confidence of 0\.9 needs a calibrated model") as caught:
        costs_in(tmp_path / "run", tiny, settings)
    (remedy,) = caught.value.remedies
    assert remedy.job == "calibrate" and remedy.arguments["space"] == tiny.spec
    assert not (tmp_path / "run" / COSTS).exists()


def test_a_resumed_run_has_the_costs_that_it_began_with_whatever_the_store_says_now(tmp_path, store, tiny):
    before, source = costs_in(tmp_path / "run", tiny, settings_of(tiny, store))
    elsewhere = settings_of(tiny, tmp_path / "empty.sqlite")
    after, again = costs_in(tmp_path / "run", tiny, elsewhere)
    assert again == source and after.latency.to_json() == before.latency.to_json()
    assert not (tmp_path / "empty.sqlite").exists()


def test_damaged_costs_are_told_by_their_file(tmp_path, store, tiny):
    costs_in(tmp_path / "run", tiny, settings_of(tiny, store))
    file = tmp_path / "run" / COSTS
    document = json.loads(file.read_text())
    del document["latency"]
    file.write_text(json.dumps(document))
    with pytest.raises(RunError, match=COSTS):
        costs_in(tmp_path / "run", tiny, settings_of(tiny, store))


def test_another_device_s_latency_comes_from_its_own_table(tmp_path, store, tiny):
    add_table(store, "beta", DEVICES["beta"], space_subjects(tiny, 16))
    settings = settings_of(tiny, store, "latency<=1s", "latency@beta<=1s")
    costs, _ = costs_in(tmp_path / "run", tiny, settings)
    rows = tiny.sample(5, np.random.default_rng(0))
    exact = [truth(tiny.network(row).program, DEVICES["beta"]) for row in rows]
    assert costs.elsewhere["beta"](rows) == pytest.approx(exact)
    assert [bound.cost for bound in costs.bounds(settings.constraints)] == [
        costs.latency,
        costs.elsewhere["beta"],
    ]


def test_a_card_without_a_table_is_predicted_from_its_data_sheet_and_says_so(tmp_path, store, tiny):
    heard = Messages()
    settings = settings_of(tiny, store, "latency@titanxp<=1s")
    require_tables_elsewhere(settings)
    costs, _ = costs_in(tmp_path / "run", tiny, settings, heard)
    assert costs.elsewhere["titanxp"].kind == "predicted"
    assert any("predicted from its data sheet, which is no measurement" in text for text in heard.texts)


def test_devices_elsewhere_are_named_once_and_need_a_table(store, tiny):
    settings = settings_of(tiny, store, "latency@gamma<=1s", "latency@beta<=1s", "latency<=1s", "macs<=1G")
    assert devices_elsewhere(settings.constraints) == ["beta", "gamma"]
    add_table(store, "beta", DEVICES["beta"], space_subjects(tiny, 16))
    with pytest.raises(StoreError, match="a constraint on gamma needs a table of it at batch 4"):
        require_tables_elsewhere(settings)
    require_tables_elsewhere(settings_of(tiny, store, "latency@beta<=1s"))
