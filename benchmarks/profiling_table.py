"""The cost of the table of a whole published space: NSE's 27 operations at 224 px, batch 16."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks._report import Target, parse_arguments, write
from benchmarks.profiling import CountingRuntime
from nascli.lut import Store
from nascli.lut.in_context.carriers import subjects_in_context
from nascli.profiles.devices.device import find_device
from nascli.profiles.profiling import profile_operators
from nascli.profiles.protocol import MeasurementProtocol
from nascli.profiles.runtimes.base import RuntimeOptions
from nascli.profiles.runtimes.registry import get_runtime
from nascli.profiles.target import Target as Place
from nascli.progress import Silent
from nascli.spaces import load_space

NOTES = """
Every operator of NSE's space of 27 operations is measured alone and between its neighbours, on ONNX Runtime's CPU
provider with one thread, into an empty store. The study limits rounds to 12 per model (24 is the default), so that it
ends. A model that had not settled within 1 % by then counts as unstable. Wall over timed: wall time divided by the time
inside timed runs.
"""


class Seen(Silent):
    """Notes how many models are finished."""

    def __init__(self) -> None:
        self.done = 0

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.done += steps


def main() -> None:
    quick = parse_arguments(__doc__ or "").quick
    space = load_space("nse-27-mini:width=0.5,resolution=8" if quick else "nse-27")
    batch = 1 if quick else 16
    protocol = MeasurementProtocol(max_rounds=12)
    models = subjects_in_context(space.distinct_placements())
    if quick:
        models = models[:8]
    runtime = CountingRuntime(get_runtime("ort-cpu"))
    place = Place(find_device("cpu"), runtime, RuntimeOptions(threads=1), batch)
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "store.sqlite") as store:
        start = time.perf_counter()
        table = profile_operators(
            models, store, place, protocol=protocol, rng=np.random.default_rng(0), progress=Seen()
        )
        wall = time.perf_counter() - start
        size = (Path(folder) / "store.sqlite").stat().st_size
    figures = list(table.estimates.values())
    widths = [figure.relative_width for figure in figures]
    unstable = float(np.mean([not protocol.settled(figure) for figure in figures]))
    places = sum(len(layer.candidates) for layer in space.layers)
    rows = [
        ["layers x candidates", f"{places}"],
        ["distinct operators", f"{len(space.operators())} (dedup factor {places / len(space.operators()):.2f})"],
        ["models timed: operators, carriers, references", f"{len(figures)}"],
        ["one run of each", f"{sum(figure.seconds for figure in figures):.1f} s"],
        ["minutes", f"{wall / 60:.1f}"],
        ["seconds per model", f"{wall / len(figures):.2f}"],
        ["wall over timed", f"{wall / runtime.clock[0]:.2f}"],
        ["median half interval", f"{np.median(widths):.2%}"],
        ["95th percentile of it", f"{np.quantile(widths, 0.95):.2%}"],
        ["not settled within 1 %", f"{unstable:.1%}"],
        ["store", f"{size / 1e6:.1f} MB"],
    ]  # fmt: skip
    targets = [Target("wall over timed", wall / runtime.clock[0], 1.3, False)]
    write("profiling_table", ["what", "figure"], rows, targets, NOTES, quick)


if __name__ == "__main__":
    main()
