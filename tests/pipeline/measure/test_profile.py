import numpy as np
import pytest
from simulated_devices import DEVICES, fill_this_machine, truth

from nascli.errors import DeviceError, UnitError
from nascli.execution import Execution
from nascli.lut import LatencyTable, Sample, Store, program_key
from nascli.pipeline.measure.profile import plan, profile_models, profile_target, summarise
from nascli.pipeline.measure.subjects import space_subjects
from nascli.profiles.profiling import RemeasurePolicy
from nascli.profiles.protocol import MeasurementProtocol
from nascli.profiles.target import TargetSpec
from nascli.progress import Silent
from nascli.spaces.operators.inverted_residual import mbconv

SPEC = TargetSpec(batch=4)


class Messages(Silent):
    def __init__(self):
        self.texts = []

    def message(self, text, *remedies):
        self.texts.append(text)


@pytest.fixture
def where(tmp_path, tiny):
    path = tmp_path / "s.sqlite"
    fill_this_machine(path, DEVICES["alpha"], tiny)
    return SPEC, Execution(store=path)


def test_a_space_that_is_known_is_not_measured_again(where, tiny):
    heard = Messages()
    summary = profile_target(tiny, *where, progress=heard)
    (text,) = heard.texts
    assert text.startswith(f"{tiny.spec} on ") and "0 to measure" in text
    assert summary.measured_now == 0 and summary.unstable == () and summary.store == where[1].store
    assert summary.operators == len(
        {program_key(m.program) for m in space_subjects(tiny, 16) if m.program.output}
    )
    with Store(where[1].store) as store:
        assert summary.table_digest == LatencyTable.read(store, summary.setup).digest
    assert summary.to_json()["measured_now"] == 0


def test_what_is_measured_is_what_the_store_lacks(where, tiny):
    protocol, lacking = MeasurementProtocol(), mbconv((8, 4, 4), 8, expand=3)
    work = plan([*space_subjects(tiny, 16), lacking], *where, protocol)
    assert work.todo == [lacking] and work.generations == [0] and work.expected_seconds > 0


def test_a_model_of_too_few_rounds_is_begun_and_not_known(where, tiny):
    lacking = mbconv((8, 4, 4), 8, expand=3)
    setup = where[0].resolve(where[1]).setup()
    with Store(where[1].store) as store:
        store.add_operators([lacking])
        store.add_sample(setup, program_key(lacking.program), Sample(0, np.full(3, 1e-3), 1e-3, 5.0))
    work = plan([lacking], *where, MeasurementProtocol())
    assert work.todo == [lacking] and work.partial == 1


def test_figures_older_than_an_age_are_measured_anew_as_a_new_generation(where, tiny):
    models = space_subjects(tiny, 16)
    # The samples were taken in 1970.
    work = plan(models, *where, MeasurementProtocol(), RemeasurePolicy(1000.0, False))
    assert len(work.todo) == len(work.operators) and set(work.generations) == {1}
    assert not plan(models, *where, MeasurementProtocol(), RemeasurePolicy(1.0, False)).todo


def test_an_age_is_a_duration(where, tiny):
    with pytest.raises(UnitError):
        profile_target(tiny, *where, age="old", progress=Silent())


def test_models_that_did_not_settle_are_named(where, tiny):
    noisy = mbconv((8, 4, 4), 8, expand=3)
    setup = where[0].resolve(where[1]).setup()
    with Store(where[1].store) as store:
        store.add_operators([noisy])
        rows = [Sample(r, np.full(3, 1e-3 * (1 + r % 5)), 1e-3, 5.0 + r) for r in range(24)]
        store.add_samples(setup, {program_key(noisy.program): rows})
        table = LatencyTable.read(store, setup)
    operators = [operator for operator in tiny.operators() if operator.program.output]
    summary = summarise([*operators, noisy], table, where[1], MeasurementProtocol())
    assert summary.unstable == (noisy.label,) and summary.measured_now is None
    assert "measured_now" not in summary.to_json()
    # It is finished all the same: more rounds would not settle it.
    assert not plan([noisy], *where, MeasurementProtocol()).todo
    assert plan([noisy], *where, MeasurementProtocol(), RemeasurePolicy(None, True)).todo == [noisy]


def test_profiled_models_are_a_table_of_the_target(where, tiny):
    table = profile_models(
        space_subjects(tiny, 16), *where, protocol=MeasurementProtocol(), seed=0, progress=Silent()
    )
    operator = next(each for each in tiny.operators() if each.program.output)
    assert table.lookup(operator.program).seconds == pytest.approx(truth(operator.program, DEVICES["alpha"]))
    assert table.setup == where[0].resolve(where[1]).setup()


def test_a_device_that_is_not_here_is_told(tmp_path, tiny):
    with pytest.raises(DeviceError, match="titanxp"):
        profile_target(
            tiny, TargetSpec(device="titanxp"), Execution(store=tmp_path / "s.sqlite"), progress=Silent()
        )
