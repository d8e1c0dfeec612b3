"""The document that a run ends in."""

from __future__ import annotations

import datetime
import importlib.metadata
import math
import platform
from collections.abc import Sequence
from typing import Any

from nascli.costmodel import Constraint, FeasibleSet
from nascli.pipeline.run.settings import SearchSettings
from nascli.search.journal import Entry
from nascli.spaces.space import Space
from nascli.units import format_big_integer
from nascli.version import __version__


def base_document(
    settings: SearchSettings, space: Space, feasible: FeasibleSet, ranked: Sequence[Entry], identity: str
) -> dict[str, Any]:
    """What every run's result has.

    Args:
        settings: of the run.
        space: that was searched.
        feasible: its architectures within the budgets.
        ranked: the candidates.
        identity: which supernet ranked them.
    """
    return {
        "format": "nascli-result",
        "version": 1,
        "algorithm": settings.algorithm,
        "space": space.spec,
        "searched_space": space.spec,
        "space_size": str(space.size),
        "feasible_count": feasible.count(),
        "feasible_count_exact": feasible.exact,
        "data": settings.data,
        "constraints": list(settings.constraints),
        "evaluations": len(ranked),
        "supernet": identity,
        "seed": settings.seed,
        "finished_on": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": versions(),
    }


def format_estimated_count(count: int, exact: bool) -> str:
    """A number of architectures as it is printed: an estimate says so, and has the two digits that it is good for."""
    return format_big_integer(count) if exact else f"about {format_big_integer(int(float(f'{count:.1e}')))}"


def budget_rows(
    constraints: Sequence[Constraint], device: str, values: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Each constraint with what the winner has of it.

    Args:
        constraints: of the run.
        device: the one that was measured on.
        values: per constraint its `value`, and the `kind` of that figure.
    """
    return [
        {
            "cost": c.name,
            "device": c.device or (device if c.name == "latency" else None),
            # Another device's latency was not measured in this run.
            "here": c.device is None,
            "low": None if math.isinf(c.low) else c.low,
            "high": None if math.isinf(c.high) else c.high,
            **value,
        }
        for c, value in zip(constraints, values, strict=True)
    ]


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    found = {"nascli": __version__, "python": platform.python_version()}
    for package in ("torch", "onnx", "onnxruntime", "numpy"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
