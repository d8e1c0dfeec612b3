"""Profiling: which operators a store lacks, and measuring them into it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from nascli.errors import DeviceError, ModelRefusedError, Remedy
from nascli.lut import LatencyTable, Sample, Setup, Store, program_key
from nascli.lut.statistics import estimate
from nascli.profiles.advice import round_advice
from nascli.profiles.devices.cards import Probe
from nascli.profiles.devices.clocks import is_left_locked, locked_clock, unlock_clock
from nascli.profiles.devices.lock import DeviceLock
from nascli.profiles.measurement import is_finished, measure_subjects
from nascli.profiles.protocol import GivenModel, MeasurementProtocol, Subject
from nascli.profiles.recorder import StoreRecorder
from nascli.profiles.runtimes.base import MemoryCache
from nascli.profiles.target import Target
from nascli.progress import Progress
from nascli.spaces.counts import count
from nascli.spaces.network import Network
from nascli.spaces.operators.definition import Operator

# Bursts, anchors, and the rounds that noisy operators add, as seen on small and medium operators.
_OPERATOR_SECONDS = 0.35
# Refused operators that an error names.
_NAMED_REFUSALS = 5


@dataclass(frozen=True)
class RemeasurePolicy:
    """Which finished operators are measured anew. Their old samples stay in the store's history.

    Attributes:
        before: Figures whose last sample is older than this are measured anew (seconds since the epoch).
        unstable: Figures that did not settle are measured anew.
        keys: Only operators of these keys are measured anew; None is all.
    """

    before: float | None = None
    unstable: bool = False
    keys: frozenset[str] | None = None

    def wants(self, protocol: MeasurementProtocol, samples: Sequence[Sample]) -> bool:
        """Return whether an operator with these samples is measured anew."""
        if self.before is not None and max(s.taken_at for s in samples) < self.before:
            return True
        return self.unstable and not protocol.settled(estimate(samples, 1.0))


NO_REMEASURING = RemeasurePolicy()


@dataclass(frozen=True)
class Plan:
    """What a profiling run will measure.

    Attributes:
        setup: The setup that the measurements belong to.
        operators: The distinct operators that cost anything.
        todo: Those of `operators` that have not settled in the store, and those that are measured anew.
        generations: For each of `todo`, the generation that its samples will belong to.
        partial: How many of `todo` have some samples already.
    """

    setup: Setup
    operators: list[Operator]
    todo: list[Operator]
    generations: list[int]
    partial: int

    @property
    def expected_seconds(self) -> float:
        """Approximate duration of the run in seconds."""
        return _OPERATOR_SECONDS * len(self.todo)


def network_operator(network: Network) -> Operator:
    """Return a whole network as one operator, so that it can be measured end to end."""
    return Operator(f"network {network.name}", (), network.program)


def make_plan(
    operators: Iterable[Operator],
    store: Store,
    target: Target,
    protocol: MeasurementProtocol,
    renewal: RemeasurePolicy = NO_REMEASURING,
) -> Plan:
    """Find out which operators the store lacks on a target.

    Args:
        operators: What is wanted; operators of one program count once, and those that cost nothing not at all.
        store: The store that is searched.
        target: The target whose setup is searched for.
        protocol: Decides when an operator is finished.
        renewal: Which finished operators are measured anew.

    Raises:
        RuntimeUnavailableError: The target's runtime is not installed, or does not run on its device.
        DeviceError: The runtime does not have the target's precision or a way to run models.
    """
    setup = target.setup()
    distinct = {program_key(o.program): o for o in operators if o.program.output != 0}
    samples = store.samples(setup)
    todo, generations, partial = [], [], 0
    for key, operator in distinct.items():
        rows = samples.get(key, [])
        generation = rows[0].generation if rows else 0
        if is_finished(protocol, rows):
            is_meant = renewal.keys is None or key in renewal.keys
            if not (is_meant and renewal.wants(protocol, rows)):
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
    models: Mapping[str, GivenModel] = MappingProxyType({}),
) -> LatencyTable:
    """Measure what the store lacks, and return the setup's table.

    Every sample is committed as soon as it is taken, and a run that was killed goes on where it stopped. Two
    processes that measure on one device take turns. An operator that the runtime refuses does not keep the
    others from being measured.

    Args:
        operators: What the table must contain; each distinct program is measured once.
        store: Where samples are read from and written to.
        target: The device, the runtime, its options, and the batch.
        protocol: How long and how often to measure.
        rng: Draws the order in which operators are measured.
        progress: Receives one step for each operator.
        what: What the operators are called in messages, in the plural.
        renewal: Which finished operators are measured anew.
        models: Models that are timed as they are, by the keys of their programs.

    Returns:
        The table of the target's setup, with all operators that were ever measured in it.

    Raises:
        DeviceError: The device failed; or the runtime refuses operators, which are named once the others are
            measured.
        RuntimeUnavailableError: The runtime is not installed, or does not run on the device.
        StoreError: The store cannot be written.
    """
    wanted = list(operators)
    setup = target.setup()
    if make_plan(wanted, store, target, protocol, renewal).todo:
        with DeviceLock(target.device, progress):
            # Planned again: another process may have measured the same while this one waited.
            plan = make_plan(wanted, store, target, protocol, renewal)
            if plan.todo:
                _carry_out(
                    plan,
                    store,
                    target,
                    protocol=protocol,
                    rng=rng,
                    progress=progress,
                    what=what,
                    models=models,
                )
    return LatencyTable.read(store, setup)


def _carry_out(
    plan: Plan,
    store: Store,
    target: Target,
    *,
    protocol: MeasurementProtocol,
    rng: np.random.Generator,
    progress: Progress,
    what: str,
    models: Mapping[str, GivenModel],
) -> None:
    """Measure what a plan says, with the card's clock held and its timing cache kept."""
    store.add_setup(plan.setup, dict(target.device.facts))
    store.add_operators(plan.todo)
    subjects = [
        _subject(operator, target.batch, generation, models)
        for operator, generation in zip(plan.todo, plan.generations, strict=True)
    ]
    progress.start(f"measuring {what} on {target.device.title}", len(subjects))
    probe = None if target.device.card is None else Probe(target.device.card)
    cache = MemoryCache(store.timing_cache(plan.setup))
    cached_target = replace(target, options=replace(target.options, timing_cache=cache))
    recorder = StoreRecorder(store, plan.setup, progress=progress, probe=probe)
    try:
        with held_clock(target, progress), recorder:
            measure_subjects(subjects, cached_target, protocol, recorder, rng=rng)
    finally:
        if cache.read():
            store.keep_timing_cache(plan.setup, cache.read())
        if probe is not None:
            probe.close()
    _report(recorder, len(subjects), progress)
    if recorder.refusals:
        raise _refused(recorder.refusals, f"{len(subjects)} {what}", target)


