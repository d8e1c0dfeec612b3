import time

import numpy as np
import pytest
from fakes import DEVICE, SimulatedMachine, SimulatedRuntime

from nascli.errors import ModelRefusedError, NascliError
from nascli.lut import program_key
from nascli.lut.statistics import estimate, reference_anchor
from nascli.profiles.measurement import ANCHOR, ANCHOR_BATCH, measure_subjects
from nascli.profiles.onnx.graphs import onnx_bytes
from nascli.profiles.protocol import MeasurementProtocol, Subject
from nascli.profiles.runtimes.base import RuntimeOptions
from nascli.profiles.target import Target
from nascli.spaces.operators.inverted_residual import mbconv
from nascli.testing.recorders import ListRecorder


def subjects(n=6, memory=1e6):
    programs = [mbconv((8, 4, 4), 8 * (i + 1)).program for i in range(n)]
    return [Subject(program_key(p), f"s{i}", p, memory) for i, p in enumerate(programs)]


class InterruptedRecorder(ListRecorder):
    """Is interrupted once it has received so many samples."""

    def __init__(self, known, stop_after):
        super().__init__(known)
        self.stop_after = stop_after

    def add_sample(self, key, sample):
        super().add_sample(key, sample)
        if self.stop_after is not None and sum(map(len, self.added.values())) >= self.stop_after:
            raise KeyboardInterrupt


def measure(todo, runtime, protocol, recorder):
    target = Target(DEVICE, runtime, RuntimeOptions(), 4)
    measure_subjects(todo, target, protocol, recorder, rng=np.random.default_rng(0))


def run(machine, todo, known=None, protocol=None, stop_after=None):
    runtime = SimulatedRuntime(machine)
    recorder = InterruptedRecorder(known, stop_after)
    try:
        measure(todo, runtime, protocol or MeasurementProtocol(), recorder)
    except KeyboardInterrupt:
        pass
    return recorder.added, runtime, recorder.finished


def truth(subject):
    return SimulatedRuntime.truth(onnx_bytes(subject.program, 4))


@pytest.mark.parametrize(("drift", "jitter"), [(0.0, 0.0), (0.3, 0.0), (0.2, 0.02), (0.0, 0.05)])
def test_finds_the_truth_through_drift_and_noise(drift, jitter):
    machine = SimulatedMachine(drift, jitter)
    samples, _, finished = run(machine, subjects())
    anchor_truth = SimulatedRuntime.truth(onnx_bytes(ANCHOR, ANCHOR_BATCH))
    for subject in subjects():
        figure = estimate(samples[subject.key], anchor_truth)
        assert figure.seconds == pytest.approx(truth(subject), rel=0.01)
    assert finished == len(subjects())


def test_drift_is_what_the_anchor_removes():
    machine = SimulatedMachine(drift=0.3)
    samples, _, _ = run(machine, subjects())
    rows = next(iter(samples.values()))
    raw = np.array([np.median(s.seconds) for s in rows])
    corrected = raw / np.array([s.anchor for s in rows])
    assert corrected.std() / corrected.mean() < 0.1 * raw.std() / raw.mean()


def test_quiet_operators_settle_early_and_noisy_ones_are_given_up():
    protocol = MeasurementProtocol(max_rounds=10)
    quiet, _, _ = run(SimulatedMachine(), subjects(), protocol=protocol)
    assert {len(rows) for rows in quiet.values()} == {protocol.min_rounds}
    noisy, _, _ = run(SimulatedMachine(jitter=2.0), subjects(), protocol=protocol)
    assert max(len(rows) for rows in noisy.values()) == 10


def test_goes_on_where_it_was_stopped():
    first, _, _ = run(SimulatedMachine(), subjects(), stop_after=17)
    second, _, _ = run(SimulatedMachine(), subjects(), known=first)
    for subject in subjects():
        rounds = [s.round for s in first.get(subject.key, []) + second.get(subject.key, [])]
        assert rounds == list(range(6))


def test_only_so_much_is_loaded_at_once():
    machine = SimulatedMachine()
    _, runtime, _ = run(machine, subjects(6, memory=1e9), protocol=MeasurementProtocol(memory_bytes=2e9))
    assert len(runtime.loads) == 7 and all(session.closed for session in runtime.loads)


