"""What a table says about an architecture, part by part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nascli.pipeline.measuring import Where, read_table
from nascli.spaces import Architecture


def predict_architecture(path: Path, where: Where) -> dict[str, Any]:
    """Latency of an architecture as the sum of its operators' stand-alone figures.

    Raises:
        MissingMeasurementsError: naming the operators that the table lacks.
    """
    architecture = Architecture.load(path)
    table = read_table(where)
    network = architecture.network
    table.require(network.operators, f"nascli profile --space {architecture.space.spec} {where.command}")
    parts: list[dict[str, Any]] = []
    for name, operator in network.blocks:
        figure = table.lookup(operator.program)
        assert figure is not None
        parts.append(
            {"block": name, "operator": operator.short, "seconds": figure.seconds, "kind": figure.kind}
        )
    total = sum(part["seconds"] for part in parts)
    return {
        "latency_s": total,
        "kind": "measured",
        "model": "sum of stand-alone operator latencies",
        "setup": table.setup.to_json(),
        "table_digest": table.digest,
        "parts": [{**part, "share": part["seconds"] / total} for part in parts],
    }
