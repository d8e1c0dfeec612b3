"""Measuring: interleaved rounds of subjects against the anchor."""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from nascli.errors import DeviceError, ModelRefusedError
from nascli.lut.statistics import Sample, burst_time, estimate, newest
from nascli.lut.store.visits import RoundConditions
from nascli.profiles.conditions import Watch
from nascli.profiles.cuda.base import lost
from nascli.profiles.onnx.graphs import onnx_bytes
from nascli.profiles.protocol import MeasurementProtocol, Subject
from nascli.profiles.runtimes.base import Runtime, RuntimeOptions, Session
from nascli.spaces.operators.inverted_residual import mbconv
from nascli.spaces.programs import Program

ANCHOR: Program = mbconv((32, 28, 28), 32, kernel=3, expand=6).program
ANCHOR_BATCH = 2
Sink = Callable[[str, Sample], None]
RoundSink = Callable[[RoundConditions], None]
Notify = Callable[[int], None]
Refused = Callable[[Subject, ModelRefusedError], None]
Noted = Callable[[str, dict[str, Any]], None]


def _reraise(subject: Subject, error: ModelRefusedError) -> None:
    raise error


class _Anchor:
    """The anchor model, timed between bursts."""

    def __init__(self, session: Session, protocol: MeasurementProtocol, warmup_seconds: float) -> None:
        self._session = session
        self._warmup_seconds = warmup_seconds
        session.time(20)
        self.warm_up()
        self._runs = protocol.runs(2 * burst_time(session.time(20).seconds))

    def warm_up(self) -> None:
        """Keep the device busy until its clock is up."""
        start = time.monotonic()
        while time.monotonic() - start < self._warmup_seconds:
            self._session.time(20)

    def time(self) -> float:
        return burst_time(self._session.time(self._runs).seconds)


@contextmanager
def _quiet_interpreter() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def _loaded(
    runtime: Runtime, options: RuntimeOptions, batch: int, subjects: Sequence[Subject], refused: Refused
) -> Iterator[dict[str, Session]]:
    sessions: dict[str, Session] = {}
    try:
        for subject in subjects:
            try:
                sessions[subject.key] = runtime.load(
                    onnx_bytes(subject.program, batch, precision=runtime.precisions[options.precision]),
                    options,
                )
            except ModelRefusedError as error:
                refused(subject, error)
        yield sessions
    finally:
        for session in sessions.values():
            session.close()


def _groups(subjects: Sequence[Subject], memory: float) -> Iterator[list[Subject]]:
    group: list[Subject] = []
    used = 0.0
    for subject in subjects:
        if group and used + subject.memory > memory:
            yield group
            group, used = [], 0.0
        group.append(subject)
        used += subject.memory
    if group:
        yield group


def measure_subjects(
    subjects: Sequence[Subject],
    *,
    runtime: Runtime,
    options: RuntimeOptions,
    batch: int,
    protocol: MeasurementProtocol,
    rng: np.random.Generator,
    known: Mapping[str, Sequence[Sample]],
    sink: Sink,
    finished: Notify = lambda count: None,
    round_done: RoundSink = lambda conditions: None,
    refused: Refused = _reraise,
    noted: Noted = lambda key, notes: None,
    slowed: Callable[[], bool] = lambda: False,
) -> None:
    """Time every subject until it has settled or is given up.

    Args:
        subjects: what to time.
        runtime: what runs the models.
        options: threads and precision.
        batch: samples per run.
        protocol: how long and how often.
        rng: the order inside each round.
        known: samples already taken, by key; those of an operator's newest generation count, and no round
            is taken again.
        sink: receives each sample as soon as it is complete.
        finished: told how many subjects have become finished since the last call.
        round_done: receives what the machine did during each round.
        refused: told of each model that the runtime refuses; the others go on. By default the first one
            is raised.
        noted: receives what a session has to tell besides times, by key.
        slowed: whether the device runs slower than it could right now; such a sample is marked.

    Raises:
        ModelRefusedError: the anchor, or without `refused` any model, is refused.
        DeviceError: the device failed.
    """
    # One for all precisions, so that their tables rest on the same clock; TF32 where it is, since that is
    # what cards do with fp32 unless told not to.
    plain = "tf32" if "tf32" in runtime.precisions else "fp32"
    anchor_session = runtime.load(
        onnx_bytes(ANCHOR, ANCHOR_BATCH, precision=runtime.precisions[plain]),
        replace(options, precision=plain),
    )
    try:
        anchor = _Anchor(anchor_session, protocol, runtime.warmup_seconds)
        taken: dict[str, list[Sample]] = {}

        def kept(key: str, sample: Sample) -> None:
            taken.setdefault(key, []).append(sample)
            sink(key, sample)

        def so_far() -> dict[str, Sequence[Sample]]:
            return {**known, **{key: [*known.get(key, ()), *new] for key, new in taken.items()}}

        # A model may have been refused for the room that others took: it is tried again by itself.
        crowded: list[Subject] = []

        def later(subject: Subject, error: ModelRefusedError) -> None:
            crowded.append(subject)

        groups = [
            (group, later if len(group) > 1 else refused)
            for group in _groups(subjects, protocol.memory_bytes)
        ]
        for group, on_refusal in itertools.chain(groups, (([one], refused) for one in _popping(crowded))):
            with _loaded(runtime, options, batch, group, on_refusal) as sessions:
                _measure_group(
                    sessions,
                    group,
                    anchor,
                    protocol,
                    rng,
                    so_far(),
                    kept,
                    finished,
                    round_done,
                    slowed,
                    on_refusal,
                )
                for key, session in sessions.items():
                    notes = _notes(session)
                    if notes:
                        noted(key, notes)
    finally:
        anchor_session.close()


