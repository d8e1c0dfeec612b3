"""What table and calibration say about a network: the figure, its interval, and each part's share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nascli.costmodel import table_latency
from nascli.costmodel.roofline import Hardware, predict_program
from nascli.costmodel.roofline.latency import FITTED_ON
from nascli.errors import ConstraintError, MissingMeasurementsError
from nascli.execution import Execution
from nascli.lut import LatencyTable
from nascli.lut.in_context.carriers import require_context
from nascli.pipeline.measure.latency_model import (
    CALIBRATED,
    MODEL,
    ROOFLINE,
    find_data_sheet,
    known_calibration,
)
from nascli.pipeline.measure.subjects import read_network
from nascli.pipeline.tables.lookup import read_table
from nascli.profiles.target import TargetSpec
from nascli.spaces import Architecture, Network
from nascli.spaces.blocks import Layer

NOT_CALIBRATED = "whole networks were not measured for it (nascli calibrate)"


def predict_network(path: Path, spec: TargetSpec, execution: Execution, confidence: float) -> dict[str, Any]:
    """Latency of an architecture's file or an ONNX model.

    Where at least eight networks of the architecture's space were measured (`nascli calibrate`), the
    figure is calibrated on them and has an interval; else it is the plain sum and says so.

    Raises:
        MissingMeasurementsError: naming the operators that the table lacks.
    """
    network, architecture = read_network(path)
    device = find_data_sheet(spec, execution)
    if device is not None:
        return _from_data_sheet(network, device, spec)
    table = read_table(spec, execution)
    if architecture is not None and architecture.space.multi_branch:
        return _multi_branch(architecture, spec, execution, table, confidence)
    measured_by = f"--network {path}" if architecture is None else f"--space {architecture.space.spec}"
    figures = require_context(
        table, network.placements, f"nascli profile {measured_by} {spec.command(execution)}"
    )
    total = sum(figure.seconds for figure in figures)
    parts = [
        {
            "block": block.name,
            "operator": block.operator.short,
            "seconds": figure.seconds,
            "kind": figure.kind,
            "share": figure.seconds / total,
        }
        for block, figure in zip(network.blocks, figures, strict=True)
    ]
    document = _document(total, table, parts)
    if architecture is not None:
        document |= _calibrated(architecture, spec, execution, table, confidence)
    return document


def _from_data_sheet(network: Network, device: Hardware, spec: TargetSpec) -> dict[str, Any]:
    """A prediction by the roofline; its interval is what such predictions were off on data they had not seen."""
    found = predict_program(network.program, device, spec.batch, spec.precision)
    parts, node = [], 0
    for block in network.blocks:
        end = node + len(block.operator.program.nodes)
        seconds = sum(found.by_node.get(i, 0.0) for i in range(node + 1, end + 1))
        parts.append(
            {
                "block": block.name,
                "operator": block.operator.short,
                "seconds": seconds,
                "kind": "predicted",
                "share": seconds / found.seconds,
            }
        )
        node = end
    return {
        "latency_s": found.seconds,
        "kind": "predicted",
        "model": ROOFLINE.format(device.key),
        "interval_s": [found.low, found.high],
        "no_interval": None,
        "confidence": 0.9,
        "extrapolated": device.key != FITTED_ON,
        "setup": {"device": device.key, "batch": spec.batch, "precision": spec.precision},
        "table_digest": None,
        "parts": parts,
    }


def _document(total: float, table: LatencyTable, parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "latency_s": total,
        "kind": "imported" if table.imported else "measured",
        "model": MODEL,
        "interval_s": None,
        "no_interval": "an imported table" if table.imported else NOT_CALIBRATED,
        "confidence": None,
        "extrapolated": False,
        "setup": table.setup.to_json(),
        "table_digest": table.digest,
        "parts": parts,
    }


def _multi_branch(
    architecture: Architecture, spec: TargetSpec, execution: Execution, table: LatencyTable, confidence: float
) -> dict[str, Any]:
    """A layer is its branches and their joining, each measured on its own."""
    space = architecture.space
    command = f"nascli profile --space {space.spec} {spec.command(execution)}"
    plain = table_latency(space, table, command)
    total = float(plain(space.check(np.array([architecture.choices])))[0])
    choices = iter(zip(architecture.choices, plain.unary, plain.joins or (), strict=True))
    parts = []
    for block, placements in zip(space.blocks, space.placements, strict=True):
        if isinstance(block, Layer):
            code, unary, joins = next(choices)
            chosen = block.chosen(int(code))
            operator = block.operator(int(code)).short
            seconds = float(unary[list(chosen)].sum() + joins[len(chosen)])
        else:
            operator = block.operator.short
            seconds = require_context(table, placements, command)[0].seconds
        parts.append(
            {
                "block": block.name,
                "operator": operator,
                "seconds": seconds,
                "kind": "in context",
                "share": seconds / total,
            }
        )
    return _document(total, table, parts) | _calibrated(architecture, spec, execution, table, confidence)


def _calibrated(
    architecture: Architecture, spec: TargetSpec, execution: Execution, table: LatencyTable, confidence: float
) -> dict[str, Any]:
    space = architecture.space
    if table.imported:
        return {}
    try:
        plain = table_latency(space, table, "")
    except MissingMeasurementsError:
        # The architecture's own operators are there, but not all of its space's: no calibration of the space.
        return {
            "no_interval": f"not all operators of the space are measured (nascli profile --space {space.spec})"
        }
    calibration = known_calibration(space, spec, execution, table, plain)
    if calibration is None:
        return {}
    seconds = float(calibration.cost(space.check(np.array([architecture.choices])))[0])
    found = {
        "latency_s": seconds,
        "kind": "calibrated",
        "model": CALIBRATED.format(len(calibration.errors)),
        "extrapolated": calibration.extrapolates(seconds),
    }
    try:
        half = calibration.half_width(confidence)
    except ConstraintError as error:
        return found | {"no_interval": " ".join(str(error).splitlines())}
    return found | {
        "interval_s": [seconds * (1 - half), seconds * (1 + half)],
        "no_interval": None,
        "confidence": confidence,
    }
