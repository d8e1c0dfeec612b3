import numpy as np
import pytest
from fakes import DEVICE, FakeNvml, SimulatedMachine, SimulatedRuntime

from nascli.errors import DeviceError, ModelRefusedError, StoreError
from nascli.lut import Sample, Setup, Store
from nascli.lut.store.visits import RoundConditions
from nascli.profiles.devices.cards import Probe, find_cards
from nascli.profiles.measurement import measure_subjects
from nascli.profiles.protocol import MeasurementProtocol
from nascli.profiles.recorder import StoreRecorder
from nascli.profiles.runtimes.base import RuntimeOptions
from nascli.profiles.target import Target
from nascli.progress import Silent
from nascli.testing.recorders import PROGRAM, SUBJECT, ListRecorder, RecorderContract

SETUP = Setup("device", "runtime", "1", "fp32", 4, 1)
ROUND = RoundConditions(1.0, 2.0, 3, None, None, None)


class LoggedProgress(Silent):
    def __init__(self):
        self.steps, self.messages = [], []

    def advance(self, steps=1, note=""):
        self.steps.append(steps)

    def message(self, text, *remedies):
        self.messages.append(text)


def open_store(path):
    store = Store(path)
    store.add_setup(SETUP, {})
    store.add_programs([(SUBJECT.label, PROGRAM)])
    return store


def sample(number, generation=0):
    return Sample(number, np.full(4, 1e-3 + 1e-6 * number), 1e-3, 5.0, generation)


class TestListRecorder(RecorderContract):
    @pytest.fixture
    def recorder(self):
        return ListRecorder()

    def test_refusals_are_raised_unless_they_are_kept(self):
        error = ModelRefusedError("no room")
        with pytest.raises(ModelRefusedError, match="no room"):
            ListRecorder().refuse(SUBJECT, error)
        recorder = ListRecorder(keeps_refusals=True)
        recorder.refuse(SUBJECT, error)
        assert recorder.refusals == {SUBJECT.label: error}

    def test_samples_of_before_are_known_and_not_counted_as_added(self):
        given = {SUBJECT.key: [sample(0)]}
        recorder = ListRecorder(given)
        recorder.add_sample(SUBJECT.key, sample(1))
        assert [s.round for s in recorder.known()[SUBJECT.key]] == [0, 1]
        assert [s.round for s in recorder.added[SUBJECT.key]] == [1] and len(given[SUBJECT.key]) == 1


class TestStoreRecorder(RecorderContract):
    @pytest.fixture
    def recorder(self, tmp_path):
        with open_store(tmp_path / "s") as store, StoreRecorder(store, SETUP, progress=Silent()) as recorder:
            yield recorder


def test_each_call_is_committed_at_once(tmp_path):
    """Another process reads it while the visit goes on, as it would after this one was killed."""
    with open_store(tmp_path / "s") as store, Store(tmp_path / "s") as other:
        with StoreRecorder(store, SETUP, progress=Silent()) as recorder:
            recorder.add_sample(SUBJECT.key, sample(0))
            assert [s.round for s in other.samples(SETUP)[SUBJECT.key]] == [0]
            recorder.add_notes(SUBJECT.key, {"layers": ["a"]})
            assert other.notes(SETUP) == {SUBJECT.key: {"layers": ["a"]}}
            recorder.add_round(ROUND)
            (visit,) = other.visits(SETUP)
            assert visit.rounds == (ROUND,) and visit.ended_at is None and visit.before["card"] is None
        (visit,) = other.visits(SETUP)
        assert visit.ended_at >= visit.began_at and visit.after["card"] is None


def test_a_visit_that_fails_has_no_end(tmp_path):
    with open_store(tmp_path / "s") as store:
        with pytest.raises(KeyboardInterrupt), StoreRecorder(store, SETUP, progress=Silent()) as recorder:
            recorder.add_sample(SUBJECT.key, sample(0))
            raise KeyboardInterrupt
        (visit,) = store.visits(SETUP)
        assert visit.ended_at is None and visit.after is None
        assert len(store.samples(SETUP)[SUBJECT.key]) == 1


