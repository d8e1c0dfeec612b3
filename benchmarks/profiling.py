"""Repeatability of operator latencies on a quiet and a busy machine, beside other methods; the cost of profiling."""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks._report import Target, parse_arguments, write
from nascli.lut import Store, program_key
from nascli.lut.in_context.carriers import subjects_in_context
from nascli.profiles.devices.device import find_device
from nascli.profiles.onnx.graphs import onnx_bytes
from nascli.profiles.profiling import RemeasurePolicy, profile_operators
from nascli.profiles.protocol import MeasurementProtocol
from nascli.profiles.runtimes.base import RuntimeOptions
from nascli.profiles.runtimes.registry import get_runtime
from nascli.profiles.target import Target as Place
from nascli.progress import Silent
from nascli.spaces import load_space

NOTES = """
All operators of a space are measured three times on ONNX Runtime's CPU provider, into one store that is empty at first.
The later measurements are new generations, so that they share the anchor's history, as in `nascli profile
--older-than`. The three times are: quiet; quiet again, after the other settings were measured; and with two busy
processes on this machine. The figures are the relative differences per operator between the first time and each of the
others (median and 95th percentile). ours: stand-alone and in-context models by the measurement protocol. mean, median:
10 warm-up runs, then 50 runs in a row, each operator in a session of its own, wall clock. autorange: the median of
torch.utils.benchmark's blocked_autorange on the same sessions (at least 0.2 s each). Cost: the wall time of profiling
divided by the time inside timed runs, including the anchor's; it contains loading, warm-up runs, and every commit. The
two quiet measurements are minutes apart, not an hour.
"""
SETTINGS = ((16, 1), (1, 1), (16, 2), (1, 2))
WAYS = ("ours", "mean", "median", "autorange")


def spin() -> None:
    while True:
        pass


@contextmanager
def busy(processes: int):
    context = multiprocessing.get_context("spawn")
    started = [context.Process(target=spin, daemon=True) for _ in range(processes)]
    for process in started:
        process.start()
    time.sleep(2.0)
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.join()


class CountingSession:
    """A session that notes how long its runs took, so that the rest of profiling can be told apart."""

    def __init__(self, session, clock: list[float]) -> None:
        self._session, self._clock = session, clock

    def time(self, runs: int, warmup: int = 0):
        start = time.perf_counter()
        burst = self._session.time(runs, warmup)
        self._clock[0] += time.perf_counter() - start if runs > 1 else 0.0
        return burst

    def __getattr__(self, name: str):
        return getattr(self._session, name)


class CountingRuntime:
    """The runtime, with the time inside timed runs (bursts and anchors; warm-up is a burst of one) noted."""

    def __init__(self, runtime) -> None:
        self._runtime, self.clock = runtime, [0.0]

    def __getattr__(self, name: str):
        return getattr(self._runtime, name)

    def load(self, model, options):
        return CountingSession(self._runtime.load(model, options), self.clock)


def ours(models, batch: int, threads: int, file: Path) -> tuple[dict[str, float], dict[str, float]]:
    runtime = CountingRuntime(get_runtime("ort-cpu"))
    place = Place(find_device("cpu"), runtime, RuntimeOptions(threads=threads), batch)
    protocol = MeasurementProtocol()
    with Store(file) as store:
        start = time.perf_counter()
        table = profile_operators(
            models,
            store,
            place,
            protocol=protocol,
            rng=np.random.default_rng(0),
            progress=Silent(),
            renewal=RemeasurePolicy(before=time.time()),
        )
        wall = time.perf_counter() - start
    figures = {key: figure.seconds for key, figure in table.estimates.items()}
    unstable = sum(not protocol.settled(figure) for figure in table.estimates.values())
    return figures, {
        "cost": wall / runtime.clock[0],
        "seconds": wall / len(figures),
        "unstable": unstable / len(figures),
    }


