"""Tables listed, shown, checked, and removed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nascli.errors import Remedy, StoreError
from nascli.execution import Execution
from nascli.lut import LatencyTable, Measurement, Setup, Store
from nascli.lut.audit import Finding, audit
from nascli.lut.in_context.carriers import in_context, is_auxiliary
from nascli.pipeline.tables.lookup import stored_setup
from nascli.profiles.runtimes.registry import all_runtimes
from nascli.profiles.target import TargetSpec
from nascli.spaces.operators.definition import Operator


@dataclass(frozen=True)
class TableRow:
    """One table of a store.

    Attributes:
        setup: What its figures depend on besides the operator.
        operators: How many operators it has.
        facts: What was recorded of the device.
    """

    setup: Setup
    operators: int
    facts: Mapping[str, str]

    def to_json(self) -> dict[str, object]:
        """The row as a document."""
        return {**self.setup.to_json(), "operators": self.operators, "facts": dict(self.facts)}


@dataclass(frozen=True)
class OperatorRow:
    """One operator of a table.

    Attributes:
        key: The key of its program.
        operator: Its name.
        alone: Its latency, measured alone.
        inside: Its latency inside a network; None where that is not known.
        macs: Its multiply-accumulates for one sample.
        notes: What the runtime told of it.
    """

    key: str
    operator: str
    alone: Measurement
    inside: Measurement | None
    macs: int
    notes: Mapping[str, object]

    @property
    def has_interval(self) -> bool:
        """Whether there are enough rounds for an interval."""
        return math.isfinite(self.alone.high)

    def to_json(self) -> dict[str, object]:
        """The row as a document."""
        return {
            "key": self.key,
            "operator": self.operator,
            "seconds": self.alone.seconds,
            "low": self.alone.low if self.has_interval else None,
            "high": self.alone.high if self.has_interval else None,
            "rounds": self.alone.rounds,
            "notes": dict(self.notes),
            "kind": self.alone.kind,
            "in_context_seconds": None if self.inside is None else self.inside.seconds,
            "macs": self.macs,
        }


def list_tables(path: Path) -> list[TableRow]:
    """Every table of a store.

    Raises:
        StoreError: There is no store at `path`.
    """
    with Store(existing_store(path)) as store:
        return [TableRow(setup, count, facts) for setup, facts, count in store.setups()]


def show_table(spec: TargetSpec, execution: Execution, *, networks: bool = False) -> list[OperatorRow]:
    """The operators of one table, slowest first.

    Args:
        spec: Which table.
        execution: Names the store.
        networks: Whether whole networks are listed too.

    Raises:
        StoreError: Nothing was measured on that target.
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
            operator, last = Operator(label, (), program), program.output in program.flat
            inside = in_context(table, operator, last=last) or in_context(
                table, operator, last=last, cold=True
            )
        rows.append(OperatorRow(key, label, figure, inside, table.labels[key][1], notes.get(key, {})))
    if not rows:
        raise StoreError(
            f"nothing was measured for {setup.label}.",
            "Profile a space or a network first.",
            Remedy(job="profile", arguments={"target": spec, "execution": execution}),
        )
    return sorted(rows, key=lambda row: -row.alone.seconds)


def existing_store(path: Path) -> Path:
    """The path of a store that is there.

    Raises:
        StoreError: It is not.
    """
    if not path.exists():
        raise StoreError(
            f"there is no store at {path} yet.",
            "Profile a space or a network to make one.",
            Remedy(job="profile", arguments={"target": TargetSpec()}),
        )
    return path


def check_store(path: Path) -> list[Finding]:
    """Audit a store: damage, impossible values, operators that disagree with themselves, stale versions.

    Raises:
        StoreError: There is no store at `path`.
    """
    versions = {name: r.version() for name, r in all_runtimes().items() if r.missing() is None}
    with Store(existing_store(path)) as store:
        return audit(store, versions)


def table_meant(spec: TargetSpec, execution: Execution) -> Setup:
    """The setup of the stored table that belongs to a target.

    Raises:
        StoreError: There is no such table.
    """
    with Store(existing_store(execution.store)) as store:
        setup = stored_setup(spec, store)
        if setup not in [known for known, _, _ in store.setups()]:
            raise StoreError(
                f"nothing was measured for {setup.label}.", "See what there is.", Remedy(job="list_tables")
            )
        return setup


def remove_table(store_path: Path, setup: Setup) -> int:
    """Delete a table with its samples.

    Returns:
        How many samples it had.
    """
    with Store(existing_store(store_path)) as store:
        return store.remove_setup(setup)