def held_clock(target: Target, progress: Progress) -> AbstractContextManager[None]:
    """Return a context in which the card's clock is locked as the target says."""
    card = target.device.card
    if card is not None and is_left_locked(card):
        # A process that was killed could not give the clock back.
        unlock_clock(card)
        progress.message(f"{card.name}: unlocked the clock that a killed process had left locked")
    if target.options.clock_mhz is None:
        return nullcontext()
    if card is None:
        raise DeviceError(
            f"{target.device.key} is not an NVIDIA card.",
            "Leave its clock alone.",
            Remedy(arguments={"clock_mhz": None}),
        )
    return locked_clock(card, target.options.clock_mhz)


def _report(recorder: StoreRecorder, count: int, progress: Progress) -> None:
    """Tell the user what disturbed the measurement of `count` models."""
    for advice in round_advice(recorder.rounds):
        progress.message(f"while measuring, {advice.what}. {advice.do}", *advice.remedies)
    if recorder.host_bound:
        progress.message(
            f"the card waited for the host in {len(recorder.host_bound)} of {count} models: "
            "their times hold gaps between kernels, which CUDA graphs close.",
            Remedy(arguments={"cuda_graph": True}),
        )


def _refused(refusals: Sequence[tuple[str, str]], of_all: str, target: Target) -> ModelRefusedError:
    # Some runtimes say it in several lines.
    names = "; ".join(f"{label}: {' '.join(reason.split())}" for label, reason in refusals[:_NAMED_REFUSALS])
    others = len(refusals) - _NAMED_REFUSALS
    more = f"; and {others} more" if others > 0 else ""
    return ModelRefusedError(
        f"{target.runtime.name} refuses {len(refusals)} of {of_all}: {names}{more}.",
        "The others are measured and kept. Use another runtime or precision, a smaller batch, or a space "
        "without these operators.",
    )


def _subject(operator: Operator, batch: int, generation: int, models: Mapping[str, GivenModel]) -> Subject:
    counts = count(operator.program)
    # Activations of one sample at their peak, times the batch; twice, for layouts kept beside them.
    memory = 2.0 * counts.peak_bytes * batch + 3.0 * counts.weight_bytes
    key = program_key(operator.program)
    return Subject(key, operator.label, operator.program, memory, generation, models.get(key))
