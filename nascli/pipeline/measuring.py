"""Jobs that measure: a space's operators, or whole networks end to end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from nascli.errors import StoreError
from nascli.lut import Estimate, LatencyTable, Setup, Store, program_key
from nascli.lut.in_context.carriers import with_context
from nascli.lut.in_context.joins import join_models
from nascli.paths import default_store
from nascli.profiles.devices.device import this_cpu
from nascli.profiles.onnx.reader import network_of_onnx
from nascli.profiles.profiling import NO_RENEWAL, Plan, Renewal, make_plan, network_operator, profile
from nascli.profiles.protocol import Protocol
from nascli.profiles.target import Where
from nascli.progress import Progress
from nascli.spaces.architecture import Architecture
from nascli.spaces.catalog import load_space
from nascli.spaces.network import Network
from nascli.spaces.operators.definition import Operator
from nascli.spaces.space import Space


def space_models(space: Space) -> list[Operator]:
    """Everything to measure for a space: its operators alone and in context, and the joins of branches."""
    return [*with_context(space.placed()), *join_models(space)]


def plan(models: Sequence[Operator], where: Where, protocol: Protocol, renewal: Renewal = NO_RENEWAL) -> Plan:
    """What profiling these models would measure."""
    with Store(where.store) as store:
        return make_plan(models, store, where.target(), protocol, renewal)


def profile_models(
    models: Sequence[Operator],
    where: Where,
    *,
    protocol: Protocol,
    seed: int,
    progress: Progress,
    renewal: Renewal = NO_RENEWAL,
) -> LatencyTable:
    """Measure what the store lacks of some models; returns the setup's table."""
    target = where.target()
    with Store(where.store) as store:
        return profile(
            models,
            store,
            target,
            protocol=protocol,
            rng=np.random.default_rng(seed),
            progress=progress,
            renewal=renewal,
        )


def models_of(space: str, network: Path | None) -> tuple[str, int, list[Operator]]:
    """What a user wants profiled: a name for it, how many distinct operators it has, and what to measure.

    Args:
        space: a space's name and parameters; every candidate of it is meant.
        network: an architecture's file, or an ONNX model, whose own layers are meant instead.
    """
    if network is None:
        known = load_space(space)
        return known.spec, len(known.operators()), space_models(known)
    found, _ = read_network(network)
    distinct = len({operator.program.canonical for operator in found.operators})
    return found.name, distinct, with_context(found.placed)


def read_network(path: Path) -> tuple[Network, Architecture | None]:
    """A network from an architecture's file, with that architecture, or from an ONNX model.

    Raises:
        ArchitectureError: unreadable, or built of what nascli has no primitive for.
    """
    if path.suffix == ".onnx":
        return network_of_onnx(path), None
    architecture = Architecture.load(path)
    return architecture.network, architecture


def device_key(name: str) -> str:
    """The key under which tables of a device are kept: of 'cpu', this machine's; of 'titanxp:1', the card's."""
    return this_cpu().key if name == "cpu" else name.partition(":")[0]


def stored_setup(where: Where, store: Store) -> Setup:
    """The setup of a place; for a device that is not here, that of its table in the store.

    Raises:
        StoreError: the device is not here, and the store has no table of it at that batch and precision, or
            tables of several runtimes.
        UnknownNameError: nobody knows the device.
    """
    key = device_key(where.device)
    setups = [setup for setup, _, count in store.setups() if count and setup.device == key]
    if not setups or where.device == "cpu":
        return where.target().setup()
    wanted = (where.batch, where.threads, where.precision, where.options.mode)
    fitting = [
        setup
        for setup in setups
        if (setup.batch, setup.threads, setup.precision, setup.mode) == wanted
        and where.runtime in ("auto", setup.runtime)
    ]
    if not fitting or len({setup.runtime for setup in fitting}) > 1:
        found = "; ".join(setup.label for setup in setups)
        threads = f"{where.threads} thread{'' if where.threads == 1 else 's'}"
        raise StoreError(
            f"a table of {where.device} must be of one runtime, at batch {where.batch}, {threads}, "
            f"{where.precision}; found: {found}.",
            "Choose with --batch, --precision, --threads or --runtime.",
        )
    # The newest of several runtime versions: the last one that was added.
    return fitting[-1]


def read_table(where: Where) -> LatencyTable:
    """The table of a place as the store has it, without measuring.

    Raises:
        StoreError: a store that was named and is not there.
    """
    if where.store != default_store() and not where.store.exists():
        raise StoreError(f"there is no store at {where.store}.", "Name one that there is with --store.")
    with Store(where.store) as store:
        return LatencyTable.read(store, stored_setup(where, store))


def other_table(where: Where, device: str) -> LatencyTable:
    """The stored table of another device, at the same batch and precision.

    Raises:
        StoreError: no such table, or more than one.
    """
    there = replace(where, device=device, runtime="auto")
    with Store(where.store) as store:
        key = device_key(device)
        if not any(count and setup.device == key for setup, _, count in store.setups()):
            raise StoreError(
                f"a constraint on {device} needs a table of it at batch {where.batch}, {where.precision}; "
                "found: none.",
                "See what there is with: nascli lut list",
            )
        return LatencyTable.read(store, stored_setup(there, store))


def measure_networks(
    networks: Sequence[Network],
    where: Where,
    *,
    protocol: Protocol,
    seed: int,
    progress: Progress,
    members: tuple[Space, Sequence[Sequence[int]]] | None = None,
) -> list[Estimate]:
    """End-to-end latency of whole networks, side by side; kept in the store like any operator.

    Args:
        networks: what to measure.
        where: on which device and how.
        protocol: how closely.
        seed: order of the measurements.
        progress: what is told how far it is.
        members: the space that the networks come from and their codes; noted, so that the space's cost model
            can learn from them later.
    """
    operators = [network_operator(network) for network in networks]
    with Store(where.store) as store:
        table = profile(
            operators,
            store,
            where.target(),
            protocol=protocol,
            rng=np.random.default_rng(seed),
            progress=progress,
            what="networks",
        )
        if members is not None:
            space, codes = members
            keys = [program_key(operator.program) for operator in operators]
            store.add_networks(space.digest, dict(zip(keys, codes, strict=True)))
    figures = []
    for operator in operators:
        figure = table.lookup(operator.program)
        assert figure is not None
        figures.append(figure)
    return figures


def measure_file(path: Path, where: Where, progress: Progress) -> Estimate:
    """End-to-end latency of an architecture's file or an ONNX model.

    An architecture's figure is noted for the cost model of its space.
    """
    network, architecture = read_network(path)
    members = None if architecture is None else (architecture.space, [architecture.codes])
    (figure,) = measure_networks(
        [network], where, protocol=Protocol(), seed=0, progress=progress, members=members
    )
    return figure
