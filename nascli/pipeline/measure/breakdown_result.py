"""What a breakdown of a network tells: its latency, its pieces, and what they attain."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from nascli.lut import Measurement, Setup
from nascli.pipeline.measure.peaks import Peaks
from nascli.pipeline.measure.runtime_opinion import RuntimeOpinion
from nascli.profiles.runtimes.base import NodeTime


@dataclass(frozen=True)
class BreakdownPiece:
    """One piece of a network.

    Attributes:
        number: Its place in the network, from 0.
        name: What it is in a few words, such as 'attention'.
        operator: The label of its operator, with shapes.
        key: The key of its program; equal pieces have equal keys.
        output: The sizes of its output without the batch.
        measurement: Its latency inside of the network.
        spread: The part of the latency that comes from the rest of the whole network by the bytes of its weights.
        share: Its latency over that of the network.
        macs: MACs of a run.
        bytes: Bytes that a run moves, if each operation reads and writes memory once.
        least_seconds: The latency at the device's best: MACs or bytes at the rate of the peaks, the longer of both.
        is_compute_bound: Whether MACs take longer than moving the bytes at the device's best.
        runtime_seconds: Its time by the runtime's own profile; None without one.
        nodes: Its nodes by the runtime's own profile; empty without one.
    """

    number: int
    name: str
    operator: str
    key: str
    output: tuple[int, ...]
    measurement: Measurement
    spread: float
    share: float
    macs: int
    bytes: float
    least_seconds: float
    is_compute_bound: bool
    runtime_seconds: float | None
    nodes: tuple[NodeTime, ...]

    @property
    def seconds(self) -> float:
        """Its latency inside of the network."""
        return self.measurement.seconds

    @property
    def macs_per_second(self) -> float:
        """MACs per second that it attains."""
        return self.macs / self.seconds if self.seconds > 0 else 0.0

    @property
    def bytes_per_second(self) -> float:
        """Bytes per second that it attains."""
        return self.bytes / self.seconds if self.seconds > 0 else 0.0

    @property
    def attained(self) -> float | None:
        """The share of the device's best that it attains; None where its latency is 0."""
        return self.least_seconds / self.seconds if self.seconds > 0 else None

    def to_json(self) -> dict[str, object]:
        """The piece as a document."""
        return {
            "number": self.number,
            "name": self.name,
            "operator": self.operator,
            "key": self.key,
            "output": list(self.output),
            **_figure(self.measurement),
            "spread_s": self.spread,
            "share": self.share,
            "macs": self.macs,
            "bytes": self.bytes,
            "macs_per_s": self.macs_per_second,
            "bytes_per_s": self.bytes_per_second,
            "least_s": self.least_seconds,
            "attained": self.attained,
            "bound_by": "compute" if self.is_compute_bound else "memory",
            "runtime_s": self.runtime_seconds,
            "runtime_nodes": [node._asdict() for node in self.nodes],
        }


@dataclass(frozen=True)
class Breakdown:
    """Where the time of a network goes.

    Attributes:
        name: The network's name.
        setup: Device, runtime, version, precision, batch, and threads.
        measurement: The latency of the network as it is.
        together: The latency of all pieces in a chain, which is the sum of their latencies.
        pieces: The pieces in the order of the network.
        peaks: The best that the device does.
        opinion: The runtime's own times; None without any.
        no_opinion: Why there are none; empty where there are.
        unsettled: The number of models whose interval did not become narrow enough.
        measured_at: When the network was measured last, in seconds since the epoch.
    """

    name: str
    setup: Setup
    measurement: Measurement
    together: Measurement
    pieces: tuple[BreakdownPiece, ...]
    peaks: Peaks
    opinion: RuntimeOpinion | None
    no_opinion: str
    unsettled: int
    measured_at: float

    @property
    def seconds(self) -> float:
        """The latency of the network as it is."""
        return self.measurement.seconds

    @property
    def outside(self) -> Measurement:
        """What the network takes longer than its pieces together; below 0 where it takes less."""
        widths = [(m.high - m.low) / 2 for m in (self.measurement, self.together)]
        half = math.hypot(*widths) if self.measurement != self.together else 0.0
        seconds = self.measurement.seconds - self.together.seconds
        rounds = min(self.measurement.rounds, self.together.rounds)
        return Measurement(seconds, seconds - half, seconds + half, rounds, "difference")

    def to_json(self) -> dict[str, object]:
        """The breakdown as a document."""
        outside = self.outside
        return {
            "network": self.name,
            "setup": self.setup.to_json(),
            **_figure(self.measurement),
            "pieces_together": _figure(self.together),
            "outside_of_pieces": _figure(outside),
            "pieces": [piece.to_json() for piece in self.pieces],
            "peaks": {
                "macs_per_s": self.peaks.macs_per_second,
                "copies": [{"bytes": size, "bytes_per_s": rate} for size, rate in self.peaks.copies],
                "source": self.peaks.source,
            },
            "runtime": None
            if self.opinion is None
            else {
                "seconds": sum(self.opinion.seconds) + self.opinion.unattributed,
                "between_pieces_s": self.opinion.shared,
                "unattributed_s": self.opinion.unattributed,
            },
            "no_runtime_times": self.no_opinion or None,
            "unsettled": self.unsettled,
            "measured_at": self.measured_at,
        }


def _figure(measurement: Measurement) -> dict[str, Any]:
    ends = [end if np.isfinite(end) else None for end in (measurement.low, measurement.high)]
    return {"seconds": measurement.seconds, "interval_s": ends, "rounds": measurement.rounds}
