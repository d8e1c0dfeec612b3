"""The job of `nascli transfer`: architectures ranked on a device of which few networks are measured.

The tables of other devices say what every architecture of a space costs there, and about ten networks measured whole on
the new device say how it resembles them (`nascli.costmodel.transfer`). How far the result can be believed is found
by leaving out each of the measured networks, and each pair of them, in turn (`nascli.costmodel.transfer_quality`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from nascli.costmodel.transfer import nearest_device, transfer
from nascli.costmodel.transfer_quality import (
    MIN_SAMPLES_TO_LEAVE_OUT,
    TransferQuality,
    left_out_quality,
    rank_correlation,
)
from nascli.errors import ArchitectureError, ConstraintError, Remedy
from nascli.execution import Execution
from nascli.lut import Setup
from nascli.pipeline.measure.known_devices import KnownTable, known_costs
from nascli.pipeline.measure.measured_networks import MeasuredNetworks, networks_on_device
from nascli.pipeline.measure.measurement_form import read_form
from nascli.pipeline.measure.recognised_networks import Choices
from nascli.pipeline.tables.lookup import device_key
from nascli.profiles.target import TargetSpec
from nascli.progress import Progress
from nascli.random_streams import RandomStream, generator
from nascli.spaces.architecture import Architecture
from nascli.spaces.space import Population, Space

Array = npt.NDArray[np.float64]
# `transfer` standardises latencies over all rows; so many of the space itself keep what else is asked for out of it.
_BACKGROUND = 1000


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
class RankedArchitecture:
    """An architecture and its latency on the new device.

    Attributes:
        name: The architecture's file, or 'sample' and a number.
        choices: The choice of each layer.
        seconds: Predicted latency.
        interval: Lower and upper end of the prediction, in seconds.
        measured: Measured latency in seconds, where there is one.
    """

    name: str
    choices: Choices
    seconds: float
    interval: tuple[float, float]
    measured: float | None

    def to_json(self) -> dict[str, Any]:
        """A document with the names that other commands use."""
        return {
            "name": self.name,
            "codes": list(self.choices),
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
    spec: TargetSpec,
    execution: Execution,
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
        spec: The new device. A device that is here is measured until `networks` networks are known; of any other, the
            store must have them.
        execution: Where measurements are kept.
        architectures: What to rank, with names. Those that were measured there count as measured networks.
        sources: Devices whose tables are used; by default every other one with the whole space at the batch and
            precision of `spec`.
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
        ConstraintError: Fewer than `MIN_SAMPLES_TO_LEAVE_OUT` networks are measured on the device.
    """
    for name, architecture in architectures:
        if architecture.space.digest != space.digest:
            raise ArchitectureError(
                f"{name} is of the space {architecture.space.spec}, not of {space.spec}.",
                "Rank the architectures of one space at a time.",
            )
    tables = known_costs(space, spec, execution, sources)
    if measurements is not None:
        there = MeasuredNetworks(None, read_form(space, measurements), False)
    else:
        there = networks_on_device(
            space,
            spec,
            execution,
            given=[architecture.choices for _, architecture in architectures],
            networks=networks,
            seed=seed,
            progress=progress,
        )
    if len(there.seconds) < MIN_SAMPLES_TO_LEAVE_OUT:
        raise _too_few(space, spec, execution, len(there.seconds), measurements)
    rng = generator(seed, RandomStream.TRANSFER_SAMPLES)
    asked = list(architectures) or [
        (f"sample {number}", Architecture.of(space, row))
        for number, row in enumerate(space.sample(samples, rng), 1)
    ]
    return _ranking(space, device_key(spec.device), tables, there, asked, confidence)


def _too_few(
    space: Space, spec: TargetSpec, execution: Execution, count: int, form: Path | None = None
) -> ConstraintError:
    rule = (
        f"networks of {space.spec} measured on {spec.device} in {form or execution.store}: {count}; "
        f"a transfer needs at least {MIN_SAMPLES_TO_LEAVE_OUT}, and better ten."
    )
    if form is not None:
        return ConstraintError(rule, f"Measure more of them, and write their latencies into {form}.")
    return ConstraintError(
        rule,
        "Have ten models written to measure there, with a form for their latencies.",
        Remedy(job="transfer", arguments={"write_networks": "FOLDER"}),
    )


def _ranking(
    space: Space,
    device: str,
    tables: Sequence[KnownTable],
    there: MeasuredNetworks,
    asked: Sequence[tuple[str, Architecture]],
    confidence: float,
) -> NewDeviceRanking:
    background = space.sample(_BACKGROUND, np.random.default_rng(0))
    # The measured networks come first, then the architectures that are asked for.
    rows = list(there.seconds) + [architecture.choices for _, architecture in asked]
    population = np.concatenate([space.check(np.array(rows)), background])
    known = np.stack([table.cost(population) for table in tables], axis=1)
    features = choice_features(space, population)
    measured, seconds = np.arange(len(there.seconds)), np.array(list(there.seconds.values()))
    result = transfer(known, features, measured, seconds)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    low, high = result.interval(z)
    ranked = [
        RankedArchitecture(
            name=name,
            choices=rows[i],
            seconds=float(result.seconds[i]),
            interval=(float(low[i]), float(high[i])),
            measured=there.seconds.get(rows[i]),
        )
        for i, (name, _) in enumerate(asked, len(measured))
    ]
    devices = [
        KnownDevice(
            table.setup, table.kind, float(weight), rank_correlation(known[measured, column], seconds)
        )
        for column, (table, weight) in enumerate(zip(tables, result.weights, strict=True))
    ]
    transferred, nearest = left_out_quality(known, features, measured, seconds, z)
    return NewDeviceRanking(
        space=space.spec,
        device=device,
        setup=there.setup,
        networks=len(measured),
        confidence=confidence,
        known=tuple(sorted(devices, key=lambda one: -one.weight)),
        transferred=transferred,
        nearest=nearest,
        nearest_device=tables[nearest_device(known, measured, seconds)[0]].setup,
        architectures=tuple(sorted(ranked, key=lambda one: one.seconds)),
        complete_table=there.complete_table,
    )


def choice_features(space: Space, population: Population) -> Array:
    """`(n, candidates of all layers)`: 1 where an architecture has a candidate, 0 elsewhere."""
    parts = []
    for layer, column in zip(space.layers, population.T, strict=True):
        candidates = np.arange(len(layer.candidates))
        taken = column[:, None] == candidates if layer.join == "single" else column[:, None] >> candidates & 1
        parts.append(taken.astype(float))
    return np.concatenate(parts, axis=1)
