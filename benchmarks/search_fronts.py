"""Whole fronts of accuracy against MACs in one run, on a table with a known front."""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmarks._adapters import PymooSearcher
from benchmarks._gpu_tables import data_folder
from benchmarks._report import Target, parse_arguments, write
from nascli.costmodel import FeasibleSet, counted
from nascli.errors import NascliError
from nascli.search.base import Score
from nascli.search.searchers.guided import GuidedSearcher, area_under_front
from nascli.search.searchers.random import RandomSearcher
from nascli.search.searchers.settings import GuidedSettings
from nascli.spaces import load_space

NOTES = """
NAS-Bench-Macro: 6,561 chains, mean accuracy of 3 trainings, MACs. The figures are shares of the true hypervolume (the
area under the front of accuracy against MACs above 80 %) after a number of evaluations: median [minimum, maximum] over
seeds. guided: maximises the expected growth of that area. NSGA-II: pymoo's, population 20.
"""
FLOOR = 80.0


def main() -> None:
    quick = parse_arguments(__doc__ or "").quick
    folder = data_folder()
    if folder is None:
        if not quick:
            raise SystemExit("the tables are not here: set NASCLI_DATA")
        write("search_fronts", ["what"], [["no tables here: set NASCLI_DATA"]], [], NOTES, True)
        return
    csv = pd.read_csv(folder / "nasbench_macro" / "nasbench_macro.csv", dtype={"arch": str})
    table = {tuple(int(c) for c in a): float(v) for a, v in zip(csv.arch, csv.acc, strict=True)}
    space = load_space("nasbench-macro")
    macs = counted(space, "macs")
    every = np.array(list(table), dtype=space.dtype)
    low, high = macs.minimum, macs.maximum
    whole = area_under_front(macs(every), np.array(list(table.values())), low, high, FLOOR)
    feasible = FeasibleSet(space, [])
    most, seeds = (24, 2) if quick else (200, 20)
    makers = {
        "guided": lambda s: GuidedSearcher(
            feasible, GuidedSettings(evaluations=most), np.random.default_rng(s), front=macs
        ),
        "NSGA-II": lambda s: PymooSearcher(feasible, most, s, front=macs),
        "random": lambda s: RandomSearcher(feasible, most, np.random.default_rng(s)),
    }
    points = (24,) if quick else (25, 50, 100, 200)
    shares: dict[tuple[str, int], list[float]] = {}
    for name, make in makers.items():
        for seed in range(seeds):
            try:
                searcher = make(seed)
            except NascliError:
                if quick:
                    continue
                raise
            codes: list[tuple[int, ...]] = []
            while len(codes) < most and len(rows := searcher.ask()):
                searcher.tell(rows, [Score(table[tuple(r)]) for r in rows.tolist()])
                codes += [tuple(r) for r in rows.tolist()]
            for at in points:
                some = np.array(codes[:at], dtype=space.dtype)
                area = area_under_front(
                    macs(some), np.array([table[c] for c in codes[:at]]), low, high, FLOOR
                )
                shares.setdefault((name, at), []).append(area / whole)
    rows_of = [
        [name, str(at), f"{np.median(v):.2%} [{min(v):.2%}, {max(v):.2%}]"]
        for (name, at), v in shares.items()
    ]
    last = points[-2] if len(points) > 1 else points[0]
    peers = [float(np.median(v)) for (n, at), v in shares.items() if at == last and n != "guided"]
    lead = float(np.median(shares["guided", last])) - max(peers)
    targets = [
        Target(f"guided over the best peer at {last} evaluations, share of the hypervolume", lead, 0.0, True)
    ]
    write(
        "search_fronts",
        ["searcher", "evaluations", "share of the hypervolume"],
        rows_of,
        targets,
        NOTES,
        quick,
    )


if __name__ == "__main__":
    main()
