"""Profiling: which operators a store lacks, and measuring them into it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from filelock import FileLock, Timeout

from nascli.errors import DeviceError, RuntimeUnavailableError, StoreError
from nascli.lut import LatencyTable, Sample, Setup, Store, program_key
from nascli.lut.statistics import estimate
from nascli.lut.store import RoundConditions
from nascli.paths import home
from nascli.profiles.advice import of_rounds
from nascli.profiles.conditions import snapshot
from nascli.profiles.devices import Device
from nascli.profiles.protocol import Protocol, Subject, done, measure
from nascli.profiles.runtimes import Runtime, RuntimeOptions
from nascli.progress import Progress
from nascli.spaces.counts import count
from nascli.spaces.network import Network
from nascli.spaces.operators import Operator

# Bursts, anchors and the rounds that noisy operators add, as seen on small and medium operators.
_OPERATOR_SECONDS = 0.35


@dataclass(frozen=True)
class Target:
    """Where to measure: a device that is here, a runtime that works, and how models are run."""

    device: Device
    runtime: Runtime
    options: RuntimeOptions
    batch: int

    def setup(self) -> Setup:
        """The key that all measurements on this target carry.

        Raises:
            RuntimeUnavailableError: the runtime is not installed.
            DeviceError: a precision that the runtime does not have.
        """
        missing = self.runtime.missing()
        if missing is not None:
            raise RuntimeUnavailableError(f"{self.runtime.name} does not work here: {missing}")
        if self.options.precision not in self.runtime.precisions:
            raise DeviceError(
                f"{self.runtime.name} measures {', '.join(self.runtime.precisions)}, "
                f"not {self.options.precision!r}"
            )
        return Setup(
            device=self.device.key,
            runtime=self.runtime.name,
            runtime_version=self.runtime.version(),
            precision=self.options.precision,
            batch=self.batch,
            threads=self.options.threads,
        )


@dataclass(frozen=True)
class Renewal:
    """What is measured anew although it was finished. The old samples stay in the store's history.

    Attributes:
        before: figures whose last sample is older than this (seconds since the epoch).
        unstable: figures that did not settle.
    """

    before: float | None = None
    unstable: bool = False

    def wants(self, protocol: Protocol, samples: Sequence[Sample]) -> bool:
        """Whether an operator with these samples is measured anew."""
        if self.before is not None and max(s.taken_at for s in samples) < self.before:
            return True
        return self.unstable and not protocol.settled(estimate(samples, 1.0))


NO_RENEWAL = Renewal()


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
    protocol: Protocol,
    renewal: Renewal = NO_RENEWAL,
) -> Plan:
    """Find out which operators the store lacks on this target."""
    setup = target.setup()
    distinct = {program_key(o.program): o for o in operators if o.program.output != 0}
    samples = store.samples(setup)
    todo, generations, partial = [], [], 0
    for key, operator in distinct.items():
        rows = samples.get(key, [])
        generation = rows[0].generation if rows else 0
        if done(protocol, rows):
            if not renewal.wants(protocol, rows):
                continue
            generation += 1
        else:
            partial += bool(rows)
        todo.append(operator)
        generations.append(generation)
    return Plan(setup, list(distinct.values()), todo, generations, partial)


def profile(
    operators: Iterable[Operator],
    store: Store,
    target: Target,
    *,
    protocol: Protocol,
    rng: np.random.Generator,
    progress: Progress,
    what: str = "operators",
    renewal: Renewal = NO_RENEWAL,
) -> LatencyTable:
    """Measure what the store lacks, and return the setup's table.

    Every sample is committed as soon as it is taken; a run that was killed goes on where it was. Two
    profilers on one device would disturb each other, so they take turns.

    Raises:
        DeviceError: an operator that the runtime refuses.
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
    protocol: Protocol,
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
    visit = store.begin_visit(plan.setup, time.time(), snapshot())
    rounds: list[RoundConditions] = []

    def keep(key: str, sample: Sample) -> None:
        store.add_sample(plan.setup, key, sample)
        progress.advance(0)

    def note(conditions: RoundConditions) -> None:
        store.add_round(visit, len(rounds), conditions)
        rounds.append(conditions)

    measure(
        subjects,
        runtime=target.runtime,
        options=target.options,
        batch=target.batch,
        protocol=protocol,
        rng=rng,
        known=store.history(plan.setup),
        sink=keep,
        finished=progress.advance,
        round_done=note,
    )
    store.end_visit(visit, time.time(), snapshot())
    for advice in of_rounds(rounds):
        progress.message(f"while measuring, {advice.what}. {advice.do}")


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
        self._lock = FileLock(folder / f"{device.key}.lock")
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
