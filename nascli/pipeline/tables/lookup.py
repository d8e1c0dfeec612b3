"""Which stored table belongs to a target."""

from __future__ import annotations

from dataclasses import replace

from nascli.errors import Remedy, StoreError
from nascli.execution import Execution
from nascli.lut import LatencyTable, Setup, Store
from nascli.paths import default_store
from nascli.profiles.devices.device import this_cpu
from nascli.profiles.target import TargetSpec


def device_key(name: str) -> str:
    """The key under which tables of a device are kept: of 'cpu', this machine's; of 'titanxp:1', the card's."""
    return this_cpu().key if name == "cpu" else name.partition(":")[0]


def stored_setup(spec: TargetSpec, store: Store) -> Setup:
    """The setup of a target; for a device that is not here, that of its table in the store.

    Raises:
        StoreError: the device is not here, and the store has no table of it at that batch and precision, or
            tables of several runtimes.
        UnknownNameError: nobody knows the device.
    """
    key = device_key(spec.device)
    setups = [setup for setup, _, count in store.setups() if count and setup.device == key]
    if not setups or spec.device == "cpu":
        # No means of execution is part of the key.
        return spec.resolve(Execution()).setup()
    wanted = (spec.batch, spec.threads, spec.precision, spec.options().mode)
    fitting = [
        setup
        for setup in setups
        if (setup.batch, setup.threads, setup.precision, setup.mode) == wanted
        and spec.runtime in ("auto", setup.runtime)
    ]
    if not fitting or len({setup.runtime for setup in fitting}) > 1:
        found = "; ".join(setup.label for setup in setups)
        threads = f"{spec.threads} thread{'' if spec.threads == 1 else 's'}"
        raise StoreError(
            f"a table of {spec.device} must be of one runtime, at batch {spec.batch}, {threads}, "
            f"{spec.precision}; found: {found}.",
            "Choose one.",
            Remedy(arguments=dict.fromkeys(("batch", "precision", "threads", "runtime"))),
        )
    # The newest of several runtime versions: the last one that was added.
    return fitting[-1]


def read_table(spec: TargetSpec, execution: Execution) -> LatencyTable:
    """The table of a target as the store has it, without measuring.

    Raises:
        StoreError: a store that was named and is not there.
    """
    if execution.store != default_store() and not execution.store.exists():
        raise StoreError(
            f"there is no store at {execution.store}.",
            "Name one that exists.",
            Remedy(arguments={"store": None}),
        )
    with Store(execution.store) as store:
        return LatencyTable.read(store, stored_setup(spec, store))


def read_table_of(spec: TargetSpec, execution: Execution, device: str) -> LatencyTable:
    """The stored table of another device, at the same batch and precision.

    Raises:
        StoreError: no such table, or more than one.
    """
    there = replace(spec, device=device, runtime="auto")
    with Store(execution.store) as store:
        key = device_key(device)
        if not any(count and setup.device == key for setup, _, count in store.setups()):
            raise StoreError(
                f"a constraint on {device} needs a table of it at batch {spec.batch}, {spec.precision}; "
                "found: none.",
                "See what there is.",
                Remedy(job="list_tables"),
            )
        return LatencyTable.read(store, stored_setup(there, store))
