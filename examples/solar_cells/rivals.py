"""The networks of the study, of the same latency as they are measured side by side."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import nascli
from nascli.execution import Execution
from nascli.pipeline.measure.whole_networks import measure_networks
from nascli.profiles.protocol import MeasurementProtocol
from nascli.profiles.target import TargetSpec
from nascli.spaces import Architecture

HERE = Path(__file__).resolve().parent
WINNER, MOBILENET, RANDOM = "winner", "mobilenetv2", "random"
# Random architectures that are measured for each one that is needed, and widths of MobileNetV2 that are tried.
CANDIDATES, WIDTHS = 4, np.arange(0.1, 2.001, 0.01).round(2)


@dataclass(frozen=True)
class Member:
    """A network of the study: where it comes from, and its latency, measured side by side with the others."""

    space: str
    choices: tuple[int, ...]
    macs: int
    params: int
    seconds: float
    low: float
    high: float

    @property
    def architecture(self):
        return Architecture.of(nascli.space(self.space), self.choices)


def mobilenet_widths(shape, classes):
    """Return the specification of each scaled MobileNetV2 that differs from the one before, in the order of size."""
    text = f"{HERE / 'mobilenetv2.py'}:mobilenetv2-scaled:resolution={shape.height},channels={shape.channels}"
    found = {}
    for width in WIDTHS:
        spec = f"{text},classes={classes},width={width:g}"
        found.setdefault(nascli.space(spec).digest, spec)
    return list(found.values())


def only_architecture(spec):
    """Return the architecture of a space that has nothing to choose."""
    space = nascli.space(spec)
    return Architecture.of(space, [0] * len(space.layers))


def nearest_widths(specs, seconds, progress, count=3):
    """Return the scaled MobileNetV2s whose latencies are nearest to one, found by bisection on the device."""
    measured = {}

    def latency(index):
        if index not in measured:
            measured[index] = nascli.measure(
                only_architecture(specs[index]), batch=1, progress=progress
            ).seconds
        return measured[index]

    low, high = 0, len(specs) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if latency(middle) < seconds else (low, middle)
    for index in range(max(0, low - 1), min(len(specs), high + 2)):
        latency(index)
    ranked = sorted(measured, key=lambda index: abs(measured[index] / seconds - 1))
    return [specs[index] for index in ranked[:count]]


def random_rivals(space, winner, count):
    """Draw architectures whose predicted latency is the winner's within 3 %, other than the winner."""
    cost = nascli.latency(space, nascli.profile(space, batch=1))
    predicted = float(cost(np.array([winner]))[0])
    window = f"{0.97 * predicted!r}s<=latency<={1.03 * predicted!r}s"
    feasible = nascli.constrain(space, window, latency=cost)
    rows = feasible.sample(10 * count, np.random.default_rng(1))
    distinct = dict.fromkeys(tuple(row) for row in rows.tolist())
    distinct.pop(tuple(winner), None)
    return list(distinct)[:count]


def choose_networks(architecture, options, progress):
    """Measure the winner and its rivals side by side, and keep those rivals that are as fast as the winner."""
    space, network = architecture.space, architecture.network
    seconds = nascli.measure(architecture, batch=1, progress=progress).seconds
    specs = nearest_widths(mobilenet_widths(network.input, network.output.channels), seconds, progress)
    mobilenets = [only_architecture(spec) for spec in specs]
    rows = random_rivals(space, architecture.choices, CANDIDATES * options.seeds)
    together = [architecture, *mobilenets, *(Architecture.of(space, row) for row in rows)]
    figures = measure_networks(
        [each.network for each in together],
        TargetSpec(batch=1),
        Execution(store=options.out / "side_by_side.sqlite"),
        protocol=MeasurementProtocol(),
        seed=0,
        progress=progress,
    )
    specs = [space.spec, *specs, *(space.spec for _ in rows)]
    members = [
        Member(spec, each.choices, counts.macs, counts.params, figure.seconds, figure.low, figure.high)
        for spec, each, figure in zip(specs, together, figures, strict=True)
        for counts in [each.network.counts]
    ]
    first, rest = members[0], members[1:]
    distance = [abs(member.seconds / first.seconds - 1) for member in rest]
    mobilenet = int(np.argmin(distance[: len(mobilenets)]))
    randoms = [
        member
        for member, far in zip(rest[len(mobilenets) :], distance[len(mobilenets) :], strict=True)
        if far <= options.tolerance
    ]
    if distance[mobilenet] > options.tolerance or len(randoms) < options.seeds:
        raise SystemExit(
            f"rivals must be as fast as the winner within {options.tolerance:.0%}: the nearest MobileNetV2 differs by "
            f"{distance[mobilenet]:.1%}, and {len(randoms)} of {len(rows)} random architectures keep it, of which "
            f"{options.seeds} are needed. Remove {options.out / 'side_by_side.sqlite'} and run again while nothing "
            "else runs, or choose another --budget or --tolerance."
        )
    return {
        WINNER: [asdict(first)],
        MOBILENET: [asdict(rest[mobilenet])],
        RANDOM: [asdict(member) for member in randoms[: options.seeds]],
    }
