"""The job of `nascli transfer`: architectures ranked on a device of which few networks are measured.

The tables of other devices say what every architecture of a space costs there, and about ten networks measured whole on
the new device say how it resembles them (`nascli.costmodel.transfer`). How far the result can be believed is found
by leaving out each of the measured networks, and each pair of them, in turn.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from nascli.costmodel import ChainCost, counted, table_latency
from nascli.costmodel.calibration import spread_codes
from nascli.costmodel.transfer import MIN_SAMPLES, Transferred, nearest_device, transfer
from nascli.errors import (
    ArchitectureError,
    ConstraintError,
    DeviceError,
    MissingMeasurementsError,
    RuntimeUnavailableError,
    StoreError,
    UnknownNameError,
)
from nascli.lut import LatencyTable, Setup, Store, program_key
from nascli.pipeline.measure.latency_model import known_calibration
from nascli.pipeline.measure.measurement_form import read_form
from nascli.pipeline.measure.whole_networks import measure_networks
from nascli.pipeline.tables.lookup import device_key, stored_setup
from nascli.profiles.protocol import MeasurementProtocol
from nascli.profiles.target import TargetSpec
from nascli.progress import Progress
from nascli.spaces.architecture import Architecture
from nascli.spaces.space import Population, Space

Array = npt.NDArray[np.float64]
Choices = tuple[int, ...]
Left = TypeVar("Left")
# Two more than `transfer` needs: each pair is left out once.
MIN_NETWORKS = MIN_SAMPLES + 2
# Of very many networks or pairs some at random say as much.
_MAX_LEFT_OUT = 300
# `transfer` standardises latencies over all rows; so many of the space itself keep what else is asked for out of it.
_BACKGROUND = 1000
_NETWORK_LABEL = re.compile(r"network \S+ (\[[\d, ]*\]) ")


@dataclass(frozen=True)
class KnownDevice:
    """A device whose table says what every architecture costs there.

    Attributes:
        setup: Device, runtime, precision, batch, and threads of the table.
        kind: 'measured', 'calibrated', or 'imported'.
        weight: Its share of the mixture that predicts the new device; the shares add up to 1.
        rank_correlation: Spearman's, with the networks measured on the new device; None where all are equal.
    """

    setup: Setup
    kind: str
    weight: float
    rank_correlation: float | None

    def to_json(self) -> dict[str, Any]:
        """The fields as a document."""
        return {**asdict(self), "setup": self.setup.to_json()}


@dataclass(frozen=True)
class TransferQuality:
    """How predictions for the measured networks fit, each made without the networks that it is for.

    Attributes:
        pairs_in_order: The share of pairs of networks whose order is predicted, without either of the two. It estimates
            the order of networks that were never measured.
        rank_correlation: Spearman's, between the measurements and predictions that left out one network each. Since
            every prediction was fitted to other networks, it is lower than that of networks never measured. None
            where all predictions or all measurements are equal.
        mean_absolute: Mean absolute relative error of these predictions.
        within_interval: The share of the networks that lay inside their intervals; None for a method without intervals.
    """

    pairs_in_order: float
    rank_correlation: float | None
    mean_absolute: float
    within_interval: float | None

    def to_json(self) -> dict[str, Any]:
        """The fields as a document."""
        return asdict(self)


@dataclass(frozen=True)
class RankedArchitecture:
    """An architecture and its latency on the new device.

    Attributes:
        name: The architecture's file, or 'sample' and a number.
        codes: The choice of each layer.
        seconds: Predicted latency.
        interval: Lower and upper end of the prediction, in seconds.
        measured: Measured latency in seconds, where there is one.
    """

    name: str
    codes: Choices
    seconds: float
    interval: tuple[float, float]
    measured: float | None

    def to_json(self) -> dict[str, Any]:
        """A document with the names that other commands use."""
        return {
            "name": self.name,
            "codes": list(self.codes),
            "latency_s": self.seconds,
            "interval_s": list(self.interval),
            "measured_latency_s": self.measured,
        }


@dataclass(frozen=True)
class NewDeviceRanking:
    """What few measurements of a device and the tables of others say about architectures.

    Attributes:
        space: The text that makes the space again.
        device: The new device's key.
        setup: Where its networks were measured; None for figures from a file.
        networks: How many measured networks the result rests on.
        confidence: Of the intervals.
        known: The devices that were used, the largest weight first.
        transferred: How predictions fit the measured networks.
        nearest: How the one most similar known device fits them alone, chosen and scaled without the network too.
        nearest_device: The setup of that device, when all measured networks are used.
        architectures: By predicted latency, the fastest first.
        complete_table: Whether the new device's own table has the whole space, so that nothing need be transferred.
    """

    space: str
    device: str
    setup: Setup | None
    networks: int
    confidence: float
    known: tuple[KnownDevice, ...]
    transferred: TransferQuality
    nearest: TransferQuality
    nearest_device: Setup
    architectures: tuple[RankedArchitecture, ...]
    complete_table: bool

    def to_json(self) -> dict[str, Any]:
        """The whole result as a document."""
        return {
            "space": self.space,
            "device": self.device,
            "setup": None if self.setup is None else self.setup.to_json(),
            "networks": self.networks,
            "confidence": self.confidence,
            "known_devices": [device.to_json() for device in self.known],
            "transferred": self.transferred.to_json(),
            "nearest": {**self.nearest.to_json(), "setup": self.nearest_device.to_json()},
            "architectures": [architecture.to_json() for architecture in self.architectures],
            "complete_table": self.complete_table,
        }


def rank_on_new_device(
    space: Space,
    where: TargetSpec,
    *,
    architectures: Sequence[tuple[str, Architecture]] = (),
    sources: Sequence[str] = (),
    measurements: Path | None = None,
    networks: int = 10,
    samples: int = 10,
    confidence: float = 0.9,
    seed: int = 0,
    progress: Progress,
) -> NewDeviceRanking:
    """Rank architectures on a device of which few networks are measured.

    Args:
        space: What the architectures belong to.
        where: The new device. A device that is here is measured until `networks` networks are known; of any other, the
            store must have them.
        architectures: What to rank, with names. Those that were measured there count as measured networks.
        sources: Devices whose tables are used; by default every other one with the whole space at the batch and
            precision of `where`.
        measurements: A CSV file with the new device's latencies (`read_form`). Then the device may be one that
            nascli does not know, and nothing is measured.
        networks: How many networks shall be known of a device that is here.
        samples: How many random architectures are ranked where none are given.
        confidence: Of the intervals.
        seed: Decides which networks are measured and which are ranked.
        progress: Is told how far measuring is.

    Raises:
        StoreError: No store, no other device with a complete table, or a file that cannot be used.
        UnknownNameError: A source that the store does not have.
        MissingMeasurementsError: A source whose table lacks operators of the space.
        ArchitectureError: An architecture of another space.
        ConstraintError: Fewer than `MIN_NETWORKS` networks are measured on the device.
    """
    for name, architecture in architectures:
        if architecture.space.digest != space.digest:
            raise ArchitectureError(
                f"{name} is of the space {architecture.space.spec}, not of {space.spec}.",
                "Rank the architectures of one space at a time.",
            )
    costs = known_costs(space, where, sources)
    given = [architecture.codes for _, architecture in architectures]
    setup: Setup | None = None
    complete = False
    if measurements is not None:
        figures = read_form(space, measurements)
    else:
        setup, figures, complete = _measured_there(
            space, where, given, networks=networks, seed=seed, progress=progress
        )
    if len(figures) < MIN_NETWORKS:
        raise _too_few(space, where, len(figures), measurements)
    rng = np.random.default_rng([seed, 23])
    asked = list(architectures) or [
        (f"sample {number}", Architecture.of(space, row))
        for number, row in enumerate(space.sample(samples, rng), 1)
    ]
    return _ranking(
        space,
        device_key(where.device),
        setup,
        costs,
        figures,
        asked,
        confidence=confidence,
        complete=complete,
    )


def networks_to_measure(space: Space, count: int, seed: int, known: Sequence[Choices] = ()) -> list[Choices]:
    """Architectures that cover a space by their MACs, without those that are known already.

    No device's table decides, so that the same networks are chosen wherever they are measured.

    Returns:
        `count` different architectures, or all that there are.
    """
    rng = np.random.default_rng([seed, 22])
    # A small space repeats itself, and of the repetitions one counts.
    drawn = [*spread_codes(space, counted(space, "macs"), max(2, count), rng), *space.sample(20 * count, rng)]
    rows = dict.fromkeys(tuple(row.tolist()) for row in drawn)
    return [row for row in rows if row not in set(known)][:count]


def known_costs(
    space: Space, where: TargetSpec, sources: Sequence[str] = ()
) -> list[tuple[Setup, ChainCost, str]]:
    """What every architecture of a space costs on the other devices of a store.

    Args:
        space: What is searched.
        where: The new device, with the batch, the precision, and the store that are meant.
        sources: Only these devices.

    Returns:
        setup, latency, and kind of each table that has the whole space, calibrated where whole networks were measured.
        Of several versions of a runtime the newest is used.

    Raises:
        StoreError: No store, or no such table.
        UnknownNameError: A device in `sources` that the store does not have.
        MissingMeasurementsError: A device in `sources` whose table is incomplete.
    """
    if not where.store.exists():
        raise StoreError(f"there is no store at {where.store}.", "Name one that there is with --store.")
    own = device_key(where.device)
    named = {device_key(name): name for name in sources}
    if own in named:
        raise StoreError(f"{named[own]} is the new device itself.", "Name other devices with --from.")
    with Store(where.store) as store:
        setups = [setup for setup, _, count in store.setups() if count and setup.device != own]
        for key, name in named.items():
            if key not in {setup.device for setup in setups}:
                known = sorted({setup.device for setup in setups})
                raise UnknownNameError("device of the store", name, known, "See the tables: nascli lut list")
        setups = [setup for setup in setups if not named or setup.device in named]
        fitting = [s for s in setups if (s.batch, s.precision) == (where.batch, where.precision)]
        tables = [LatencyTable.read(store, setup) for setup in fitting]
    found: dict[tuple[str, str, int, str], tuple[Setup, ChainCost, str]] = {}
    reasons: dict[str, Exception] = {}
    for setup, table in zip(fitting, tables, strict=True):
        command = f"nascli profile --space {space.spec} --device {setup.device} --batch {setup.batch}"
        try:
            plain = table_latency(space, table, command)
        except (MissingMeasurementsError, ConstraintError) as error:
            reasons[setup.device] = error
            continue
        calibration = None if table.imported else known_calibration(space, where, table, plain)
        cost = plain if calibration is None else calibration.cost
        kind = "imported" if table.imported else cost.kind
        found[setup.device, setup.runtime, setup.threads, setup.mode] = (setup, cost, kind)
    there = {setup.device for setup, _, _ in found.values()}
    for key, name in named.items():
        if key not in there:
            raise reasons.get(key) or _no_table(space, where, name, setups)
    if not found:
        raise _no_table(space, where, None, setups)
    return list(found.values())


def _no_table(space: Space, where: TargetSpec, name: str | None, setups: Sequence[Setup]) -> StoreError:
    listed = "; ".join(setup.label for setup in setups if name is None or setup.device == device_key(name))
    return StoreError(
        f"no {'other device' if name is None else f'table of {name}'} in {where.store} has all operators of "
        f"{space.spec} at batch {where.batch}, {where.precision}; found: {listed or 'none'}.",
        "Bring in tables of other devices (nascli lut import, nascli lut pull), or choose --batch and --precision.",
    )


def _too_few(space: Space, where: TargetSpec, count: int, form: Path | None = None) -> ConstraintError:
    rule = (
        f"networks of {space.spec} measured on {where.device} in {form or where.store}: {count}; a transfer needs at "
        f"least {MIN_NETWORKS}, and better ten."
    )
    if form is not None:
        return ConstraintError(rule, f"Measure more of them, and write their latencies into {form}.")
    return ConstraintError(
        rule,
        "Write ten models to measure there, with a form for their latencies: nascli transfer --write-networks FOLDER",
    )


def _measured_there(
    space: Space, where: TargetSpec, given: Sequence[Choices], *, networks: int, seed: int, progress: Progress
) -> tuple[Setup, dict[Choices, float], bool]:
    """Setup, latencies of whole networks, and whether the table is complete; a device that is here is measured."""
    setup, is_here = _setup_there(space, where)
    figures, complete = _stored_networks(space, where, setup, given)
    if is_here and len(figures) < networks:
        rows = networks_to_measure(space, networks - len(figures), seed, list(figures))
        measure_networks(
            [space.network(row, f"{space.name} {list(row)}") for row in rows],
            where,
            protocol=MeasurementProtocol(),
            seed=seed,
            progress=progress,
            members=(space, rows),
        )
        figures, complete = _stored_networks(space, where, setup, given)
    return setup, figures, complete


def _setup_there(space: Space, where: TargetSpec) -> tuple[Setup, bool]:
    """The new device's setup, and whether the device is here."""
    try:
        target = where.target()
    except (DeviceError, RuntimeUnavailableError, UnknownNameError) as error:
        key = device_key(where.device)
        with Store(where.store) as store:
            if any(count and setup.device == key for setup, _, count in store.setups()):
                return stored_setup(where, store), False
        if isinstance(error, DeviceError):
            raise _too_few(space, where, 0) from error
        error.hint = error.hint or "Latencies of a device that nascli does not know come with --measurements."
        raise
    return target.setup(), True


