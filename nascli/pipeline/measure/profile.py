"""The job of `nascli profile`: show the plan, measure what the store lacks, and say what did not settle."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nascli.execution import Execution
from nascli.lut import LatencyTable, Setup, Store
from nascli.pipeline.measure.fastest_runtime import settle_runtime
from nascli.pipeline.measure.subjects import subjects_of
from nascli.profiles.advice import machine_advice
from nascli.profiles.profiling import NO_REMEASURING, Plan, RemeasurePolicy, make_plan, profile_operators
from nascli.profiles.protocol import MeasurementProtocol
from nascli.profiles.target import TargetSpec
from nascli.progress import Progress
from nascli.spaces.network import Network
from nascli.spaces.operators.definition import Operator
from nascli.spaces.space import Space
from nascli.units import format_seconds, parse_quantity


@dataclass(frozen=True)
class ProfileSummary:
    """What a profiling run tells of its table.

    Attributes:
        setup: What the table's figures depend on besides the operator.
        store: The store that keeps them.
        operators: The number of models that were asked for.
        interval_target: Half of the 95 % interval, relative to the figure, at which a model counts as settled.
        unstable: The labels of models that did not settle.
        table_digest: The digest of the table.
        measured_now: How many models this run measured; None where a plan file was followed.
    """

    setup: Setup
    store: Path
    operators: int
    interval_target: float
    unstable: tuple[str, ...]
    table_digest: str
    measured_now: int | None = None

    def to_json(self) -> dict[str, object]:
        """The summary as a document."""
        document: dict[str, object] = {
            "setup": self.setup.to_json(),
            "store": str(self.store),
            "operators": self.operators,
            "interval_target": self.interval_target,
            "unstable": list(self.unstable),
            "table_digest": self.table_digest,
        }
        return document if self.measured_now is None else document | {"measured_now": self.measured_now}


def profile_target(
    profiled: Space | Network,
    spec: TargetSpec,
    execution: Execution,
    *,
    age: str | None = None,
    unstable: bool = False,
    seed: int = 0,
    progress: Progress,
) -> ProfileSummary:
    """Measure what the store lacks of a space, or of a network's own layers.

    Args:
        profiled: The space or the network.
        spec: On which device and how; the runtime may be 'fastest'.
        execution: Where measurements are kept.
        age: A duration such as '30d': figures older than this are measured anew.
        unstable: Whether to measure anew what did not settle.
        seed: The seed of the order in which models are measured.
        progress: Is told the plan, and how far it is.

    Raises:
        UnitError: `age` is no duration.
        DeviceError: The device is not here, or failed; what was measured is kept.
        RuntimeUnavailableError: The runtime does not work here.
    """
    protocol = MeasurementProtocol()
    spec = settle_runtime(profiled, spec, execution, seed=seed, progress=progress)
    before = None if age is None else time.time() - parse_quantity(age, "time")
    renewal = RemeasurePolicy(before, unstable)
    subjects = subjects_of(profiled, spec.batch)
    work = plan(subjects.models, spec, execution, protocol, renewal)
    anew = sum(generation > 0 for generation in work.generations)
    progress.message(
        f"{subjects.name} on {work.setup.label}: {subjects.distinct} distinct operators, "
        f"{len(work.operators)} models (operators alone and in context); "
        f"{len(work.operators) - len(work.todo)} known, {len(work.todo)} to measure ({work.partial} begun, "
        f"{anew} anew); about {format_seconds(work.expected_seconds)}"
    )
    if work.todo:
        for advice in machine_advice(spec.threads):
            progress.message(f"noise: {advice.what}. {advice.do}", *advice.remedies)
    table = profile_models(
        subjects.models, spec, execution, protocol=protocol, seed=seed, progress=progress, renewal=renewal
    )
    return summarise(work.operators, table, execution, protocol, measured_now=len(work.todo))


def summarise(
    operators: Sequence[Operator],
    table: LatencyTable,
    execution: Execution,
    protocol: MeasurementProtocol,
    *,
    measured_now: int | None = None,
) -> ProfileSummary:
    """Which of the profiled operators settled, and in which table they are."""
    figures = [(operator.label, table.lookup(operator.program)) for operator in operators]
    return ProfileSummary(
        setup=table.setup,
        store=execution.store,
        operators=len(operators),
        interval_target=protocol.target,
        unstable=tuple(
            label for label, figure in figures if figure is not None and not protocol.settled(figure)
        ),
        table_digest=table.digest,
        measured_now=measured_now,
    )


def plan(
    models: Sequence[Operator],
    spec: TargetSpec,
    execution: Execution,
    protocol: MeasurementProtocol,
    renewal: RemeasurePolicy = NO_REMEASURING,
) -> Plan:
    """What profiling some models would measure."""
    with Store(execution.store) as store:
        return make_plan(models, store, spec.resolve(execution), protocol, renewal)


def profile_models(
    models: Sequence[Operator],
    spec: TargetSpec,
    execution: Execution,
    *,
    protocol: MeasurementProtocol,
    seed: int,
    progress: Progress,
    renewal: RemeasurePolicy = NO_REMEASURING,
) -> LatencyTable:
    """Measure what the store lacks of some models.

    Args:
        models: What to measure.
        spec: On which device and how.
        execution: Where measurements are kept.
        protocol: How closely a model is measured.
        seed: The seed of the order in which models are measured.
        progress: Is told how far it is.
        renewal: What is measured anew although the store has it.

    Returns:
        The table of the target's setup.

    Raises:
        DeviceError: The device is not here, or failed; what was measured is kept.
    """
    target = spec.resolve(execution)
    with Store(execution.store) as store:
        return profile_operators(
            models,
            store,
            target,
            protocol=protocol,
            rng=np.random.default_rng(seed),
            progress=progress,
            renewal=renewal,
        )