def _popping(waiting: list[Subject]) -> Iterator[Subject]:
    """What a list holds, and what is put into it meanwhile."""
    while waiting:
        yield waiting.pop(0)


def _notes(session: Session) -> dict[str, Any]:
    """What a session has to tell; the times are taken already, so that it cannot tell all is no failure."""
    try:
        return session.notes()
    except DeviceError as error:
        if lost(error.message):
            raise
        return {"incomplete": error.message}


def _measure_group(
    sessions: dict[str, Session],
    group: Sequence[Subject],
    anchor: _Anchor,
    protocol: MeasurementProtocol,
    rng: np.random.Generator,
    known: Mapping[str, Sequence[Sample]],
    sink: Sink,
    finished: Notify,
    round_done: RoundSink,
    slowed: Callable[[], bool],
    refused: Refused,
) -> None:
    by_key = {subject.key: subject for subject in group}

    def give_up(key: str, error: ModelRefusedError) -> None:
        sessions.pop(key).close()
        refused(by_key[key], error)

    generations = {subject.key: subject.generation for subject in group}
    samples = {key: _counting(known.get(key, ()), generations[key]) for key in sessions}
    first = {key: 1 + max((s.round for s in known.get(key, ())), default=-1) for key in sessions}
    runs = {}
    for key, session in list(sessions.items()):
        try:
            # Some take their workspace in their first run.
            runs[key] = protocol.runs(burst_time(session.time(3).seconds[1:]))
        except ModelRefusedError as error:
            give_up(key, error)
    active = [key for key in sessions if not is_finished(protocol, samples[key])]
    watch = Watch()
    while active:
        watch.start()
        anchor.warm_up()
        before = anchor.time()
        for index in rng.permutation(len(active)):
            key = active[index]
            try:
                with _quiet_interpreter():
                    seconds, waited = sessions[key].time(runs[key], warmup=protocol.warmup_runs)
                    after = anchor.time()
            except ModelRefusedError as error:
                give_up(key, error)
                continue
            sample = Sample(
                first[key],
                seconds,
                (before + after) / 2,
                time.time(),
                generations[key],
                waited,
                slowed(),
            )
            first[key] += 1
            samples[key].append(sample)
            sink(key, sample)
            before = after
        round_done(watch.stop(len(active)))
        remaining = [key for key in active if key in sessions and not is_finished(protocol, samples[key])]
        finished(len(active) - len(remaining))
        active = remaining


def _counting(known: Sequence[Sample], generation: int) -> list[Sample]:
    return [sample for sample in newest(known) if sample.generation == generation]


def is_finished(protocol: MeasurementProtocol, samples: Sequence[Sample]) -> bool:
    """Whether an operator with these samples needs no more: settled, or given up as unstable."""
    if len(samples) >= protocol.max_rounds:
        return True
    # The reference scales figure and interval alike, so any value judges the relative width.
    return bool(samples) and protocol.settled(estimate(samples, 1.0))
