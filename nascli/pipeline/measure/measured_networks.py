"""Which whole networks of a space are measured on a device, and measuring further ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nascli.costmodel import counted, table_latency
from nascli.costmodel.calibration import spread_architectures
from nascli.errors import (
    ConstraintError,
    DeviceError,
    MissingMeasurementsError,
    Remedy,
    RuntimeUnavailableError,
    UnknownNameError,
)
from nascli.execution import Execution
from nascli.lut import LatencyTable, Setup, Store
from nascli.pipeline.measure.recognised_networks import Choices, recognised_networks
from nascli.pipeline.measure.whole_networks import measure_networks
from nascli.pipeline.tables.lookup import device_key, stored_setup
from nascli.profiles.protocol import MeasurementProtocol
from nascli.profiles.target import TargetSpec
from nascli.progress import Progress
from nascli.random_streams import RandomStream, generator
from nascli.spaces.space import Space


@dataclass(frozen=True)
class MeasuredNetworks:
    """The whole networks of a space that were measured on a device.

    Attributes:
        setup: Where; None for a device of which the store has nothing.
        seconds: Latency by the choices of each architecture.
        complete_table: Whether the device's own table has all operators of the space.
    """

    setup: Setup | None
    seconds: dict[Choices, float]
    complete_table: bool


def networks_on_device(
    space: Space,
    spec: TargetSpec,
    execution: Execution,
    *,
    given: Sequence[Choices] = (),
    networks: int,
    seed: int,
    progress: Progress,
) -> MeasuredNetworks:
    """The networks that the store has of a device; if the device is here, further ones are measured.

    Args:
        space: What the networks belong to.
        spec: The device and how models run there.
        execution: Where measurements are kept.
        given: Architectures that may be among the measured networks although the store does not say so.
        networks: How many networks shall be known of a device that is here.
        seed: Decides which networks are measured, and in which order.
        progress: Is told how far measuring is.

    Raises:
        UnknownNameError: No device has that name, here or in the store.
        StoreError: The store has tables of the device, but not of the setup that `spec` names.
    """
    setup, is_here = _setup_there(spec, execution)
    if setup is None:
        return MeasuredNetworks(None, {}, False)
    found = _stored_networks(space, execution, setup, given)
    missing = networks - len(found.seconds)
    if is_here and missing > 0:
        rows = networks_to_measure(space, missing, seed, list(found.seconds))
        measure_networks(
            [space.network(row, f"{space.name} {list(row)}") for row in rows],
            spec,
            execution,
            protocol=MeasurementProtocol(),
            seed=seed,
            progress=progress,
            members=(space, rows),
        )
        found = _stored_networks(space, execution, setup, given)
    return found


def networks_to_measure(space: Space, count: int, seed: int, known: Sequence[Choices] = ()) -> list[Choices]:
    """Architectures that cover a space by their MACs, without those that are known already.

    No device's table decides, so that the same networks are chosen wherever they are measured.

    Returns:
        `count` different architectures, or all that there are.
    """
    rng = generator(seed, RandomStream.TRANSFER_NETWORKS)
    # A small space repeats itself, and of the repetitions one counts.
    drawn = [
        *spread_architectures(space, counted(space, "macs"), max(2, count), rng),
        *space.sample(20 * count, rng),
    ]
    rows = dict.fromkeys(tuple(row.tolist()) for row in drawn)
    return [row for row in rows if row not in set(known)][:count]


def _setup_there(spec: TargetSpec, execution: Execution) -> tuple[Setup | None, bool]:
    """The device's setup, None where the store has nothing of it; and whether the device is here."""
    try:
        target = spec.resolve(execution)
    except (DeviceError, RuntimeUnavailableError, UnknownNameError) as error:
        key = device_key(spec.device)
        with Store(execution.store) as store:
            if any(count and setup.device == key for setup, _, count in store.setups()):
                return stored_setup(spec, store), False
        if isinstance(error, DeviceError):
            return None, False
        if error.hint is None:
            error.hint = "Latencies of a device that nascli does not know come from a file of measurements."
            error.remedies = (Remedy(arguments={"measurements": None}),)
        raise
    return target.setup(), True


def _stored_networks(
    space: Space, execution: Execution, setup: Setup, given: Sequence[Choices]
) -> MeasuredNetworks:
    """What the store has of a setup; of a pack's networks, those whose labels or programs say what they are."""
    with Store(execution.store) as store:
        table = LatencyTable.read(store, setup)
        members = recognised_networks(space, table, store, given)
    seconds = {row: table.estimates[key].seconds for key, row in members.items()}
    try:
        table_latency(space, table, "")
    except (MissingMeasurementsError, ConstraintError):
        return MeasuredNetworks(setup, seconds, False)
    return MeasuredNetworks(setup, seconds, True)
