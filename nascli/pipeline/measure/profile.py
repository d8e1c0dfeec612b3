"""The job of `nascli profile`: show the plan, measure what the store lacks, and say what did not settle."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nascli.execution import Execution
from nascli.lut import LatencyTable, Store
from nascli.pipeline.measure.subjects import subjects_of
from nascli.profiles.advice import machine_advice
from nascli.profiles.profiling import NO_REMEASURING, Plan, RemeasurePolicy, make_plan, profile_operators
from nascli.profiles.protocol import MeasurementProtocol
from nascli.profiles.target import TargetSpec
from nascli.progress import Progress
from nascli.spaces.operators.definition import Operator
from nascli.units import format_seconds, parse_quantity


def profile_target(
    space: str,
    network: Path | None,
    spec: TargetSpec,
    execution: Execution,
    *,
    age: str | None,
    unstable: bool,
    seed: int,
    progress: Progress,
) -> dict[str, Any]:
    """Measure what the store lacks of a space or of a network's own layers.

    Args:
        space: a space's name and parameters.
        network: an architecture's file or an ONNX model, instead of the space.
        spec: On which device and how.
        execution: Where measurements are kept.
        age: such as '30d': figures older than this are measured anew.
        unstable: whether to measure anew what did not settle.
        seed: order of the measurements.
        progress: what is told how far it is.
    """
    protocol = MeasurementProtocol()
    before = None if age is None else time.time() - parse_quantity(age, "time")
    renewal = RemeasurePolicy(before, unstable)
    name, distinct, models = subjects_of(space, network)
    work = plan(models, spec, execution, protocol, renewal)
    anew = sum(generation > 0 for generation in work.generations)
    progress.message(
        f"{name} on {work.setup.label}: {distinct} distinct operators, "
        f"{len(work.operators)} models (operators alone and in context); "
        f"{len(work.operators) - len(work.todo)} known, {len(work.todo)} to measure ({work.partial} begun, "
        f"{anew} anew); about {format_seconds(work.expected_seconds)}"
    )
    if work.todo:
        for advice in machine_advice(spec.threads):
            progress.message(f"noise: {advice.what}. {advice.do}")
    table = profile_models(
        models, spec, execution, protocol=protocol, seed=seed, progress=progress, renewal=renewal
    )
    return {**shown(work.operators, table, spec, execution, protocol), "measured_now": len(work.todo)}


def shown(
    operators: Sequence[Operator],
    table: LatencyTable,
    spec: TargetSpec,
    execution: Execution,
    protocol: MeasurementProtocol,
) -> dict[str, Any]:
    """What a profiling run tells of its table, as a document."""
    return {
        "setup": table.setup.to_json(),
        "store": str(execution.store),
        "operators": len(operators),
        "interval_target": protocol.target,
        "unstable": [
            operator.label
            for operator in operators
            if (figure := table.lookup(operator.program)) is not None and not protocol.settled(figure)
        ],
        "table_digest": table.digest,
    }


def plan(
    models: Sequence[Operator],
    spec: TargetSpec,
    execution: Execution,
    protocol: MeasurementProtocol,
    renewal: RemeasurePolicy = NO_REMEASURING,
) -> Plan:
    """What profiling these models would measure."""
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
    """Measure what the store lacks of some models; returns the setup's table."""
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
