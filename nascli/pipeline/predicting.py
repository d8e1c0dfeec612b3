"""What a table says about an architecture, part by part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nascli.lut.context import require_context
from nascli.pipeline.measuring import Where, read_table
from nascli.spaces import Architecture

MODEL = "sum of operator latencies in context"


def predict_architecture(path: Path, where: Where) -> dict[str, Any]:
    """Latency of an architecture as the sum of its operators' figures in context.

    Raises:
        MissingMeasurementsError: naming the operators that the table lacks.
    """
    architecture = Architecture.load(path)
    table = read_table(where)
    network = architecture.network
    command = f"nascli profile --space {architecture.space.spec} {where.command}"
    figures = require_context(table, network.placed, command)
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
    return {
        "latency_s": total,
        "kind": "measured",
        "model": MODEL,
        "setup": table.setup.to_json(),
        "table_digest": table.digest,
        "parts": parts,
    }
