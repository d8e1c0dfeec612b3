"""Where the time of a network goes: which way of timing its pieces agrees with the runtime's own profile."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks._report import Target, write
from nascli.errors import SpaceError
from nascli.execution import Execution
from nascli.lut import LatencyTable, Store
from nascli.lut.in_context.carriers import twice
from nascli.lut.in_context.neighbours import neighbour_behind
from nascli.pipeline.measure.piece_times import PieceModels
from nascli.pipeline.measure.runtime_opinion import ask_runtime
from nascli.profiles.onnx.networks import read_onnx_network
from nascli.profiles.profiling import profile_operators
from nascli.profiles.protocol import MeasurementProtocol
from nascli.profiles.target import Target as Place
from nascli.profiles.target import TargetSpec
from nascli.progress import Silent
from nascli.spaces import load_space
from nascli.spaces.network import Network
from nascli.spaces.operators.definition import Operator
from nascli.spaces.primitives import GlobalPool
from nascli.spaces.programs import Builder, Program, chain

NOTES = """
Networks of timm, exported by PyTorch at 224 px; batch 1, one thread. All models of a network are timed in interleaved
rounds. Misplaced: half the sum of the differences between the shares of the pieces and their shares in ONNX Runtime's
own profile (the least of three profiles for each node), so the share of the time that a method puts into another piece
than the profile does. The profile is no truth, but it knows no beginnings, ends, or copies. Beginnings: differences of
T(first i pieces); with a pooling behind each, whose own time is subtracted; with a neighbour behind each, of whose
reference half is subtracted. Alone and in pairs is what `nascli profile --breakdown` does.
"""
METHODS = ("beginnings", "beginnings, pooled", "beginnings, half a reference", "alone and in pairs")
Shares = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ending:
    """A beginning of a network with something behind it, and what is subtracted for that."""

    program: Program
    subtracted: Program | None
    factor: float = 0.0


def plain(network: Network) -> list[Ending]:
    pieces = [operator.program for operator in network.operators]
    return [Ending(chain(pieces[: number + 1]), None) for number in range(len(pieces))]


def pooled(network: Network) -> list[Ending]:
    """Each beginning with the mean over height and width behind it, where it ends in an image."""
    found = plain(network)
    for number, operator in enumerate(network.operators[:-1]):
        try:
            builder = Builder(found[number].program.input)
            value = builder.embed(found[number].program, 0)
            whole = builder.build(builder.append(GlobalPool(), (value,)))
            alone = Builder(operator.program.output_shape)
            found[number] = Ending(whole, alone.build(alone.append(GlobalPool(), (0,))), 1.0)
        except SpaceError:
            # It ends in something that is no image.
            continue
    return found


def with_neighbour(network: Network) -> list[Ending]:
    """Each beginning with a neighbour behind it, where there is one."""
    found = plain(network)
    for number, operator in enumerate(network.operators[:-1]):
        neighbour = neighbour_behind(operator.program)
        if neighbour is not None:
            whole = chain([found[number].program, neighbour])
            found[number] = Ending(whole, twice(neighbour).program, 0.5)
    return found


def seconds_of(program: Program, table: LatencyTable) -> float:
    figure = table.lookup(program)
    assert figure is not None
    return figure.seconds


def differences(endings: list[Ending], table: LatencyTable) -> Shares:
    """Shares of pieces as differences of beginnings."""
    seconds = [0.0]
    for ending in endings:
        extra = 0.0 if ending.subtracted is None else ending.factor * seconds_of(ending.subtracted, table)
        seconds.append(seconds_of(ending.program, table) - extra)
    return np.diff(seconds) / seconds[-1]


def shares_of(
    network: Network, place: Place, protocol: MeasurementProtocol
) -> tuple[dict[str, Shares], Shares]:
    """Shares of pieces by each method, and by the runtime's own profile."""
    models = PieceModels(network.name, network.operators, place.batch)
    methods = dict(zip(METHODS, (plain(network), pooled(network), with_neighbour(network)), strict=False))
    programs = {
        program: None
        for endings in methods.values()
        for ending in endings
        for program in (ending.program, ending.subtracted)
        if program is not None
    }
    wanted = [*models.operators(), *(Operator("carrier of a beginning", (), program) for program in programs)]
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "s.sqlite") as store:
        table = profile_operators(
            wanted, store, place, protocol=protocol, rng=np.random.default_rng(0), progress=Silent()
        )
    assert models.whole is not None
    whole = table.lookup(models.whole)
    assert whole is not None
    found = {name: differences(endings, table) for name, endings in methods.items()}
    times = models.times(table.lookup, whole)
    found[METHODS[-1]] = np.array([time.measurement.seconds for time in times]) / whole.seconds
    opinion = ask_runtime([operator.program for operator in network.operators], place)
    assert opinion is not None
    own = np.array(opinion.seconds)
    return found, own / own.sum()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke test: one small network, few repeats")
    parser.add_argument("files", nargs="*", type=Path, help="ONNX models")
    arguments = parser.parse_args()
    protocol = MeasurementProtocol(max_rounds=12)
    if arguments.quick:
        space = load_space("proxyless-mini:resolution=8,width=0.25,depth=1")
        networks = [space.network(space.sample(1, np.random.default_rng(0))[0], "small")]
        protocol = MeasurementProtocol(target=0.5, min_rounds=3, max_rounds=3, burst_seconds=1e-4, min_runs=2)
    else:
        networks = [read_onnx_network(path) for path in arguments.files]
    place = replace(TargetSpec(batch=1).resolve(Execution()), batch=1)
    rows, misplaced = [], []
    for network in networks:
        found, own = shares_of(network, place, protocol)
        errors = [float(np.abs(found[method] - own).sum() / 2) for method in METHODS]
        misplaced.append(errors)
        below = [int((found[method] < 0).sum()) for method in METHODS]
        cells = [f"{error:.1%} ({number})" for error, number in zip(errors, below, strict=True)]
        rows.append([network.name, str(len(network.operators)), *cells])
    mean = np.mean(misplaced, axis=0)
    rows.append(["mean", "", *(f"{value:.1%}" for value in mean)])
    write(
        "breakdown",
        ["network", "pieces", *(f"{method}: misplaced (pieces below 0)" for method in METHODS)],
        rows,
        [
            Target(
                "mean share of the time that is misplaced, alone and in pairs", float(mean[-1]), 0.06, False
            ),
            Target(
                "the same over the best of the differences of beginnings",
                float(mean[-1] / mean[:-1].min()),
                0.5,
                False,
            ),
        ],
        NOTES,
        arguments.quick,
    )


if __name__ == "__main__":
    main()