def test_the_history_of_the_store_is_known_with_all_generations(tmp_path):
    with open_store(tmp_path / "s") as store:
        for number, generation in ((0, 0), (1, 1)):
            store.add_sample(SETUP, SUBJECT.key, sample(number, generation))
        with StoreRecorder(store, SETUP, progress=Silent()) as recorder:
            assert [s.generation for s in recorder.known()[SUBJECT.key]] == [0, 1]


def test_an_operator_that_the_store_does_not_know_is_an_error(tmp_path):
    with (
        open_store(tmp_path / "s") as store,
        StoreRecorder(store, SETUP, progress=Silent()) as recorder,
        pytest.raises(StoreError, match="does not know the operator nobody"),
    ):
        recorder.add_sample("nobody", sample(0))
    with Store(tmp_path / "s") as store:
        assert store.history(SETUP) == {}


def test_progress_refusals_and_waiting_for_the_host_are_kept_for_the_user(tmp_path):
    progress = LoggedProgress()
    with open_store(tmp_path / "s") as store, StoreRecorder(store, SETUP, progress=progress) as recorder:
        recorder.add_sample(SUBJECT.key, sample(0))
        recorder.finish(2)
        recorder.refuse(SUBJECT, ModelRefusedError("no kernels"))
        recorder.add_notes(SUBJECT.key, {"host_bound": False})
        assert recorder.host_bound == []
        recorder.add_notes(SUBJECT.key, {"host_bound": True})
    assert progress.steps == [0, 2] and progress.messages == ["refused: an operator: no kernels"]
    assert recorder.refusals == [("an operator", "no kernels")] and recorder.host_bound == [SUBJECT.key]


def test_the_state_of_a_card_is_added_to_each_round(tmp_path):
    nvml = FakeNvml(["NVIDIA TITAN Xp"])
    probe = Probe(find_cards(nvml)[0], nvml)
    with open_store(tmp_path / "s") as store:
        with StoreRecorder(store, SETUP, progress=Silent(), probe=probe) as recorder:
            assert not recorder.is_slowed()
            nvml.reasons = 0x40
            assert recorder.is_slowed()
            recorder.add_round(ROUND)
            recorder.add_round(ROUND)
        (visit,) = store.visits(SETUP)
        assert [r.card["slowed_by"] for r in visit.rounds] == [["hardware thermal slowdown"]] * 2
        assert visit.before["card"]["reasons"] == 0 and visit.after["card"]["reasons"] == 0x40
        assert recorder.rounds == list(visit.rounds)
        nvml.gone = True
        with pytest.raises(DeviceError, match="is gone"):
            recorder.is_slowed()
    probe.close()


def test_a_measurement_in_the_store_goes_on_where_another_stopped(tmp_path):
    """Two visits, the first of which is cut off: together they hold each round once."""
    target = Target(DEVICE, SimulatedRuntime(SimulatedMachine()), RuntimeOptions(), 4)
    protocol = MeasurementProtocol(min_rounds=6, max_rounds=6)

    class Interrupted(StoreRecorder):
        def add_round(self, conditions):
            super().add_round(conditions)
            if len(self.rounds) == 2:
                raise KeyboardInterrupt

    def visit(store, kind):
        with kind(store, SETUP, progress=Silent()) as recorder:
            measure_subjects([SUBJECT], target, protocol, recorder, rng=np.random.default_rng(0))

    with open_store(tmp_path / "s") as store:
        with pytest.raises(KeyboardInterrupt):
            visit(store, Interrupted)
        assert [s.round for s in store.samples(SETUP)[SUBJECT.key]] == [0, 1]
        visit(store, StoreRecorder)
        assert [s.round for s in store.samples(SETUP)[SUBJECT.key]] == [0, 1, 2, 3, 4, 5]
        assert [len(v.rounds) for v in store.visits(SETUP)] == [2, 4]
