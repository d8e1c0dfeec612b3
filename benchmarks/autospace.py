"""AutoSpace at small scale: networks of the learned space compared with inverted residuals at equal cost."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch

from benchmarks._report import Target, parse_arguments, write
from benchmarks._studies import alone, images, in_processes, of, one_shot, paired
from benchmarks.spos import best_so_far
from nascli.costmodel import BoundedCost, Constraint, FeasibleSet, counted, k_best
from nascli.progress import Silent
from nascli.report.svg import ChartAxis, Series, chart, standalone
from nascli.search.autospace.engine import learn_cells
from nascli.search.autospace.search import cell_macs, first_population, mutate
from nascli.search.autospace.settings import AutoSpaceSettings
from nascli.search.proxyless.engine import ProxylessEngine
from nascli.search.spos.search import SposSearcher
from nascli.search.spos.settings import SposSettings
from nascli.spaces import load_space, make_space
from nascli.spaces.operators.dag_cell import REFERENCE
from nascli.spaces.primitives import Shape
from nascli.supernet.evaluation.accuracy import SupernetEvaluator
from nascli.supernet.training.recipe import ArchitectureParameterSettings, Recipe

NOTES = """
Data: Fashion-MNIST at 14x14 (4,000 images for training and validation, 4,000 for the test), 7 thin layers. The
comparison uses the paper's own criterion, curves of accuracy against MACs. SPOS and a ProxylessNAS-style search find
networks for each of three MAC budgets, in the learned space (4 cells a layer) and in a space of inverted residuals with
kernels 3, 5, and 7 and expansion 6 (both have skips), with equal training and evaluations. Winners are trained from
scratch twice. There are 2 seeds, and their differences are paired. The budgets are quantiles of random networks of both
spaces together; the table and the picture show the MACs that the networks really have. Learning the cells costs about
three supernets more. Ablations, at the middle budget with SPOS: without gradient compensation, without the reference
graph, without inherited weights. Diversity: the share of distinct cells in the population. Update: mutation, MAdds, and
distance of 1,000 x 21 cells, with at most 1.2 times the MAdds of the reference cell. The figures show directions at
this size, not the paper's figures.
"""
TRAININGS = 2
SPACE = "autospace-mini"


class Study:
    def __init__(self, quick: bool) -> None:
        self.quick = quick
        self.data = images(4000, quick)
        self.places = load_space(f"{SPACE}:width=0.5")
        self.settings = AutoSpaceSettings(
            cells=4, population=40, first_team=4, last_team=15, warmup=1 if quick else 4, evolution=1 if quick else 12,
            frequency=15, reference_epochs=1 if quick else 6, mutants=0.5,
        )  # fmt: skip
        self.recipe = Recipe(1, 64, shift=1, label_smoothing=0.0)
        self.train = replace(self.recipe, epochs=1 if quick else 8)
        self.short = replace(self.recipe, epochs=1 if quick else 4)

    def variants(self) -> dict[str, AutoSpaceSettings]:
        if self.quick:
            return {}
        return {
            "without compensation": replace(self.settings, compensation="none"),
            "without the reference graph": replace(self.settings, reference_epochs=0, distance=6),
            "without inherited weights": replace(self.settings, keep_weights=False),
        }

    def learn(self, settings: AutoSpaceSettings, seed: int):
        learned = learn_cells(
            self.places, self.data, settings, self.recipe, seed=seed, file=None, progress=Silent()
        )
        return make_space(SPACE, width=0.5, cells=learned.text), learned.history

    def judged(self, space, code, seed: int) -> float:
        runs = 1 if self.quick else TRAININGS
        return float(
            np.mean([alone(space, code, self.data, self.short, 100 * seed + n) for n in range(runs)])
        )


def feasible_of(space, limit: float) -> FeasibleSet | None:
    macs = counted(space, "macs")
    return (
        None
        if macs.minimum > limit
        else FeasibleSet(space, [BoundedCost(Constraint("macs", -np.inf, limit), macs)])
    )


def by_spos(space, supernet, data, feasible: FeasibleSet, seed: int, count: int) -> tuple[int, ...]:
    scores: dict[tuple[int, ...], float] = {}
    searcher = SposSearcher(
        feasible, SposSettings(population=16, generations=20), np.random.default_rng(seed)
    )
    best_so_far(searcher, SupernetEvaluator(supernet, data, calibration=128), count, scores)
    return max(scores, key=scores.__getitem__)


def by_gradient(study: Study, space, feasible: FeasibleSet, seed: int) -> tuple[int, ...]:
    engine = ProxylessEngine(
        space, study.data, study.train, ArchitectureParameterSettings(start=0.3), feasible.budgets[0], seed=seed, file=None,
        progress=Silent(),
    )  # fmt: skip
    return tuple(int(c) for c in k_best(feasible, engine.train(), 1)[0])


def one_seed(seed: int, quick: bool) -> dict:
    """Networks found by space, method and budget: (limit, MACs, accuracy); and how the population moved."""
    study = Study(quick)
    learned, history = study.learn(study.settings, seed)
    spaces = {"inverted residuals": study.places, "learned": learned}
    rng = np.random.default_rng([seed, 9])
    draws = np.concatenate([counted(s, "macs")(s.sample(2000, rng)) for s in spaces.values()])
    limits = [float(q) for q in np.quantile(draws, [0.5] if quick else [0.2, 0.5, 0.85])]
    found: dict[str, list[tuple[float, float, float]]] = {}
    evaluations = 12 if quick else 40

    def add(name: str, space, code, limit: float) -> None:
        macs = float(counted(space, "macs")(space.check(np.array([code])))[0])
        found.setdefault(name, []).append((limit, macs, study.judged(space, code, seed)))

    for name, space in spaces.items():
        supernet = one_shot(space, study.data, study.train, seed)
        for limit in limits:
            feasible = feasible_of(space, limit)
            if feasible is None:
                continue
            add(
                f"{name}, SPOS",
                space,
                by_spos(space, supernet, study.data, feasible, seed, evaluations),
                limit,
            )
            add(f"{name}, ProxylessNAS-style", space, by_gradient(study, space, feasible, seed), limit)
    middle = limits[len(limits) // 2]
    for name, settings in study.variants().items():
        space, _ = study.learn(settings, seed)
        feasible = feasible_of(space, middle)
        if feasible is not None:
            supernet = one_shot(space, study.data, study.train, seed)
            add(
                f"learned {name}, SPOS",
                space,
                by_spos(space, supernet, study.data, feasible, seed, evaluations),
                middle,
            )
    ranges = {name: (counted(s, "macs").minimum, counted(s, "macs").maximum) for name, s in spaces.items()}
    return {"found": found, "history": [list(row) for row in history], "ranges": ranges, "limits": limits}


def picture(seeds: list[dict]) -> str:
    def points(name: str) -> list[tuple[float, float, str]]:
        rows = [
            row
            for s in seeds
            for key, some in s["found"].items()
            if key.startswith(f"{name},")
            for row in some
        ]
        return [(macs, top1, f"{name}: {macs / 1e6:.2f}M MACs, {top1:.1%}") for _, macs, top1 in rows]

    return standalone(
        chart(
            "accuracy against MACs",
            ChartAxis("MACs, millions", lambda v: f"{v / 1e6:g}"),
            ChartAxis("test top-1, %", lambda v: f"{v * 100:.3g}"),
            [
                Series(points("inverted residuals"), "base", radius=5),
                Series(points("learned"), "meas", radius=5),
            ],
        ),
        "Networks found in the learned space (blue) and in inverted residuals (green)",
    )


def updates(quick: bool) -> float:
    paper, rng = AutoSpaceSettings(), np.random.default_rng(0)
    cells = first_population(2 if quick else 21, paper, rng)
    shape = Shape(24, 28, 28)
    most = 1.2 * float(cell_macs(np.array([[*REFERENCE, 1, 0]], dtype=np.int8), shape, 24, 1)[0])
    begun = time.perf_counter()
    mutate(cells, 1, paper, rng, near=True, limits=[(shape, 24, 1, most)] * len(cells))
    cell_macs(cells, shape, 24, 1)
    return time.perf_counter() - begun


def main() -> None:
    quick = parse_arguments(__doc__ or "").quick
    torch.set_num_threads(1)
    start = time.time()
    update = updates(quick)
    seeds = in_processes(one_seed, 1 if quick else 2, quick)
    rows: list[list[str]] = []
    for name in dict.fromkeys(name for s in seeds for name in s["found"]):
        for place in range(len(seeds[0]["limits"])):
            got = [row for s in seeds for row in s["found"].get(name, []) if row[0] == s["limits"][place]]
            if got:
                limit = np.mean([s["limits"][place] for s in seeds]) / 1e6
                rows.append([f"{name}, at most {limit:.2f}M MACs", f"{of([a for _, _, a in got])}, of {np.mean([m for _, m, _ in got]) / 1e6:.2f}M MACs"])  # fmt: skip
    gains: list[float] = []
    for method in ("SPOS", "ProxylessNAS-style"):
        for place in range(len(seeds[0]["limits"])):
            pairs = []
            for s in seeds:
                one, other = (
                    [
                        a
                        for limit, _, a in s["found"].get(f"{space}, {method}", [])
                        if limit == s["limits"][place]
                    ]
                    for space in ("learned", "inverted residuals")
                )
                pairs += list(zip(one, other, strict=False))
            if pairs:
                gains.append(float(np.mean([a - b for a, b in pairs])))
                rows.append([f"learned over inverted residuals, {method}, budget {place + 1}, points", paired(*zip(*pairs, strict=True))])  # fmt: skip
    for number, s in enumerate(seeds):
        for name, (least, most) in s["ranges"].items():
            rows.append([f"seed {number}: MACs of {name}", f"{least / 1e6:.2f}M to {most / 1e6:.2f}M"])
        if s["history"]:
            shown = s["history"][:: max(1, len(s["history"]) // 4)]
            rows.append([f"seed {number}: fitness mean, largest; distinct cells, as it evolves", "; ".join(f"{a:.2f}, {b:.2f}; {c:.0%}" for a, b, c in shown)])  # fmt: skip
    rows.append(["an update of 1,000 x 21 cells", f"{update:.2f} s"])
    rows.append(["minutes", f"{(time.time() - start) / 60:.1f}"])
    targets = [
        Target("an update of 1,000 x 21 cells, seconds", update, 1.0, False),
        Target("learned over inverted residuals, points, mean of budgets and methods", float(np.mean(gains or [np.nan])) * 100, 0.0, True),
        Target("learned over inverted residuals, points, worst budget and method", float(np.min(gains or [np.nan])) * 100, 0.0, True),
    ]  # fmt: skip
    points = {"seeds": seeds}
    write("autospace", ["what", "figure"], rows, targets, NOTES, quick, {"curves": picture(seeds)}, points)


if __name__ == "__main__":
    main()
