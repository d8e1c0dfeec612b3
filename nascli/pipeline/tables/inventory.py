"""Tables listed, shown, checked, and removed."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nascli.errors import StoreError
from nascli.execution import Execution
from nascli.lut import LatencyTable, Setup, Store
from nascli.lut.audit import audit
from nascli.lut.in_context.carriers import in_context, is_auxiliary
from nascli.pipeline.tables.lookup import stored_setup
from nascli.profiles.runtimes.registry import all_runtimes
from nascli.profiles.target import TargetSpec
from nascli.spaces.operators.definition import Operator
from nascli.units import format_count, format_seconds


def list_tables(path: Path) -> list[dict[str, Any]]:
    """Every setup of a store.

    Raises:
        StoreError: no store there.
    """
    if not path.exists():
        raise StoreError(f"there is no store at {path} yet.", "Make one: nascli profile --device cpu")
    with Store(path) as store:
        return [{**setup.to_json(), "operators": n, "facts": facts} for setup, facts, n in store.setups()]


def show_table(spec: TargetSpec, execution: Execution, networks: bool) -> list[dict[str, Any]]:
    """The figures of one table, slowest first: alone, and inside a network where that is known.

    Raises:
        StoreError: nothing was measured there.
    """
    with Store(execution.store) as store:
        setup = stored_setup(spec, store)
        table = LatencyTable.read(store, setup)
        programs = store.operators(setup)
        notes = store.notes(setup)
    rows = []
    for key, figure in table.estimates.items():
        label, program = programs[key]
        if is_auxiliary(label) or (label.startswith("network ") and not networks):
            continue
        # Nothing follows a classifier.
        inside = None
        if program is not None:
            inside = in_context(table, Operator(label, (), program), last=program.output in program.flat)
        rows.append(
            {
                "key": key,
                "operator": label,
                "seconds": figure.seconds,
                "low": figure.low if math.isfinite(figure.high) else None,
                "high": figure.high if math.isfinite(figure.high) else None,
                "rounds": figure.rounds,
                "notes": notes.get(key, {}),
                "kind": figure.kind,
                "in_context_seconds": None if inside is None else inside.seconds,
                "macs": table.labels[key][1],
                "shown": {
                    "operator": label,
                    "alone": format_seconds(figure.seconds),
                    "interval": f"±{figure.relative_width:.1%}" if math.isfinite(figure.high) else "unknown",
                    "in context": "-" if inside is None else format_seconds(inside.seconds),
                    "rounds": str(figure.rounds),
                    "macs": format_count(table.labels[key][1]),
                },
            }
        )
    if not rows:
        raise StoreError(
            f"nothing was measured for {setup.label}.", f"Measure: nascli profile {spec.command(execution)}"
        )
    return sorted(rows, key=lambda row: -float(str(row["seconds"])))


def _existing(path: Path) -> Path:
    if not path.exists():
        raise StoreError(f"there is no store at {path} yet.", "Make one: nascli profile --device cpu")
    return path


def check_store(path: Path) -> list[dict[str, str]]:
    """Audit a store."""
    versions = {name: r.version() for name, r in all_runtimes().items() if r.missing() is None}
    with Store(_existing(path)) as store:
        return [asdict(finding) for finding in audit(store, versions)]


def table_meant(spec: TargetSpec, execution: Execution) -> Setup:
    """The setup of a place's table, which is there.

    Raises:
        StoreError: it is not.
    """
    with Store(_existing(execution.store)) as store:
        setup = stored_setup(spec, store)
        if setup not in [known for known, _, _ in store.setups()]:
            raise StoreError(f"nothing was measured for {setup.label}.", "See what there is: nascli lut list")
        return setup


def remove_table(store_path: Path, setup: Setup) -> int:
    """Delete a table; returns how many samples it had."""
    with Store(_existing(store_path)) as store:
        return store.remove_setup(setup)
