"""What table and calibration say about a network: the figure, its interval, and each part's share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nascli.costmodel import table_latency
from nascli.errors import MissingMeasurementsError
from nascli.lut import LatencyTable
from nascli.lut.context import require_context
from nascli.pipeline.calibrating import known_calibration
from nascli.pipeline.measuring import Where, read_network, read_table
from nascli.spaces import Architecture

MODEL = "sum of operator latencies in context"
CALIBRATED = "sum of operator latencies, calibrated on {} whole networks"


def predict_network(path: Path, where: Where, confidence: float) -> dict[str, Any]:
    """Latency of an architecture's file or an ONNX model.

    Where at least eight networks of the architecture's space were measured (`nascli calibrate`), the
    figure is calibrated on them and has an interval; else it is the plain sum and says so.

    Raises:
        MissingMeasurementsError: naming the operators that the table lacks.
        ConstraintError: more confidence than the measured networks can give.
    """
    network, architecture = read_network(path)
    table = read_table(where)
    measured_by = f"--network {path}" if architecture is None else f"--space {architecture.space.spec}"
    figures = require_context(table, network.placed, f"nascli profile {measured_by} {where.command}")
    total = sum(figure.seconds for figure in figures)
    parts = [
        {
            "block": name,
            "operator": operator.short,
            "seconds": figure.seconds,
            "kind": figure.kind,
            "share": figure.seconds / total,
        }
        for (name, operator), figure in zip(network.blocks, figures, strict=True)
    ]
    document: dict[str, Any] = {
        "latency_s": total,
        "kind": "imported" if table.imported else "measured",
        "model": MODEL,
        "interval_s": None,
        "confidence": None,
        "extrapolated": False,
        "setup": table.setup.to_json(),
        "table_digest": table.digest,
        "parts": parts,
    }
    if architecture is not None:
        document |= _calibrated(architecture, where, table, confidence)
    return document


def _calibrated(
    architecture: Architecture, where: Where, table: LatencyTable, confidence: float
) -> dict[str, Any]:
    space = architecture.space
    if space.multi_branch or table.imported:
        return {}
    try:
        plain = table_latency(space, table, "")
    except MissingMeasurementsError:
        # The architecture's own operators are there, but not all of its space's: no calibration of the space.
        return {}
    calibration = known_calibration(space, where, table, plain)
    if calibration is None:
        return {}
    seconds = float(calibration.cost(space.check(np.array([architecture.codes])))[0])
    half = calibration.half_width(confidence)
    return {
        "latency_s": seconds,
        "kind": "calibrated",
        "model": CALIBRATED.format(len(calibration.errors)),
        "interval_s": [seconds * (1 - half), seconds * (1 + half)],
        "confidence": confidence,
        "extrapolated": calibration.extrapolates(seconds),
    }
