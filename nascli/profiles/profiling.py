"""Profiling: which operators a store lacks, and measuring them into it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from nascli.errors import DeviceError, ModelRefusedError, StoreError
from nascli.lut import LatencyTable, Sample, Setup, Store, program_key
from nascli.lut.statistics import estimate
from nascli.lut.store.visits import RoundConditions
from nascli.paths import home
from nascli.profiles.advice import round_advice
from nascli.profiles.conditions import snapshot
from nascli.profiles.devices.cards import Probe
from nascli.profiles.devices.clocks import left_locked, locked, unlock
from nascli.profiles.devices.device import Device
from nascli.profiles.measurement import is_finished, measure_subjects
from nascli.profiles.protocol import MeasurementProtocol, Subject
from nascli.profiles.runtimes.base import MemoryCache
from nascli.profiles.target import Target
from nascli.progress import Progress
from nascli.spaces.counts import count
from nascli.spaces.network import Network
from nascli.spaces.operators.definition import Operator

# Bursts, anchors and the rounds that noisy operators add, as seen on small and medium operators.
_OPERATOR_SECONDS = 0.35


@dataclass(frozen=True)
class RemeasurePolicy:
    """What is measured anew although it was finished. The old samples stay in the store's history.

    Attributes:
        before: figures whose last sample is older than this (seconds since the epoch).
        unstable: figures that did not settle.
    """

    before: float | None = None
    unstable: bool = False

    def wants(self, protocol: MeasurementProtocol, samples: Sequence[Sample]) -> bool:
        """Whether an operator with these samples is measured anew."""
        if self.before is not None and max(s.taken_at for s in samples) < self.before:
            return True
        return self.unstable and not protocol.settled(estimate(samples, 1.0))


NO_REMEASURING = RemeasurePolicy()


@dataclass(frozen=True)
class Plan:
    """What a profiling run will do.

    Attributes:
        setup: where the measurements belong.
        operators: distinct operators that cost anything.
        todo: those that have not settled in the store, and those that are measured anew.
        generations: for each of `todo`, the generation that its samples will belong to.
        partial: how many of `todo` have some samples already.
    """

    setup: Setup
    operators: list[Operator]
    todo: list[Operator]
    generations: list[int]
    partial: int

    @property
    def expected_seconds(self) -> float:
        """About how long it will take."""
        return _OPERATOR_SECONDS * len(self.todo)


def network_operator(network: Network) -> Operator:
    """A whole network as something to measure."""
    return Operator(f"network {network.name}", (), network.program)


def make_plan(
    operators: Iterable[Operator],
    store: Store,
    target: Target,
    protocol: MeasurementProtocol,
    renewal: RemeasurePolicy = NO_REMEASURING,
) -> Plan:
    """Find out which operators the store lacks on this target."""
    setup = target.setup()
    distinct = {program_key(o.program): o for o in operators if o.program.output != 0}
    samples = store.samples(setup)
    todo, generations, partial = [], [], 0
    for key, operator in distinct.items():
        rows = samples.get(key, [])
        generation = rows[0].generation if rows else 0
        if is_finished(protocol, rows):
            if not renewal.wants(protocol, rows):
                continue
            generation += 1
        else:
            partial += bool(rows)
        todo.append(operator)
        generations.append(generation)
    return Plan(setup, list(distinct.values()), todo, generations, partial)


def profile_operators(
    operators: Iterable[Operator],
    store: Store,
    target: Target,
    *,
    protocol: MeasurementProtocol,
    rng: np.random.Generator,
    progress: Progress,
    what: str = "operators",
    renewal: RemeasurePolicy = NO_REMEASURING,
) -> LatencyTable:
    """Measure what the store lacks, and return the setup's table.

    Every sample is committed as soon as it is taken; a run that was killed goes on where it was. Two
    profilers on one device would disturb each other, so they take turns. An operator that the runtime refuses
    does not keep the others from being measured.

    Raises:
        DeviceError: operators that the runtime refuses, all of them by name, once the others are measured.
        StoreError: a store that cannot be written.
    """
    wanted = list(operators)
    setup = target.setup()
    if make_plan(wanted, store, target, protocol, renewal).todo:
        with _turn(target.device, progress):
            # Planned again: another process may have measured the same while this one waited.
            plan = make_plan(wanted, store, target, protocol, renewal)
            _measure_plan(plan, store, target, protocol, rng, progress, what)
    return LatencyTable.read(store, setup)


def _measure_plan(
    plan: Plan,
    store: Store,
    target: Target,
    protocol: MeasurementProtocol,
    rng: np.random.Generator,
    progress: Progress,
    what: str,
) -> None:
    if not plan.todo:
        return
    store.add_setup(plan.setup, dict(target.device.facts))
    store.add_operators(plan.todo)
    subjects = [
        _subject(operator, target.batch, generation)
        for operator, generation in zip(plan.todo, plan.generations, strict=True)
    ]
    progress.start(f"measuring {len(subjects)} {what} on {target.device.title}", len(subjects))
    probe = None if target.device.card is None else Probe(target.device.card)
    cache = MemoryCache(store.timing_cache(plan.setup))
    try:
        with _held_clock(target, progress):
            refusals = _measure_subjects(
                subjects, plan.setup, store, target, protocol, rng, progress, probe, cache
            )
    finally:
        if cache.read():
            store.keep_timing_cache(plan.setup, cache.read())
        if probe is not None:
            probe.close()
    if refusals:
        named = "; ".join(f"{label}: {reason}" for label, reason in refusals[:5])
        more = f"; and {len(refusals) - 5} more" if len(refusals) > 5 else ""
        raise DeviceError(
            f"{target.runtime.name} refuses {len(refusals)} of {len(subjects)} {what}: {named}{more}.",
            "The others are measured and kept. Use another runtime or precision, a smaller batch, or a space "
            "without these operators.",
        )


def _held_clock(target: Target, progress: Progress) -> AbstractContextManager[None]:
    card = target.device.card
    if card is not None and left_locked(card):
        # A process that was killed could not give the clock back.
        unlock(card)
        progress.message(f"{card.name}: unlocked the clock that a killed process had left locked")
    if target.options.clock_mhz is None:
        return nullcontext()
    if card is None:
        raise DeviceError(f"{target.device.key} is no NVIDIA card.", "Leave out --lock-clocks.")
    return locked(card, target.options.clock_mhz)


def _measure_subjects(
    subjects: Sequence[Subject],
    setup: Setup,
    store: Store,
    target: Target,
    protocol: MeasurementProtocol,
    rng: np.random.Generator,
    progress: Progress,
    probe: Probe | None,
    cache: MemoryCache,
) -> list[tuple[str, str]]:
    """Measure; returns label and reason of what was refused."""
    refusals: list[tuple[str, str]] = []
    waiting_for_host: list[str] = []
    rounds: list[RoundConditions] = []

    def surroundings() -> dict[str, Any]:
        return {**snapshot(), "card": None if probe is None else probe.state()}

    visit = store.begin_visit(setup, time.time(), surroundings())

    def keep(key: str, sample: Sample) -> None:
        store.add_sample(setup, key, sample)
        progress.advance(0)

    def note_round(conditions: RoundConditions) -> None:
        seen = conditions if probe is None else replace(conditions, card=probe.state())
        store.add_round(visit, len(rounds), seen)
        rounds.append(seen)

    def refused(subject: Subject, error: ModelRefusedError) -> None:
        refusals.append((subject.label, error.message))
        progress.message(f"refused: {subject.label}: {error.message}")

    def noted(key: str, notes: dict[str, Any]) -> None:
        store.add_notes(setup, key, notes)
        if notes.get("host_bound"):
            waiting_for_host.append(key)

    measure_subjects(
        subjects,
        runtime=target.runtime,
        options=replace(target.options, timing_cache=cache),
        batch=target.batch,
        protocol=protocol,
        rng=rng,
        known=store.history(setup),
        sink=keep,
        finished=progress.advance,
        round_done=note_round,
        refused=refused,
        noted=noted,
        slowed=(lambda: False) if probe is None else probe.slowed,
    )
    store.end_visit(visit, time.time(), surroundings())
    for advice in round_advice(rounds):
        progress.message(f"while measuring, {advice.what}. {advice.do}")
    if waiting_for_host:
        progress.message(
            f"the card waited for the host in {len(waiting_for_host)} of {len(subjects)} models: "
            "their times hold gaps between kernels; --cuda-graph closes them"
        )
    return refusals


def _subject(operator: Operator, batch: int, generation: int) -> Subject:
    counts = count(operator.program)
    # Activations of one sample at their peak, times the batch; twice, for layouts kept beside them.
    memory = 2.0 * counts.peak_bytes * batch + 3.0 * counts.weight_bytes
    return Subject(program_key(operator.program), operator.label, operator.program, memory, generation)


class _turn:
    """Holds the device for one process at a time."""

    def __init__(self, device: Device, progress: Progress) -> None:
        folder = home() / "locks"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"cannot make {folder}: {error.strerror}", "Set NASCLI_HOME to a folder that can be written."
            ) from error
        # Two cards of one kind do not disturb each other, and have one key.
        name = device.key if device.card is None else device.card.uuid
        self._lock = FileLock(folder / f"{name}.lock")
        self._progress = progress

    def __enter__(self) -> None:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            start = time.monotonic()
            self._progress.message("another process is measuring on this device; waiting for its end")
            self._lock.acquire()
            self._progress.message(f"the device is free after {time.monotonic() - start:.0f} s")
        except OSError as error:
            raise StoreError(f"cannot lock the device: {error.strerror}") from error

    def __exit__(self, *details: object) -> None:
        self._lock.release()