def _stored_networks(
    space: Space, where: TargetSpec, setup: Setup, given: Sequence[Choices]
) -> tuple[dict[Choices, float], bool]:
    """Latencies of the whole networks of a space in a setup, and whether its table has the whole space.

    A store notes which architecture a network is that was measured into it. Packs do not say that; there, labels
    name the architecture, and the program proves it. So do the architectures that are `given`.
    """
    with Store(where.store) as store:
        members = dict(store.networks(space.digest))
        table = LatencyTable.read(store, setup)
    for row in given:
        members.setdefault(program_key(space.network(row).program), row)
    for key, (label, _, _) in table.labels.items():
        match = _NETWORK_LABEL.match(label)
        if key not in members and match is not None:
            try:
                row = tuple(space.check(np.array([json.loads(match[1])]))[0].tolist())
            except (ArchitectureError, OverflowError):
                continue
            if program_key(space.network(row).program) == key:
                members[key] = row
    figures = {row: table.estimates[key].seconds for key, row in members.items() if key in table.estimates}
    try:
        table_latency(space, table, "")
    except (MissingMeasurementsError, ConstraintError):
        return figures, False
    return figures, True


def _ranking(
    space: Space,
    device: str,
    setup: Setup | None,
    costs: Sequence[tuple[Setup, ChainCost, str]],
    figures: dict[Choices, float],
    asked: Sequence[tuple[str, Architecture]],
    *,
    confidence: float,
    complete: bool,
) -> NewDeviceRanking:
    background = space.sample(_BACKGROUND, np.random.default_rng(0))
    # The measured networks first, then what is asked for; each known network once.
    rows = list(figures) + [architecture.codes for _, architecture in asked]
    population = np.concatenate([space.check(np.array(rows)), background])
    known = np.stack([cost(population) for _, cost, _ in costs], axis=1)
    features = choice_features(space, population)
    measured, seconds = np.arange(len(figures)), np.array(list(figures.values()))
    result = transfer(known, features, measured, seconds)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    low, high = result.interval(z)
    names = [name for name, _ in asked]
    ranked = [
        RankedArchitecture(
            name, rows[i], float(result.seconds[i]), (float(low[i]), float(high[i])), figures.get(rows[i])
        )
        for i, name in enumerate(names, len(figures))
    ]
    devices = [
        KnownDevice(of, kind, float(result.weights[j]), rank_correlation(known[measured, j], seconds))
        for j, (of, _, kind) in enumerate(costs)
    ]
    transferred, nearest = left_out_quality(known, features, measured, seconds, z)
    return NewDeviceRanking(
        space=space.spec,
        device=device,
        setup=setup,
        networks=len(figures),
        confidence=confidence,
        known=tuple(sorted(devices, key=lambda one: -one.weight)),
        transferred=transferred,
        nearest=nearest,
        nearest_device=costs[nearest_device(known, measured, seconds)[0]][0],
        architectures=tuple(sorted(ranked, key=lambda one: one.seconds)),
        complete_table=complete,
    )


