"""Jobs that measure: a space's operators, or whole networks end to end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nascli.errors import RuntimeUnavailableError, StoreError
from nascli.lut import Estimate, LatencyTable, Store
from nascli.lut.context import with_context
from nascli.paths import default_store
from nascli.profiles.devices import find_device
from nascli.profiles.profiling import Plan, Target, make_plan, network_operator, profile
from nascli.profiles.protocol import Protocol
from nascli.profiles.runtimes import RuntimeOptions, all_runtimes, get_runtime
from nascli.progress import Progress
from nascli.spaces.network import Network
from nascli.spaces.space import Space


@dataclass(frozen=True)
class Where:
    """What a user says about where to measure.

    Attributes:
        device: 'cpu' or a card's key.
        runtime: a runtime's name, or 'auto'.
        batch: samples per run.
        threads: threads inside one operator.
        precision: 'fp32'.
        store: the store's file.
    """

    device: str
    runtime: str
    batch: int
    threads: int
    precision: str
    store: Path

    def target(self) -> Target:
        """The device and runtime meant.

        Raises:
            DeviceError, UnknownNameError, RuntimeUnavailableError: as they say.
        """
        device = find_device(self.device)
        options = RuntimeOptions(threads=self.threads, precision=self.precision)
        if self.runtime != "auto":
            return Target(device, get_runtime(self.runtime), options, self.batch)
        reasons = []
        for runtime in all_runtimes().values():
            missing = runtime.missing()
            if missing is None:
                return Target(device, runtime, options, self.batch)
            reasons.append(f"{runtime.name}: {missing}")
        raise RuntimeUnavailableError("no runtime works here. " + "; ".join(reasons))

    @property
    def command(self) -> str:
        """The options that name this place on the command line."""
        runtime = "" if self.runtime == "auto" else f" --runtime {self.runtime}"
        store = "" if self.store == default_store() else f" --store {self.store}"
        return (
            f"--device {self.device} --batch {self.batch} --threads {self.threads} "
            f"--precision {self.precision}{runtime}{store}"
        )


def plan_space(space: Space, where: Where, protocol: Protocol) -> Plan:
    """What profiling a space would measure."""
    with Store(where.store) as store:
        return make_plan(with_context(space.placed()), store, where.target(), protocol)


def profile_space(
    space: Space, where: Where, *, protocol: Protocol, seed: int, progress: Progress
) -> LatencyTable:
    """Measure what the store lacks of a space, alone and in context; returns the setup's table."""
    target = where.target()
    with Store(where.store) as store:
        return profile(
            with_context(space.placed()),
            store,
            target,
            protocol=protocol,
            rng=np.random.default_rng(seed),
            progress=progress,
        )


def read_table(where: Where) -> LatencyTable:
    """The table of a place as the store has it, without measuring."""
    with Store(where.store) as store:
        return LatencyTable.read(store, where.target().setup())


def other_table(where: Where, device: str) -> LatencyTable:
    """The stored table of a device that is not here, at the same batch and precision.

    Raises:
        StoreError: no such table, or more than one.
    """
    with Store(where.store) as store:
        fitting = [
            setup
            for setup, _, count in store.setups()
            if count
            and setup.device == device
            and (setup.batch, setup.precision) == (where.batch, where.precision)
        ]
        same_threads = [setup for setup in fitting if setup.threads == where.threads]
        # The newest of several runtime versions: the last one that was added.
        chosen = (same_threads or fitting)[-1:]
        if not chosen or len({setup.runtime for setup in fitting}) > 1:
            found = "; ".join(setup.label for setup in fitting) or "none"
            raise StoreError(
                f"a constraint on {device} needs tables of one runtime at batch {where.batch}, "
                f"{where.precision}; found: {found}.",
                "See what there is with: nascli lut list",
            )
        return LatencyTable.read(store, chosen[0])


def measure_networks(
    networks: Sequence[Network], where: Where, *, protocol: Protocol, seed: int, progress: Progress
) -> list[Estimate]:
    """End-to-end latency of whole networks, side by side; kept in the store like any operator."""
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
    figures = []
    for operator in operators:
        figure = table.lookup(operator.program)
        assert figure is not None
        figures.append(figure)
    return figures
