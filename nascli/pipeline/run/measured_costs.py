"""The costs of a run, derived from tables once and then kept, so that a resumed run sees the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from nascli.costmodel import ChainCost, Constraint, table_latency
from nascli.costmodel.budgets import CostSet
from nascli.costmodel.calibration import Calibration
from nascli.costmodel.roofline import roofline_latency
from nascli.costmodel.space_costs import weights_of_space
from nascli.errors import ConstraintError, Remedy
from nascli.files import read_json, reading, write_json
from nascli.pipeline.measure.latency_model import (
    CALIBRATED,
    find_data_sheet,
    fixed_costs,
    known_calibration,
    model_of,
    profile_first,
)
from nascli.pipeline.measure.profile import plan, profile_models
from nascli.pipeline.measure.subjects import space_subjects
from nascli.pipeline.measure.table_quality import table_quality
from nascli.pipeline.run.settings import SearchSettings
from nascli.pipeline.tables.lookup import read_table_of
from nascli.profiles.protocol import MeasurementProtocol
from nascli.progress import Progress
from nascli.search.problem import LatencySource
from nascli.search.run_folder import COSTS, RunFolder
from nascli.spaces.space import Space
from nascli.supernet.training import distributed
from nascli.units import format_seconds


def measured_costs(
    settings: SearchSettings,
    space: Space,
    counted: Mapping[str, ChainCost],
    folder: RunFolder,
    progress: Progress,
) -> tuple[CostSet, LatencySource]:
    """The costs of a space with its latency, and where that latency comes from.

    What the store lacks is measured first. In a run that is resumed, the latency is the one that the run began with.

    Args:
        settings: Of the run.
        space: What is searched.
        counted: The counted costs that the run bounds.
        folder: The run's folder, which keeps the latency.
        progress: Is shown what is measured.

    Raises:
        ConstraintError: A confidence is asked for, and the space is not calibrated.
        StoreError: The table of another device is not there.
    """
    file = folder.file(COSTS)

    def kept() -> dict[str, Any]:
        document = read_json(file)
        if document is None:
            document = _document(settings, space, progress)
            write_json(file, document)
        return document

    document = distributed.on_first(kept)
    with reading(file):
        elsewhere = document["elsewhere"].items()
        costs = CostSet(
            counted,
            ChainCost.from_json(document["latency"]),
            {device: ChainCost.from_json(cost) for device, cost in elsewhere},
            document["half_width"],
        )
        return costs, LatencySource(
            document["model"],
            document["setup"],
            document["table_digest"],
            document.get("evidence") or {},
            document["fixed"],
        )


def _document(settings: SearchSettings, space: Space, progress: Progress) -> dict[str, Any]:
    """Profile what is missing, and derive the costs as the run keeps them."""
    spec, execution = settings.target, settings.execution
    protocol, subjects = MeasurementProtocol(), space_subjects(space, spec.batch)
    work = plan(subjects, spec, execution, protocol)
    if work.todo:
        progress.message(
            f"{len(work.todo)} of {len(work.operators)} models (operators alone and in context) are not "
            f"in the store for {work.setup.label}; measuring them takes about "
            f"{format_seconds(work.expected_seconds)}"
        )
    table = profile_models(
        subjects, spec, execution, protocol=protocol, seed=settings.seed, progress=progress
    )
    with profile_first(spec, execution, space=space.spec):
        latency = table_latency(space, table, f"profile {space.spec}")
        model = model_of(weights_of_space(space, table))
    calibration = known_calibration(space, table, latency, execution)
    margin = 0.0 if settings.confidence is None else _margin(calibration, settings, space)
    if calibration is not None:
        latency, model = calibration.cost, CALIBRATED.format(len(calibration.errors))
    progress.message(f"latency model: {model}")
    return {
        "model": model,
        "half_width": margin,
        "latency": latency.to_json(),
        "fixed": fixed_costs(table, space),
        "elsewhere": {
            device: _latency_elsewhere(space, settings, device, progress).to_json()
            for device in devices_elsewhere(settings.constraints)
        },
        "setup": table.setup.to_json(),
        "table_digest": table.digest,
        "evidence": table_quality(table, subjects, execution).to_json(),
    }


def devices_elsewhere(constraints: Sequence[Constraint]) -> list[str]:
    """The devices that constraints name, other than the one that is measured on."""
    return sorted({constraint.device for constraint in constraints if constraint.device})


def require_tables_elsewhere(settings: SearchSettings) -> None:
    """Refuse budgets of devices that have neither a table in the store nor a data sheet.

    Raises:
        StoreError: A device has no table, or more than one that fits.
        UnknownNameError: Nobody knows a device.
    """
    distributed.on_first(lambda: _require_tables(settings))


def _require_tables(settings: SearchSettings) -> None:
    for device in devices_elsewhere(settings.constraints):
        spec = replace(settings.target, device=device)
        if find_data_sheet(spec, settings.execution) is None:
            read_table_of(settings.target, settings.execution, device)


def _latency_elsewhere(space: Space, settings: SearchSettings, device: str, progress: Progress) -> ChainCost:
    """The latency of a space on another device: from its table, or from its data sheet where there is none."""
    spec, execution = settings.target, settings.execution
    sheet = find_data_sheet(replace(spec, device=device), execution)
    if sheet is None:
        there = replace(spec, device=device)
        with profile_first(there, execution, space=space.spec):
            return table_latency(space, read_table_of(spec, execution, device), f"profile {space.spec} there")
    progress.message(
        f"no table of {device} is in the store: its latency is predicted from its data sheet, which is no "
        "measurement; import one for a budget that holds"
    )
    return roofline_latency(space, sheet, spec.batch, spec.precision)


def _margin(calibration: Calibration | None, settings: SearchSettings, space: Space) -> float:
    """Half the width of the model's interval at the confidence that was asked for, relative."""
    assert settings.confidence is not None
    if calibration is None:
        raise ConstraintError(
            f"a confidence of {settings.confidence} needs a calibrated model of {space.spec}, whose interval is known.",
            "Measure whole networks first.",
            Remedy(
                job="calibrate",
                arguments={"space": space.spec, "target": settings.target, "execution": settings.execution},
            ),
        )
    return calibration.half_width(settings.confidence)