def left_out_quality(
    known: Array, features: Array, measured: npt.NDArray[np.intp], seconds: Array, z: float
) -> tuple[TransferQuality, TransferQuality]:
    """How the transfer and the nearest device alone predict measured networks from the others.

    Args:
        known: `(n, devices)` seconds of architectures on other devices.
        features: `(n, f)` what describes the architectures.
        measured: `(k,)` which of them were measured on the new device; at least `MIN_NETWORKS`.
        seconds: `(k,)` what they took.
        z: Half of an interval in standard deviations.

    Returns:
        the quality of the transfer, and that of the nearest device.
    """

    def both(left: Sequence[int]) -> tuple[Transferred, Array]:
        others = np.delete(measured, left), np.delete(seconds, left)
        return transfer(known, features, *others), nearest_device(known, *others)[1]

    rng = np.random.default_rng(0)
    chosen = _some(list(range(len(measured))), rng)
    ours, alone, inside = np.empty(len(chosen)), np.empty(len(chosen)), 0
    for number, left in enumerate(chosen):
        result, near = both([left])
        low, high = result.interval(z)
        i = measured[left]
        ours[number], alone[number] = result.seconds[i], near[i]
        inside += bool(low[i] <= seconds[left] <= high[i])
    pairs = _some(list(itertools.combinations(range(len(measured)), 2)), rng)
    ordered = np.zeros(2)
    for pair in pairs:
        result, near = both(pair)
        for method, predicted in enumerate((result.seconds, near)):
            first, second = (
                np.sign(np.diff(predicted[measured[list(pair)]])),
                np.sign(np.diff(seconds[list(pair)])),
            )
            ordered[method] += bool(first[0] == second[0])
    truth = seconds[chosen]
    return (
        _quality(ours, truth, ordered[0] / len(pairs), inside / len(chosen)),
        _quality(alone, truth, ordered[1] / len(pairs), None),
    )


def _some(values: list[Left], rng: np.random.Generator) -> list[Left]:
    """All of the values, or so many of them as are left out at most."""
    if len(values) <= _MAX_LEFT_OUT:
        return values
    return [values[i] for i in sorted(rng.choice(len(values), _MAX_LEFT_OUT, replace=False))]


def _quality(predicted: Array, seconds: Array, pairs: float, inside: float | None) -> TransferQuality:
    error = float(np.mean(np.abs(predicted / seconds - 1)))
    return TransferQuality(float(pairs), rank_correlation(predicted, seconds), error, inside)


def rank_correlation(a: Array, b: Array) -> float | None:
    """Spearman's rank correlation; None where one of the two does not vary."""
    from scipy.stats import spearmanr

    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(spearmanr(a, b).statistic)


def choice_features(space: Space, population: Population) -> Array:
    """`(n, candidates of all layers)`: 1 where an architecture has a candidate, 0 elsewhere."""
    parts = []
    for layer, column in zip(space.layers, population.T, strict=True):
        candidates = np.arange(len(layer.candidates))
        taken = column[:, None] == candidates if layer.join == "single" else column[:, None] >> candidates & 1
        parts.append(taken.astype(float))
    return np.concatenate(parts, axis=1)
