"""Sums of operator latencies compared with the measured latency of whole networks."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau

from benchmarks._report import Target, parse_arguments, write
from benchmarks.profiling import busy
from nascli.costmodel import BoundedCost, Constraint, FeasibleSet, table_latency
from nascli.costmodel.calibration import calibrate, spread_architectures
from nascli.lut import Store, program_key
from nascli.lut.in_context.carriers import subjects_in_context
from nascli.lut.in_context.joins import join_models
from nascli.lut.statistics import estimate, reference_anchor
from nascli.pipeline.measure.latency_model import calibration_terms
from nascli.profiles.devices.device import find_device
from nascli.profiles.profiling import network_operator, profile_operators
from nascli.profiles.protocol import MeasurementProtocol
from nascli.profiles.runtimes.base import RuntimeOptions
from nascli.profiles.runtimes.registry import get_runtime
from nascli.profiles.target import Target as Place
from nascli.progress import Silent
from nascli.spaces import Network, load_space

NOTES = """
The benchmark predicts and measures 40 random networks of each space, drawn uniformly, and 20 within 3 % of their
median, end to end on ONNX Runtime's CPU provider. All of them are held out: the calibrated model is fitted on 24 other
networks, spread over the space as `nascli calibrate` chooses them. Covered: the share of held-out networks inside the
calibrated model's 90 % interval. MACs: proportional to MACs, with a factor fitted on the same networks (which favours
it). Alone: the sum of operators timed alone. In context: the sum of operators timed between two pointwise convolutions.
Floor: even rounds of the same networks compared with odd rounds, which is the difference between two end-to-end
measurements. Every store was empty at the start.
"""
CASES = (
    ("proxyless-mini", 16, 1, False),
    ("proxyless-mini", 1, 1, False),
    ("proxyless-mini", 16, 2, False),
    ("proxyless-mini", 1, 1, True),
    ("spos-mini", 16, 1, False),
    ("pcnas-large-mini", 16, 1, False),
    ("nse-19-mini", 16, 1, False),
    ("nse-27-mini", 16, 1, False),
    ("proxyless", 1, 1, False),
)


def errors(predicted: np.ndarray, measured: np.ndarray) -> tuple[float, float, float, float]:
    """Bias, mean absolute percentage error, Kendall tau, share within 5 %."""
    ratio = predicted / measured - 1
    tau = float(kendalltau(predicted, measured).statistic)
    return float(ratio.mean()), float(abs(ratio).mean()), tau, float((abs(ratio) <= 0.05).mean())


def halves(store: Store, networks: list[Network], place: Place) -> tuple[np.ndarray, np.ndarray]:
    samples = store.samples(place.setup())
    reference = reference_anchor([s.anchor for rows in samples.values() for s in rows])
    rows = [samples[program_key(network.program)] for network in networks]
    even, odd = ([estimate(r[start::2], reference).seconds for r in rows] for start in (0, 1))
    return np.array(even), np.array(odd)


def study(
    spec: str, batch: int, threads: int, loaded: bool, count: int, folder: Path
) -> tuple[list[list[str]], dict[str, float]]:
    space = load_space(spec)
    place = Place(find_device("cpu"), get_runtime("ort-cpu"), RuntimeOptions(threads=threads), batch)
    drawn = space.sample(count, np.random.default_rng(1))
    rng = np.random.default_rng(0)
    with busy(2 if loaded else 0), Store(folder / f"{spec}-{batch}-{threads}-{loaded}.sqlite") as store:
        operators = [*subjects_in_context(space.distinct_placements()), *join_models(space)]
        table = profile_operators(
            operators, store, place, protocol=MeasurementProtocol(), rng=rng, progress=Silent()
        )
        plain = table_latency(space, table, "")
        codes = spread_architectures(space, plain, 24, np.random.default_rng(2))
        fitted = [space.network(row, f"fitted {i}") for i, row in enumerate(codes)]
        budget = float(np.median(plain(drawn)))
        window = Constraint("latency", 0.97 * budget, 1.03 * budget)
        near = FeasibleSet(space, [BoundedCost(window, plain)]).sample(count // 2, np.random.default_rng(3))
        drawn = np.concatenate([drawn, near])
        networks = [space.network(row, f"held out {i}") for i, row in enumerate(drawn)]
        models = [*operators, *map(network_operator, [*fitted, *networks])]
        table = profile_operators(
            models, store, place, protocol=MeasurementProtocol(), rng=rng, progress=Silent()
        )
        even, odd = halves(store, networks, place)
    plain = table_latency(space, table, "")
    sums = [plain, *calibration_terms(space, table)]
    seconds = [table.estimates[program_key(n.program)].seconds for n in fitted]
    calibration = calibrate(space, sums, codes, seconds)
    measured = np.array([table.estimates[program_key(n.program)].seconds for n in networks])
    macs = np.array([n.counts.macs for n in networks], dtype=float)
    figures = {
        "MACs": macs * np.median(measured / macs),
        "alone": sums[1](drawn),
        "in context": plain(drawn),
        "calibrated": calibration.cost(drawn),
    }
    half = calibration.half_width(0.9)
    covered = float((abs(measured / figures["calibrated"] - 1) <= half).mean())
    rows, found = [], {}
    for name, predicted in figures.items():
        bias, mape, tau, close = errors(predicted, measured)
        rows.append(
            [
                spec + (", two busy processes" if loaded else ""),
                str(batch),
                str(threads),
                name,
                f"{bias:+.1%}",
                f"{mape:.1%}",
                f"{tau:.3f}",
                f"{close:.0%}",
                f"{covered:.0%} in ±{half:.1%}" if name == "calibrated" else "",
            ]
        )
        found |= {f"{name} mape": mape, f"{name} tau": tau, f"{name} close": close}
    _, floor, tau, close = errors(even, odd)
    rows.append(
        [
            spec + (", two busy processes" if loaded else ""),
            str(batch),
            str(threads),
            "floor",
            "",
            f"{floor:.1%}",
            f"{tau:.3f}",
            f"{close:.0%}",
            "",
        ]
    )
    return rows, found | {"floor": floor, "covered": covered}


def main() -> None:
    quick = parse_arguments(__doc__ or "").quick
    cases = (
        [
            ("proxyless-mini:resolution=8,width=0.25,depth=1", 2, 1, False),
            ("nse-19-mini:width=0.25,resolution=8", 1, 1, False),
        ]
        if quick
        else CASES
    )
    rows: list[list[str]] = []
    found: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for spec, batch, threads, loaded in cases:
            some, figures = study(spec, batch, threads, loaded, 4 if quick else 40, Path(folder))
            rows += some
            found.append(figures)
    worst = {key: [f[key] for f in found] for key in found[0]}
    targets = [
        Target("calibrated: worst mean absolute error over 1.2 floors or 1 %", max(f["calibrated mape"] / max(1.2 * f["floor"], 0.01) for f in found), 1.0, False),
        Target("calibrated: worst Kendall tau", min(worst["calibrated tau"]), 0.98, True),
        Target("calibrated: share within 5 %, all cases", float(np.mean(worst["calibrated close"])), 0.995, True),
        Target("90 % intervals: coverage over all cases, at least", float(np.mean(worst["covered"])), 0.87, True),
        Target("90 % intervals: coverage over all cases, at most", float(np.mean(worst["covered"])), 0.93, False),
    ]  # fmt: skip
    columns = [
        "space",
        "batch",
        "threads",
        "model",
        "bias",
        "mean abs. error",
        "Kendall tau",
        "within 5 %",
        "covered",
    ]
    write("latency_accuracy", columns, rows, targets, NOTES, quick)


if __name__ == "__main__":
    main()
