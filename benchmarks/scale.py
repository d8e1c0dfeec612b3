"""A large store, with ten million measurements over a thousand devices; and search as its problem grows."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from benchmarks._report import Target, parse_arguments, spread, write
from nascli.costmodel import BoundedCost, ChainCost, Constraint, FeasibleSet
from nascli.lut import LatencyTable, Sample, Setup, Store, program_key
from nascli.lut.exchange.packs import import_pack, read_pack, read_store, write_pack
from nascli.lut.store.store import _counted
from nascli.search.spos.search import SposSearcher
from nascli.search.spos.settings import SposSettings
from nascli.spaces import Layer, Space
from nascli.spaces.operators.inverted_residual import mbconv
from nascli.spaces.programs import Program

NOTES = """
The store has synthetic bursts (5 runs each, log-normal around a size of the operator, with a clock of the device) of
real operators: those of proxyless-mini at many widths, the same number of operators for each device, and 10 rounds
each. Reading a table derives every figure and interval from raw samples. It is timed on setups chosen at random, and
the file is not in memory only the first time. Import and export use packs of 10,000 rows (Parquet, digest checked), 20
one after the other, each on disk at its end. A process's first export loads Parquet's code; a store's first import
reads and counts the 1,000 operators that the packs of other devices share. The target's figure is that of all further
packs together. Search: feasible sets and SPOS's evolution with an evaluator that costs no time, so that nascli itself
is timed; the exponent is fitted over a doubling of one size at a time.
"""
ROUNDS = 10


def programs(count: int):
    """Distinct real operators with their keys."""
    found = {}
    width = 8
    while len(found) < count:
        for kernel in (3, 5, 7):
            for expand in (3, 6):
                operator = mbconv((width, 14, 14), width, kernel=kernel, expand=expand)
                found[program_key(operator.program)] = operator
        width += 1
    return dict(list(found.items())[:count])


def fill(store: Store, operators, devices: int, rng: np.random.Generator) -> tuple[list[Setup], float]:
    store.add_operators(operators.values())
    sizes = np.exp(rng.normal(-7, 1, len(operators)))
    setups, begun = [], time.perf_counter()
    for number in range(devices):
        setup = Setup(f"card-{number:04}", "tensorrt", "10.16.1", "fp16", 16, 1)
        store.add_setup(setup, {"model": f"Card {number}"})
        speed = rng.uniform(0.5, 2)
        noise = np.exp(rng.normal(0, 0.01, (len(operators), ROUNDS, 5)))
        anchors = 1e-3 * np.exp(rng.normal(0, 0.01, (len(operators), ROUNDS)))
        rows = {
            key: [
                Sample(r, speed * sizes[i] * noise[i, r], float(anchors[i, r]), 1.7e9 + r)
                for r in range(ROUNDS)
            ]
            for i, key in enumerate(operators)
        }
        store.add_samples(setup, rows)
        setups.append(setup)
    return setups, time.perf_counter() - begun


def taken(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def sustained(speeds: list[float]) -> float:
    """The speed over all of them together: the slow ones count by the time that they took."""
    return len(speeds) / sum(1 / speed for speed in speeds)


def chain(layers: int, choices: int, rng: np.random.Generator) -> tuple[Space, ChainCost]:
    operators = [mbconv((8, 4, 4), 8, kernel=3 + 2 * (i % 3), expand=1 + i // 3) for i in range(choices)]
    space = Space("grown", (), tuple(Layer(f"l{n}", tuple(operators)) for n in range(layers)))
    unary = tuple(rng.uniform(1, 2, choices) * 1e-3 for _ in range(layers))
    return space, ChainCost("latency", "time", 0.0, unary)


def prepared(layers: int, choices: int) -> float:
    space, cost = chain(layers, choices, np.random.default_rng(0))
    budget = BoundedCost(Constraint("latency", -np.inf, (cost.minimum + cost.maximum) / 2), cost)
    return min(
        taken(lambda: FeasibleSet(space, [budget]).sample(100, np.random.default_rng(0))) for _ in range(3)
    )


def evolved(population: int) -> float:
    from benchmarks.spos import best_so_far

    space, cost = chain(20, 10, np.random.default_rng(0))
    budget = BoundedCost(Constraint("latency", -np.inf, (cost.minimum + cost.maximum) / 2), cost)
    feasible = FeasibleSet(space, [budget])
    searcher = SposSearcher(
        feasible, SposSettings(population=population, generations=5), np.random.default_rng(0)
    )
    return taken(
        lambda: best_so_far(searcher, lambda code: SimpleNamespace(top1=float(sum(code))), population * 5, {})
    )


def exponent(sizes: list[int], seconds: list[float]) -> float:
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def main() -> None:
    quick = parse_arguments(__doc__ or "").quick
    rng = np.random.default_rng(0)
    devices, count = (4, 50) if quick else (1000, 1000)
    rows: list[list[str]] = []
    operators = programs(count)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.sqlite"
        with Store(path) as store:
            setups, seconds = fill(store, operators, devices, rng)
            total = devices * count * ROUNDS
            rows.append(["measurements in the store", f"{total:,} over {devices:,} devices"])
            rows.append(["written, rows a second", f"{total / seconds:,.0f}"])
            size = path.stat().st_size / total
            rows.append(["file, bytes a row (5 runs each)", f"{size:.0f}"])
            chosen = [setups[i] for i in rng.integers(0, devices, 3 if quick else 20)]
            tables = [taken(lambda s=setup: LatencyTable.read(store, s)) for setup in chosen]
            rows.append([f"table of {count:,} operators from {count * ROUNDS:,} samples, s", spread(tables)])
            packs = [Path(folder) / f"{number}.parquet" for number in range(len(chosen))]
            exports = [
                count * ROUNDS / taken(lambda s=setup, p=pack: write_pack(read_store(store, s), p))
                for setup, pack in zip(chosen, packs, strict=True)
            ]
            fresh, imports = [], []
            for number in range(3):
                # As a command would: nothing read before, operators unknown to the store at first.
                Program.from_canonical.cache_clear()
                _counted.cache_clear()
                with Store(Path(folder) / f"other{number}.sqlite") as other:
                    speeds = [
                        count * ROUNDS / taken(lambda p=pack, o=other: import_pack(read_pack(p), o))
                        for pack in packs
                    ]
                fresh.append(speeds[0])
                imports += speeds[1:]
            rows += [
                ["export of a first pack, rows a second", f"{exports[0]:,.0f}"],
                ["export of further packs, rows a second", spread(exports[1:])],
                [
                    "import of a first pack, its operators new to process and store, rows a second",
                    spread(fresh),
                ],
                ["import of further packs of the same operators, rows a second", spread(imports)],
            ]
    layers = [10, 20] if quick else [10, 20, 40, 80]
    choices = [5, 10] if quick else [5, 10, 20, 40]
    populations = [20, 40] if quick else [50, 100, 200, 400]
    grown = {
        "layers (10 choices)": (layers, [prepared(n, 10) for n in layers]),
        "choices (20 layers)": (choices, [prepared(20, n) for n in choices]),
        "population (evolution, 5 generations)": (populations, [evolved(n) for n in populations]),
    }
    for name, (sizes, spent) in grown.items():
        rows.append([f"search: exponent in {name}", f"{exponent(sizes, spent):.2f} ({spent[0]:.3f} s at {sizes[0]}, {spent[-1]:.3f} s at {sizes[-1]})"])  # fmt: skip
    targets = [
        Target("table of 1,000 operators, seconds", float(np.median(tables)), 0.1, False),
        Target("export of further packs, rows a second", sustained(exports[1:]), 200_000, True),
        Target("import of further packs, rows a second", sustained(imports), 200_000, True),
    ]
    write("scale", ["what", "figure"], rows, targets, NOTES, quick)


if __name__ == "__main__":
    main()
