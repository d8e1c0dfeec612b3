"""What the tables of a store say about a space on other devices than the one that is asked about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nascli.costmodel import ChainCost, table_latency
from nascli.errors import ConstraintError, MissingMeasurementsError, Remedy, StoreError, UnknownNameError
from nascli.execution import Execution
from nascli.lut import LatencyTable, Setup, Store
from nascli.pipeline.measure.latency_model import known_calibration, profile_first
from nascli.pipeline.tables.lookup import device_key
from nascli.profiles.target import TargetSpec
from nascli.spaces.space import Space


@dataclass(frozen=True)
class KnownTable:
    """A device on which every architecture of a space has a latency.

    Attributes:
        setup: Device, runtime, precision, batch, and threads.
        cost: Latency of the architectures.
        kind: 'measured', 'calibrated', or 'imported'.
    """

    setup: Setup
    cost: ChainCost
    kind: str


def known_costs(
    space: Space, spec: TargetSpec, execution: Execution, sources: Sequence[str] = ()
) -> list[KnownTable]:
    """What every architecture of a space costs on the other devices of a store.

    Args:
        space: What is searched.
        spec: The device that is asked about, with the batch and the precision that are meant.
        execution: The store.
        sources: Only these devices; by default all.

    Returns:
        each table that has the whole space, calibrated where whole networks were measured. Of several versions of a
        runtime the newest is used.

    Raises:
        StoreError: No store, or no such table.
        UnknownNameError: A device in `sources` that the store does not have.
        MissingMeasurementsError: A device in `sources` whose table is incomplete.
    """
    if not execution.store.exists():
        raise StoreError(
            f"there is no store at {execution.store}, and the tables of other devices are in one.",
            "Import tables of other devices, or name a store that has some.",
            Remedy(arguments={"store": None}),
            Remedy(job="import_packs"),
        )
    own = device_key(spec.device)
    named = {device_key(name): name for name in sources}
    if own in named:
        raise StoreError(
            f"{named[own]} is the new device itself.",
            "Name other devices.",
            Remedy(arguments={"sources": None}),
        )
    with Store(execution.store) as store:
        setups = [setup for setup, _, count in store.setups() if count and setup.device != own]
        for key, name in named.items():
            if key not in {setup.device for setup in setups}:
                known = sorted({setup.device for setup in setups})
                raise UnknownNameError(
                    "device of the store", name, known, "See the tables.", Remedy(job="list_tables")
                )
        setups = [setup for setup in setups if not named or setup.device in named]
        fitting = [s for s in setups if (s.batch, s.precision) == (spec.batch, spec.precision)]
        tables = [LatencyTable.read(store, setup) for setup in fitting]
    found: dict[tuple[str, str, int, str], KnownTable] = {}
    reasons: dict[str, Exception] = {}
    for setup, table in zip(fitting, tables, strict=True):
        there = replace(spec, device=setup.device, runtime=setup.runtime, threads=setup.threads)
        try:
            with profile_first(there, execution, space=space.spec):
                plain = table_latency(space, table, f"profile {space.spec}")
        except (MissingMeasurementsError, ConstraintError) as error:
            reasons[setup.device] = error
            continue
        calibration = None if table.imported else known_calibration(space, table, plain, execution)
        cost = plain if calibration is None else calibration.cost
        kind = "imported" if table.imported else cost.kind
        found[setup.device, setup.runtime, setup.threads, setup.mode] = KnownTable(setup, cost, kind)
    complete = {table.setup.device for table in found.values()}
    for key, name in named.items():
        if key not in complete:
            raise reasons.get(key) or _no_table(space, spec, execution, name, setups)
    if not found:
        raise _no_table(space, spec, execution, None, setups)
    return list(found.values())


def _no_table(
    space: Space, spec: TargetSpec, execution: Execution, name: str | None, setups: Sequence[Setup]
) -> StoreError:
    listed = "; ".join(setup.label for setup in setups if name is None or setup.device == device_key(name))
    return StoreError(
        f"no {'other device' if name is None else f'table of {name}'} in {execution.store} has all operators of "
        f"{space.spec} at batch {spec.batch}, {spec.precision}; found: {listed or 'none'}.",
        "Import tables of other devices, or choose the batch and the precision of those that are there.",
        Remedy(arguments={"batch": None, "precision": None}),
        Remedy(job="import_packs"),
    )