def usual(operators, batch: int, threads: int) -> dict[str, dict[str, float]]:
    # Here, since the busy processes import this file too and must not spend seconds on torch.
    import torch.utils.benchmark

    found: dict[str, dict[str, float]] = {"mean": {}, "median": {}, "autorange": {}}
    for operator in operators:
        if operator.program.output == 0:
            continue
        session = get_runtime("ort-cpu").load(
            onnx_bytes(operator.program, batch), RuntimeOptions(threads=threads)
        )
        key = program_key(operator.program)
        run = partial(session._run, *session._arguments)
        taken = []
        for number in range(60):
            start = time.perf_counter()
            run()
            if number >= 10:
                taken.append(time.perf_counter() - start)
        found["mean"][key] = statistics.fmean(taken)
        found["median"][key] = statistics.median(taken)
        timer = torch.utils.benchmark.Timer("run()", globals={"run": run})
        found["autorange"][key] = timer.blocked_autorange(min_run_time=0.2).median
        session.close()
    return found


def difference(first: dict[str, float], second: dict[str, float]) -> tuple[float, float]:
    relative = [abs(second[key] / first[key] - 1) for key in first]
    return float(np.median(relative)), float(np.quantile(relative, 0.95))


def main() -> None:
    quick = parse_arguments(__doc__ or "").quick
    spec = "proxyless-mini:resolution=8,width=0.25,depth=1" if quick else "proxyless-mini"
    settings = SETTINGS[:1] if quick else SETTINGS
    space = load_space(spec)
    operators = space.operators()
    if quick:
        operators = operators[:6]
    models = operators if quick else subjects_in_context(space.distinct_placements())
    times: dict[tuple[str, int, int], dict[str, dict[str, float]]] = {}
    costs: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for when in ("first", "again", "loaded"):
            for batch, threads in settings:
                with busy(2 if when == "loaded" else 0):
                    file = Path(folder) / f"{batch}-{threads}"
                    figures, cost = ours(models, batch, threads, file)
                    times[when, batch, threads] = {
                        "ours": figures,
                        **usual(operators, batch, threads),
                    }
                if when == "first":
                    costs.append(cost)
    rows, worst = [], {"quiet": [0.0, 0.0], "loaded": [0.0, 0.0]}
    for (batch, threads), cost in zip(settings, costs, strict=True):
        for way in WAYS:
            base = times["first", batch, threads][way]
            cells = []
            for when, name in (("again", "quiet"), ("loaded", "loaded")):
                found = difference(base, times[when, batch, threads][way])
                cells += [f"{found[0]:.2%}", f"{found[1]:.2%}"]
                if way == "ours":
                    worst[name] = [max(a, b) for a, b in zip(worst[name], found, strict=True)]
            more = ["", "", ""]
            if way == "ours":
                more = [f"{cost['cost']:.2f}", f"{cost['seconds']:.2f} s", f"{cost['unstable']:.1%}"]
            rows.append([str(batch), str(threads), way, *cells, *more])
    places = sum(len(layer.candidates) for layer in space.layers)
    notes = f"{NOTES}\nSpace {space.spec}: {len(models)} models for {len(operators)} distinct operators; layers x candidates is {places}, a deduplication by {places / len(operators):.2f}.\n"
    targets = [
        Target("quiet: worst median difference", worst["quiet"][0], 0.005, False),
        Target("quiet: worst p95 difference", worst["quiet"][1], 0.02, False),
        Target("loaded: worst median difference", worst["loaded"][0], 0.02, False),
        Target("loaded: worst p95 difference", worst["loaded"][1], 0.06, False),
        Target("cost: worst wall over timed", max(cost["cost"] for cost in costs), 1.3, False),
    ]
    columns = [
        "batch", "threads", "way", "quiet median", "quiet p95", "loaded median", "loaded p95",
        "wall / timed", "per model", "unstable",
    ]  # fmt: skip
    write("profiling", columns, rows, targets, notes, quick)


if __name__ == "__main__":
    main()
