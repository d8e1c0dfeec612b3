"""Ordinary networks as users have them: read, taken apart, predicted, and measured."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau

from benchmarks._report import Target, write
from benchmarks._timm_networks import Subject, subjects
from nascli.costmodel.device_calibration import calibrate_device
from nascli.costmodel.network_figures import network_figures
from nascli.errors import NascliError
from nascli.execution import Execution
from nascli.lut import LatencyTable, Store, program_key
from nascli.pipeline.measure.device_calibration import (
    DeviceCalibrationSummary,
    calibrate_on_references,
    known_references,
    reference_networks,
)
from nascli.pipeline.measure.model_feeds import ModelFeed
from nascli.pipeline.measure.subjects import subjects_of
from nascli.pipeline.measure.whole_models import measure_models
from nascli.profiles.onnx.model_files import load_model
from nascli.profiles.onnx.networks import read_onnx_network
from nascli.profiles.profiling import profile_operators
from nascli.profiles.protocol import MeasurementProtocol
from nascli.profiles.target import TargetSpec
from nascli.progress import Silent
from nascli.spaces.primitives import Opaque

NOTES = """
Networks of timm, exported by PyTorch at their own resolution with random weights, and the nine classics that the onnx
package ships, whose weights were made constants. One thread; a file that is fixed at batch 1 is rewritten for other
batches. At batch 16 every fourth network in the order of the list was taken. Pieces are timed in context, whole files
as they are; a figure has settled at 3 % or after six rounds. In context: the plain sum, without a calibration. MACs: proportional to MACs
with one factor, the median over the networks of the row. Calibrated: corrected by `nascli calibrate` without a space,
which measures reference networks of nascli's own; a network that is among them is predicted without their family. Profile: the sum of the runtime's own times of the nodes of
the whole network, which has to be at hand and run for it. Shared: the share of a network's pieces that networks before
it in the list had brought into the table already.
"""
PROTOCOL = MeasurementProtocol(target=0.03, min_rounds=3, max_rounds=6)
CONFIDENCE = 0.9
QUICK = MeasurementProtocol(target=0.5, min_rounds=3, max_rounds=3, burst_seconds=1e-4, min_runs=2)
COLUMNS = [
    "runtime", "batch", "networks", "number", "figure", "bias", "mean error", "worst", "within 10 %", "Kendall tau",
]  # fmt: skip


@dataclass
class Row:
    """What is known of one network on one target; seconds are per batch."""

    subject: Subject
    macs: int
    pieces: int
    opaque: int
    shared: float
    measured: float
    plain: float
    profile: float
    corrected: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")


def study(
    chosen: Sequence[Subject], spec: TargetSpec, store: Path, protocol: MeasurementProtocol
) -> tuple[list[Row], dict[str, str]]:
    """Read, profile, predict, and measure networks on one target; what fails is returned with its reason."""
    execution = Execution(store=store)
    rows: list[Row] = []
    failed: dict[str, str] = {}
    seen: set[str] = set()
    for subject in chosen:
        if subject.file is None:
            failed[subject.name] = subject.reason
            continue
        try:
            rows.append(_row(subject, subject.file, spec, execution, protocol, seen))
        except NascliError as error:
            failed[subject.name] = f"{type(error).__name__}: {error.message}"
    return rows, failed


def correct(rows: Sequence[Row], spec: TargetSpec, store: Path) -> DeviceCalibrationSummary:
    """Calibrate the device on reference networks, and correct what was predicted.

    A network that is one of the references itself is predicted without references of its family.
    """
    execution = Execution(store=store)
    summary = calibrate_on_references(spec, execution, seed=0, progress=Silent())
    with Store(store) as opened:
        table = LatencyTable.read(opened, spec.resolve(execution).setup())
    known = known_references(table)
    families = {reference.key: reference.family for reference in reference_networks()}
    for row in rows:
        assert row.subject.file is not None
        network = read_onnx_network(row.subject.file, batch=spec.batch)
        own = families.get(program_key(network.program))
        calibration = calibrate_device([one for one in known.measured if one.family != own])
        figures = network_figures(network, table, "")
        row.corrected = calibration.seconds(figures)
        row.low, row.high = calibration.interval(figures, CONFIDENCE)
    return summary


def _row(
    subject: Subject,
    file: Path,
    spec: TargetSpec,
    execution: Execution,
    protocol: MeasurementProtocol,
    seen: set[str],
) -> Row:
    network = read_onnx_network(file, batch=spec.batch)
    target = spec.resolve(execution)
    keys = [program_key(operator.program) for operator in network.operators]
    shared = float(np.mean([key in seen for key in keys]))
    seen.update(keys)
    with Store(execution.store) as store:
        table = profile_operators(
            subjects_of(network, spec.batch).models,
            store,
            target,
            protocol=protocol,
            rng=np.random.default_rng(0),
            progress=Silent(),
        )
    (measured,) = measure_models(
        [file], spec, execution, feed=ModelFeed(), own_batch=False, progress=Silent(), protocol=protocol
    )
    times = target.runtime.node_times(load_model(file, batch=spec.batch).data, target.options)
    row = Row(
        subject,
        network.counts.macs,
        len(network.blocks),
        sum(isinstance(n.primitive, Opaque) for o in network.operators for n in o.program.nodes),
        shared,
        measured.measurement.seconds,
        network_figures(network, table, "").in_context,
        sum(time.seconds for time in times or ()),
    )
    print(
        f"{spec.runtime} {spec.batch:2d} {subject.name:30s} {row.pieces:3d} pieces, {row.opaque:2d} of ONNX, "
        f"measured {row.measured * 1e3:8.2f} ms, in context {row.plain / row.measured - 1:+.1%}, "
        f"profile {row.profile / row.measured - 1:+.1%}",
        flush=True,
    )
    return row


def errors(predicted: np.ndarray, measured: np.ndarray) -> tuple[float, float, float, float, float]:
    """Bias, mean absolute error, largest absolute error, share within 10 %, Kendall tau."""
    ratio = predicted / measured - 1
    tau = float(kendalltau(predicted, measured).statistic) if len(ratio) > 2 else float("nan")
    return (
        float(ratio.mean()), float(abs(ratio).mean()), float(abs(ratio).max()), float((abs(ratio) <= 0.1).mean()), tau,
    )  # fmt: skip


def summarise(
    rows: Sequence[Row], spec: TargetSpec
) -> tuple[list[list[str]], dict[tuple[str, str], tuple[float, ...]]]:
    """One line for each kind of network and figure."""
    lines, found = [], {}
    for kind in ("convolutional", "other", "classic"):
        of_kind = [row for row in rows if row.subject.kind == kind]
        if not of_kind:
            continue
        measured = np.array([row.measured for row in of_kind])
        macs = np.array([row.macs for row in of_kind], dtype=float)
        figures = {
            "in context": np.array([row.plain for row in of_kind]),
            "calibrated": np.array([row.corrected for row in of_kind]),
            "profile": np.array([row.profile for row in of_kind]),
            "MACs": macs * np.median(measured / macs),
        }
        for name, predicted in figures.items():
            if np.isnan(predicted).any():
                continue
            one = errors(predicted, measured)
            found[kind, name] = one
            bias, mean, worst, close, tau = one
            figures_of_line = (f"{bias:+.1%}", f"{mean:.1%}", f"{worst:.1%}", f"{close:.0%}", f"{tau:.3f}")
            lines.append([spec.runtime, str(spec.batch), kind, str(len(of_kind)), name, *figures_of_line])
    return lines, found


def targets_of(
    rows: Sequence[Row], found: dict[tuple[str, str], tuple[float, ...]], spec: TargetSpec
) -> Iterable[Target]:
    label = f"{spec.runtime}, batch {spec.batch}"
    if ("convolutional", "in context") in found:
        bias, mean, worst, *_ = found["convolutional", "in context"]
        yield Target(f"{label}, convolutional: mean error", mean, 0.04, False)
        yield Target(f"{label}, convolutional: absolute bias", abs(bias), 0.02, False)
        yield Target(f"{label}, convolutional: worst error", worst, 0.10, False)
    if ("other", "in context") in found:
        yield Target(f"{label}, others: mean error", found["other", "in context"][1], 0.06, False)
    calibrated = [row for row in rows if not np.isnan(row.corrected)]
    if calibrated:
        mean = float(np.mean([abs(row.corrected / row.measured - 1) for row in calibrated]))
        held = float(np.mean([row.low <= row.measured <= row.high for row in calibrated]))
        yield Target(f"{label}, all, calibrated on reference networks: mean error", mean, 0.03, False)
        yield Target(f"{label}, all: share inside of the 90 % interval", held, 0.85, True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke test: one small network")
    parser.add_argument(
        "--folder", type=Path, help="keep exported networks and measurements, and go on with them"
    )
    parser.add_argument("--runtimes", default="ort-cpu,openvino", help="default: ort-cpu,openvino")
    parser.add_argument("--batches", default="1,16", help="default: 1,16")
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="also correct by reference networks: ten minutes more for each target",
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        run(
            folder,
            arguments.runtimes.split(","),
            [int(b) for b in arguments.batches.split(",")],
            quick=arguments.quick,
            calibrated=arguments.calibrate,
        )


def run(
    folder: Path, runtimes: Sequence[str], batches: Sequence[int], *, quick: bool, calibrated: bool
) -> None:
    everything = subjects(folder, quick)
    protocol = QUICK if quick else PROTOCOL
    lines: list[list[str]] = []
    targets: list[Target] = []
    points: dict[str, object] = {}
    read: list[bool] = []
    for runtime in runtimes[:1] if quick else runtimes:
        for batch in batches[:1] if quick else batches:
            spec = TargetSpec(device="cpu", runtime=runtime, batch=batch)
            chosen = everything if batch == 1 else everything[::4]
            rows, failed = study(chosen, spec, folder / "any_network.sqlite", protocol)
            for name, reason in failed.items():
                print(f"{runtime} {batch} {name}: {reason}", flush=True)
            read += [True] * len(rows) + [False] * len(failed)
            if calibrated:
                correct(rows, spec, folder / "any_network.sqlite")
            added, found = summarise(rows, spec)
            lines += added
            targets += targets_of(rows, found, spec)
            points[f"{runtime}, batch {batch}"] = {
                "networks": [_point(row) for row in rows],
                "failed": failed,
            }
            (folder / "points.json").write_text(json.dumps(points, indent=1))
    if not quick:
        first = points[f"{runtimes[0]}, batch {batches[0]}"]
        assert isinstance(first, dict)
        targets += [
            Target("share of networks read, measured, and predicted", float(np.mean(read)), 1.0, True),
            Target("networks of timm", sum(s.kind != "classic" for s in everything), 60, True),
            Target("families", len({s.family for s in everything}), 20, True),
        ]
    write("any_network", COLUMNS, lines, targets, NOTES, quick, points=points)


def _point(row: Row) -> dict[str, object]:
    return {
        "network": row.subject.name, "family": row.subject.family, "kind": row.subject.kind, "macs": row.macs,
        "pieces": row.pieces, "pieces of ONNX": row.opaque, "shared": round(row.shared, 3),
        "measured_s": row.measured, "in_context_s": row.plain, "profile_s": row.profile,
        "calibrated_s": row.corrected, "interval_s": [row.low, row.high],
    }  # fmt: skip


if __name__ == "__main__":
    main()
