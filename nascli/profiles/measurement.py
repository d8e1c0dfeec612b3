"""Measuring: interleaved rounds of subjects against the anchor."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from nascli.errors import DeviceError, ModelRefusedError
from nascli.lut.statistics import Sample, burst_time, estimate, newest
from nascli.profiles.conditions import ConditionMonitor
from nascli.profiles.cuda.base import means_lost_card
from nascli.profiles.onnx.graphs import onnx_bytes
from nascli.profiles.protocol import MeasurementProtocol, Subject
from nascli.profiles.recorder import Recorder
from nascli.profiles.runtimes.base import Session
from nascli.profiles.target import Target
from nascli.spaces.operators.inverted_residual import mbconv
from nascli.spaces.programs import Program

ANCHOR: Program = mbconv((32, 28, 28), 32, kernel=3, expand=6).program
ANCHOR_BATCH = 2
# Runs in a row: while the clock rises, and when the anchor's own time is looked up.
_ANCHOR_WARMUP_RUNS = 20
# Runs that estimate how long a subject takes; the first one is left out, since it allocates.
_TRIAL_RUNS = 3
_OnRefusal = Callable[[Subject, ModelRefusedError], None]


def measure_subjects(
    subjects: Sequence[Subject],
    target: Target,
    protocol: MeasurementProtocol,
    recorder: Recorder,
    *,
    rng: np.random.Generator,
) -> None:
    """Time every subject until it has settled, is given up as unstable, or is refused.

    As many subjects as fit into `protocol.memory_bytes` are loaded together, and timed in interleaved rounds. A
    model that the runtime refuses while others are loaded is tried again alone, since the others may have taken
    its memory.

    Args:
        subjects: What to time, with distinct keys.
        target: The device, the runtime, its options, and the batch.
        protocol: How long and how often to time.
        recorder: Receives the results, and knows the samples that were taken before: those of a subject's
            newest generation count, and no round is taken again.
        rng: Draws the order inside each round.

    Raises:
        ModelRefusedError: The runtime refuses the anchor.
        DeviceError: The device failed.
    """
    anchor_session = load_anchor(target)
    try:
        anchor = Anchor(anchor_session, protocol, target.runtime.warmup_seconds)
        refused_among_others: list[Subject] = []

        def try_alone_later(subject: Subject, error: ModelRefusedError) -> None:
            refused_among_others.append(subject)

        for group in _groups(subjects, protocol.memory_bytes):
            on_refusal = try_alone_later if len(group) > 1 else recorder.refuse
            _measure_group(group, target, protocol, recorder, anchor=anchor, rng=rng, on_refusal=on_refusal)
        for subject in refused_among_others:
            _measure_group(
                [subject], target, protocol, recorder, anchor=anchor, rng=rng, on_refusal=recorder.refuse
            )
    finally:
        anchor_session.close()


def is_finished(protocol: MeasurementProtocol, samples: Sequence[Sample]) -> bool:
    """Return whether a subject with these samples needs no more: it has settled, or is given up as unstable."""
    if len(samples) >= protocol.max_rounds:
        return True
    # The reference scales figure and interval alike, so any value judges the relative width.
    return bool(samples) and protocol.settled(estimate(samples, 1.0))


class Anchor:
    """The anchor model, timed between bursts.

    Args:
        session: The anchor, loaded.
        protocol: Decides how long its bursts are.
        warmup_seconds: How long the device is kept busy before a round.
    """

    def __init__(self, session: Session, protocol: MeasurementProtocol, warmup_seconds: float) -> None:
        self._session = session
        self._warmup_seconds = warmup_seconds
        session.time(_ANCHOR_WARMUP_RUNS)
        self.warm_up()
        self._runs = protocol.runs(2 * burst_time(session.time(_ANCHOR_WARMUP_RUNS).seconds))

    def warm_up(self) -> None:
        """Keep the device busy until its clock has risen."""
        start = time.monotonic()
        while time.monotonic() - start < self._warmup_seconds:
            self._session.time(_ANCHOR_WARMUP_RUNS)

    def time(self) -> float:
        """Return the seconds of one run, from a burst."""
        return burst_time(self._session.time(self._runs).seconds)


def load_anchor(target: Target) -> Session:
    """Load the anchor model with the runtime of a target.

    Raises:
        ModelRefusedError: The runtime refuses the anchor.
        DeviceError: The device failed.
    """
    # One precision for all tables, so that they rest on the same clock; TF32 where the runtime has it, since
    # cards compute fp32 models in it unless they are told not to.
    precisions = target.runtime.precisions
    precision = "tf32" if "tf32" in precisions else "fp32"
    return target.runtime.load(
        onnx_bytes(ANCHOR, ANCHOR_BATCH, precision=precisions[precision]),
        replace(target.options, precision=precision, integer_range=(0, 1), inputs={}),
    )


def _groups(subjects: Sequence[Subject], memory_bytes: float) -> Iterator[list[Subject]]:
    """Yield consecutive subjects that fit into memory together; a larger one is a group of its own."""
    group: list[Subject] = []
    used = 0.0
    for subject in subjects:
        if group and used + subject.memory > memory_bytes:
            yield group
            group, used = [], 0.0
        group.append(subject)
        used += subject.memory
    if group:
        yield group


def _measure_group(
    subjects: Sequence[Subject],
    target: Target,
    protocol: MeasurementProtocol,
    recorder: Recorder,
    *,
    anchor: Anchor,
    rng: np.random.Generator,
    on_refusal: _OnRefusal,
) -> None:
    """Load some subjects, time them round by round until all are finished, and note what their sessions tell."""
    group = _Group(subjects, protocol, recorder, on_refusal)
    try:
        group.load(target)
        group.estimate_runs()
        active = group.unfinished(list(group.sessions))
        monitor = ConditionMonitor()
        while active:
            monitor.start()
            anchor.warm_up()
            group.time_round([active[index] for index in rng.permutation(len(active))], anchor)
            recorder.add_round(monitor.stop(len(active)))
            remaining = group.unfinished(active)
            recorder.finish(len(active) - len(remaining))
            active = remaining
        for key, session in group.sessions.items():
            notes = _notes(session)
            if notes:
                recorder.add_notes(key, notes)
    finally:
        group.close()


class _Group:
    """Subjects that are loaded at the same time.

    Attributes:
        sessions: The loaded models by key, without those that were refused.
    """

    def __init__(
        self,
        subjects: Sequence[Subject],
        protocol: MeasurementProtocol,
        recorder: Recorder,
        on_refusal: _OnRefusal,
    ) -> None:
        self.sessions: dict[str, Session] = {}
        self._subjects = {subject.key: subject for subject in subjects}
        self._protocol = protocol
        self._recorder = recorder
        self._on_refusal = on_refusal
        known = recorder.known()
        self._samples = {
            subject.key: [s for s in newest(known.get(subject.key, ())) if s.generation == subject.generation]
            for subject in subjects
        }
        self._next_round = {
            key: 1 + max((sample.round for sample in known.get(key, ())), default=-1)
            for key in self._subjects
        }
        self._runs: dict[str, int] = {}

    def load(self, target: Target) -> None:
        precision = target.runtime.precisions[target.options.precision]
        for key, subject in self._subjects.items():
            options = target.options
            if subject.model is None:
                model = onnx_bytes(subject.program, target.batch, precision=precision)
            else:
                model = subject.model.data
                options = replace(options, inputs={**subject.model.inputs, **options.inputs})
            try:
                self.sessions[key] = target.runtime.load(model, options)
            except ModelRefusedError as error:
                self._on_refusal(subject, error)

    def estimate_runs(self) -> None:
        """Decide how many runs a burst of each model has."""
        for key, session in list(self.sessions.items()):
            try:
                # Some runtimes take a model's workspace in its first run, and refuse it there.
                seconds = session.time(_TRIAL_RUNS).seconds[1:]
                copies = self._subjects[key].program.copies
                self._runs[key] = self._protocol.runs(burst_time(seconds), copies)
            except ModelRefusedError as error:
                self._give_up(key, error)

    def unfinished(self, keys: Sequence[str]) -> list[str]:
        """Return those of `keys` that are loaded and need more samples, in the same order."""
        return [
            key
            for key in keys
            if key in self.sessions and not is_finished(self._protocol, self._samples[key])
        ]

    def time_round(self, keys: Sequence[str], anchor: Anchor) -> None:
        """Take one sample of each model in the given order, with the anchor timed between any two bursts."""
        before = anchor.time()
        for key in keys:
            try:
                # The weights of copies shall not be warm.
                warmup = self._protocol.warmup_runs if self._subjects[key].program.copies == 1 else 0
                with no_garbage_collection():
                    burst = self.sessions[key].time(self._runs[key], warmup=warmup)
                    after = anchor.time()
            except ModelRefusedError as error:
                self._give_up(key, error)
                continue
            sample = Sample(
                round=self._next_round[key],
                seconds=burst.seconds,
                anchor=(before + after) / 2,
                taken_at=time.time(),
                generation=self._subjects[key].generation,
                waited=burst.waited,
                throttled=self._recorder.is_slowed(),
            )
            self._next_round[key] += 1
            self._samples[key].append(sample)
            self._recorder.add_sample(key, sample)
            before = after

    def _give_up(self, key: str, error: ModelRefusedError) -> None:
        self.sessions.pop(key).close()
        self._on_refusal(self._subjects[key], error)

    def close(self) -> None:
        for session in self.sessions.values():
            session.close()


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Keep Python's garbage collector from running inside a burst."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _notes(session: Session) -> dict[str, Any]:
    """Return the session's notes. The times are taken by then, so notes that cannot be taken are no failure."""
    try:
        return session.notes()
    except DeviceError as error:
        if means_lost_card(error.message):
            raise
        return {"incomplete": error.message}
