"""The job of `nascli calibrate`, and the cost model that everything measured so far gives."""

from __future__ import annotations

from typing import Any

import numpy as np

from nascli.costmodel import table_latency
from nascli.costmodel.calibration import MIN_NETWORKS, Calibration, spread_architectures
from nascli.errors import ConstraintError
from nascli.execution import Execution
from nascli.lut import LatencyTable, Store
from nascli.pipeline.measure.latency_model import known_calibration
from nascli.pipeline.measure.profile import profile_models
from nascli.pipeline.measure.subjects import space_subjects
from nascli.pipeline.measure.whole_networks import measure_networks
from nascli.profiles.protocol import MeasurementProtocol
from nascli.profiles.target import TargetSpec
from nascli.progress import Progress
from nascli.random_streams import RandomStream, generator
from nascli.spaces.space import Space

CONFIDENCE = 0.9


def measured_calibration(
    space: Space, spec: TargetSpec, execution: Execution, *, networks: int, seed: int, progress: Progress
) -> tuple[Calibration, LatencyTable]:
    """Measure what the table lacks and networks that cover the space; how well sums fit, and the table.

    Run again, it measures nothing anew; with more networks, only the further ones.

    Raises:
        ConstraintError: fewer networks than a calibration needs.
    """
    protocol, command = (
        MeasurementProtocol(),
        f"nascli profile --space {space.spec} {spec.command(execution)}",
    )
    table = profile_models(
        space_subjects(space), spec, execution, protocol=protocol, seed=seed, progress=progress
    )
    plain = table_latency(space, table, command)
    codes = spread_architectures(space, plain, networks, generator(seed, RandomStream.CALIBRATION))
    rows = [tuple(int(code) for code in row) for row in codes]
    measure_networks(
        [space.network(row, f"{space.name} {list(row)}") for row in rows],
        spec,
        execution,
        protocol=protocol,
        seed=seed,
        progress=progress,
        members=(space, rows),
    )
    # The setup that was measured in: the store may have others of this device.
    with Store(execution.store) as store:
        table = LatencyTable.read(store, table.setup)
    calibration = known_calibration(space, spec, execution, table, table_latency(space, table, command))
    if calibration is None:
        raise ConstraintError(
            f"calibration needs at least {MIN_NETWORKS} different networks of {space.spec}.",
            f"Ask for more: nascli calibrate --networks {MIN_NETWORKS * 3}",
        )
    return calibration, table


def calibrate_space(
    space: Space, spec: TargetSpec, execution: Execution, *, networks: int, seed: int, progress: Progress
) -> dict[str, Any]:
    """`measured_calibration` as a document."""
    calibration, table = measured_calibration(
        space, spec, execution, networks=networks, seed=seed, progress=progress
    )
    return {
        "space": space.spec,
        "setup": table.setup.to_json(),
        "networks": len(calibration.errors),
        "plain": _errors(calibration.plain_errors),
        "calibrated": _errors(calibration.errors),
        "half_width": calibration.half_width(CONFIDENCE) if len(calibration.errors) >= 9 else None,
        "confidence": CONFIDENCE,
        "fitted_s": list(calibration.fitted_range),
        "contradicting": [list(codes) for codes in calibration.contradicting],
    }


def _errors(errors: np.ndarray[Any, Any]) -> dict[str, float]:
    return {
        "bias": float(np.mean(errors)),
        "mean_absolute": float(np.mean(np.abs(errors))),
        "within_5_percent": float(np.mean(np.abs(errors) <= 0.05)),
    }