def test_samples_carry_their_time():
    samples, _, _ = run(SimulatedMachine(), subjects(1))
    assert abs(samples[subjects(1)[0].key][0].taken_at - time.time()) < 60
    assert reference_anchor([s.anchor for rows in samples.values() for s in rows]) > 0


def test_impossible_protocols_are_refused():
    with pytest.raises(NascliError, match="0 < target < 1"):
        MeasurementProtocol(target=0)
    with pytest.raises(NascliError, match="min_rounds <= max_rounds"):
        MeasurementProtocol(min_rounds=9, max_rounds=4)


class Crowded(SimulatedRuntime):
    """Two models at a time have room; one has none even alone, and one fails in its third run."""

    def __init__(self, machine, never, fails):
        super().__init__(machine)
        self.never, self.fails, self.alive = never, fails, 0

    def load(self, model, options):
        if model == self.never or self.alive >= 3:
            raise ModelRefusedError("the card has no room")
        self.alive += 1
        session = super().load(model, options)
        outer, plain, runs = self, session.close, []

        def close():
            outer.alive -= 1
            plain()

        session.close = close
        if model == self.fails:
            timed = session.time

            def time_(count, warmup=0):
                runs.append(count)
                if len(runs) == 3:
                    raise ModelRefusedError("no workspace")
                return timed(count, warmup)

            session.time = time_
        return session


def test_what_others_left_no_room_for_is_measured_alone_and_the_rest_goes_on():
    todo = subjects(6)
    model = lambda subject: onnx_bytes(subject.program, 4)  # noqa: E731
    runtime = Crowded(SimulatedMachine(), model(todo[5]), model(todo[0]))
    recorder = ListRecorder(keeps_refusals=True)
    measure(todo, runtime, MeasurementProtocol(min_rounds=4, max_rounds=4), recorder)
    samples = recorder.added
    refused = {label: error.message for label, error in recorder.refusals.items()}
    # The first fails again when it is alone, with no round twice; the last never has room; all others are complete.
    assert [s.round for s in samples.get(todo[0].key, [])] == list(range(len(samples.get(todo[0].key, []))))
    assert refused == {"s0": "no workspace", "s5": "the card has no room"}
    for subject in todo[1:5]:
        assert [s.round for s in samples[subject.key]] == [0, 1, 2, 3]
    assert runtime.alive == 0


def test_a_model_that_goes_on_alone_keeps_its_rounds():
    """Refused for want of room in its third burst among others, it is finished alone, each round once."""
    todo = subjects(2)
    broken = []

    class Once(SimulatedRuntime):
        def load(self, model, options):
            session = super().load(model, options)
            timed = session.time
            if model == onnx_bytes(todo[0].program, 4):

                def time_(count, warmup=0):
                    broken.append(count)
                    if len(broken) == 4:
                        raise ModelRefusedError("no workspace")
                    return timed(count, warmup)

                session.time = time_
            return session

    recorder = ListRecorder()
    measure(todo, Once(SimulatedMachine()), MeasurementProtocol(min_rounds=6, max_rounds=6), recorder)
    samples = recorder.added
    assert [s.round for s in samples[todo[0].key]] == [0, 1, 2, 3, 4, 5]


def test_a_slowed_device_marks_its_samples_and_conditions_are_told_round_by_round():
    recorder = ListRecorder(slowed=True)
    measure(subjects(2), SimulatedRuntime(SimulatedMachine()), MeasurementProtocol(max_rounds=6), recorder)
    assert all(sample.throttled for rows in recorder.added.values() for sample in rows)
    assert [conditions.bursts for conditions in recorder.rounds] == [2] * 6 and recorder.notes == {}


def test_a_refusal_that_the_recorder_raises_ends_the_measurement_and_closes_all_models():
    todo = subjects(1)
    runtime = Crowded(SimulatedMachine(), onnx_bytes(todo[0].program, 4), None)
    with pytest.raises(ModelRefusedError, match="no room"):
        measure(todo, runtime, MeasurementProtocol(), ListRecorder())
    assert runtime.alive == 0
