"""The number of evaluations that searches need on tables whose best architecture is known."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks._adapters import OptunaSearcher, PymooSearcher
from benchmarks._gpu_tables import data_folder
from benchmarks._report import Target, parse_arguments, write
from nascli.costmodel import BoundedCost, ChainCost, Constraint, FeasibleSet, counted
from nascli.errors import NascliError
from nascli.search.base import Score
from nascli.search.searchers.evolution import RegularisedEvolution
from nascli.search.searchers.guided import GuidedSearcher
from nascli.search.searchers.random import RandomSearcher
from nascli.search.searchers.settings import GuidedSettings
from nascli.search.spos.search import SposSearcher
from nascli.search.spos.settings import SposSettings
from nascli.spaces import Space, load_space
from nascli.spaces.blocks import Layer
from nascli.spaces.operators.basic import avg_pool, conv_block, identity

NOTES = """
The figures are evaluations until the first architecture within 0.05 points of the best feasible one (0.05 of the
score's range of 100 for the synthetic problem): median, worst, and 95 % bootstrap interval of the median over seeds.
Searches end after the limit, which then counts. nasbench-macro: 6,561 chains, mean of 3 trainings each. nasbench201:
15,625 cells under the measured latency of a device at its 40 % quantile; the evaluator gives the true accuracy after
200 epochs, or the accuracy in a one-shot supernet (then the optimum of that accuracy counts). synthetic: 21 layers of
10 operators, a score of single and neighbouring choices, the optimum by integer programming. guided: the same defaults
everywhere. Overhead: seconds of the optimiser itself per evaluation. Every searcher proposes an architecture at most
once, and infeasible architectures cost no evaluation.
"""
LIMIT = 300


class TableSet:
    """A feasible set given by a table: what is inside is listed, not computed."""

    def __init__(self, space: Space, codes: np.ndarray) -> None:
        self.space, self._codes = space, codes.astype(space.dtype)
        self._inside = {tuple(row) for row in codes.tolist()}
        self.budgets: tuple[BoundedCost, ...] = ()

    def count(self) -> int:
        return len(self._codes)

    def enumerate(self) -> np.ndarray:
        return self._codes

    def contains(self, codes: np.ndarray) -> np.ndarray:
        return np.array([tuple(row) in self._inside for row in codes.tolist()], dtype=bool)

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return self._codes[rng.integers(len(self._codes), size=n)]

    def sample_distinct(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return self._codes[rng.permutation(len(self._codes))[:n]]

    def mutate(self, parent, probability: float, n: int, rng: np.random.Generator) -> np.ndarray:
        sizes = [len(layer.candidates) for layer in self.space.layers]
        rows = np.where(rng.random((8 * n, len(sizes))) < probability, rng.integers(0, sizes, (8 * n, len(sizes))), parent)  # fmt: skip
        return rows[self.contains(rows)][:n].astype(self.space.dtype)

    def crossover(self, first, second, n: int, rng: np.random.Generator) -> np.ndarray:
        rows = np.where(rng.random((8 * n, len(first))) < 0.5, first, second)
        return rows[self.contains(rows)][:n].astype(self.space.dtype)


class Case:
    """A feasible set, its scores in points, and the best of them."""

    def __init__(self, name: str, feasible, score: Callable[[tuple[int, ...]], float], best: float) -> None:
        self.name, self.feasible, self.score, self.best = name, feasible, score, best


def macro_cases(folder: Path) -> list[Case]:
    rows = pd.read_csv(folder / "nasbench_macro" / "nasbench_macro.csv", dtype={"arch": str})
    space = load_space("nasbench-macro")
    table = {tuple(int(c) for c in a): float(v) for a, v in zip(rows.arch, rows.acc, strict=True)}
    macs = counted(space, "macs")
    codes = np.array(list(table), dtype=space.dtype)
    assert np.array_equal(macs(codes).astype(int), rows.flops.to_numpy())
    cases = []
    for limit in (40e6, 60e6, 90e6):
        feasible = FeasibleSet(space, [BoundedCost(Constraint("macs", -np.inf, limit), macs)])
        best = max(v for code, v in table.items() if macs(np.array([code]))[0] <= limit)
        cases.append(Case(f"nasbench-macro, {limit / 1e6:.0f}M MACs", feasible, table.__getitem__, best))
    return cases


def cell_space() -> Space:
    """Six places of five operators: nasbench201's edges, whose operators only need to be told apart here."""
    shape = (16, 32, 32)
    five = (
        conv_block(shape, 16, kernel=5, act="none"), identity(shape), conv_block(shape, 16, kernel=1),
        conv_block(shape, 16), avg_pool(shape),
    )  # fmt: skip
    return Space("cells", (), tuple(Layer(f"edge{i}", five) for i in range(6)))


def cell_cases(folder: Path, devices: tuple[str, ...]) -> list[Case]:
    rows = pd.read_csv(folder / "nasbench201" / "nasbench201.csv.gz")
    names = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"]
    space = cell_space()
    codes = np.array([[names.index(o) for o in row] for row in rows.arch_str.str.findall(r"([a-z_0-9]+)~")])
    cases = []
    for column, label in (("c10_test_hp200", "true accuracy"), ("oneshot_acc", "one-shot accuracy")):
        values = rows[column].to_numpy(float)
        table = {tuple(c): float(v) for c, v in zip(codes.tolist(), values, strict=True)}
        for device in devices:
            latency = rows[f"lat_{device}"].to_numpy(float)
            inside = latency <= np.quantile(latency, 0.4)
            feasible = TableSet(space, codes[inside])
            cases.append(Case(f"nasbench201, {device}, {label}", feasible, table.__getitem__, values[inside].max()))  # fmt: skip
    return cases


def synthetic_case(layers: int | None = None) -> Case:
    """Scores of single choices and of neighbours, under a MAC budget; the optimum by scipy's milp."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import lil_matrix

    space = load_space("pcnas-small" if layers is None else f"proxyless-mini:depth={layers}")
    rng = np.random.default_rng(7)
    sizes = [len(layer.candidates) for layer in space.layers]
    single = [rng.normal(0, 1.0, n) for n in sizes]
    pairs = [rng.normal(0, 0.5, (a, b)) for a, b in itertools.pairwise(sizes)]
    macs = counted(space, "macs")
    limit = float(np.quantile(macs(space.sample(4000, rng)), 0.4))
    starts = np.cumsum([0, *sizes])
    pair_starts = starts[-1] + np.cumsum([0, *[p.size for p in pairs]])
    total = int(pair_starts[-1])
    rows = len(sizes) + sum(a + b for a, b in itertools.pairwise(sizes)) + 1
    matrix, low, high = lil_matrix((rows, total)), np.zeros(rows), np.zeros(rows)
    row = 0
    for i, n in enumerate(sizes):
        matrix[row, starts[i] : starts[i] + n] = 1
        low[row] = high[row] = 1
        row += 1
    for i, p in enumerate(pairs):
        for a in range(p.shape[0]):
            matrix[row, pair_starts[i] + a * p.shape[1] : pair_starts[i] + (a + 1) * p.shape[1]] = 1
            matrix[row, starts[i] + a] = -1
            row += 1
        for b in range(p.shape[1]):
            for a in range(p.shape[0]):
                matrix[row, pair_starts[i] + a * p.shape[1] + b] = 1
            matrix[row, starts[i + 1] + b] = -1
            row += 1
    for i, u in enumerate(macs.unary):
        matrix[row, starts[i] : starts[i] + len(u)] = u / limit
    low[row], high[row] = -np.inf, 1 - macs.offset / limit
    value = np.concatenate([*single, *(p.ravel() for p in pairs)])
    solved = milp(-value, constraints=LinearConstraint(matrix.tocsr(), low, high), integrality=np.ones(total), bounds=Bounds(0, 1))  # fmt: skip

    def raw(code: tuple[int, ...]) -> float:
        return float(sum(s[c] for s, c in zip(single, code, strict=True)) + sum(p[a, b] for p, a, b in zip(pairs, code, code[1:], strict=False)))  # fmt: skip

    best = -float(solved.fun)
    random = np.median([raw(tuple(map(int, c))) for c in space.sample(500, rng)])
    feasible = FeasibleSet(space, [BoundedCost(Constraint("macs", -np.inf, limit), macs)])
    # Points: 0 for a typical architecture, 100 for the best.
    return Case(
        "synthetic, 21 layers", feasible, lambda code: 100 * (raw(code) - random) / (best - random), 100.0
    )


def run(searcher, case: Case, limit: int, within: float) -> tuple[int, float, list[float]]:
    """Evaluations to come within `within` points, the searcher's own seconds per evaluation, and the regrets."""
    done, own, best = 0, 0.0, -np.inf
    reached = limit
    regrets: list[float] = []
    while done < limit:
        start = time.perf_counter()
        codes = searcher.ask()
        own += time.perf_counter() - start
        if not len(codes):
            break
        scores = []
        for row in codes.tolist():
            value = case.score(tuple(row))
            scores.append(Score(value))
            done += 1
            best = max(best, value)
            regrets.append(case.best - best)
            if best >= case.best - within and reached == limit:
                reached = min(done, limit)
        if reached < limit:
            break
        start = time.perf_counter()
        searcher.tell(codes, scores)
        own += time.perf_counter() - start
    return reached, own / max(1, done), regrets


def makers(limit: int) -> dict[str, Callable[[Case, int], object]]:
    rng = np.random.default_rng
    return {
        "guided": lambda c, s: GuidedSearcher(
            c.feasible, GuidedSettings(evaluations=limit), rng(s), costs_of(c)
        ),
        "spos": lambda c, s: SposSearcher(c.feasible, SposSettings(), rng(s)),
        "evolution": lambda c, s: RegularisedEvolution(c.feasible, limit, rng(s)),
        "random": lambda c, s: RandomSearcher(c.feasible, limit, rng(s)),
        "optuna-tpe": lambda c, s: OptunaSearcher(c.feasible, limit, s),
        "pymoo-ga": lambda c, s: PymooSearcher(c.feasible, limit, s),
    }


def costs_of(case: Case) -> list[ChainCost]:
    return []


def main() -> None:
    quick = parse_arguments(__doc__ or "").quick
    folder = data_folder()
    seeds = 2 if quick else 20
    cases = [synthetic_case(1 if quick else None)]
    if folder is not None and not quick:
        devices = ("1080ti_32", "titanx_1", "pixel3", "raspi4", "gold_6226", "fpga")
        cases = [*macro_cases(folder), *cell_cases(folder, devices), *cases]
    elif not quick:
        raise SystemExit("the tables are not here: set NASCLI_DATA")
    rows, medians = [], {}
    for case in cases:
        limit = 20 if quick else (150 if isinstance(case.feasible, TableSet) else LIMIT)
        for name, make in makers(limit).items():
            slow = name in ("optuna-tpe", "pymoo-ga")
            if slow and isinstance(case.feasible, TableSet):
                continue
            try:
                found = [run(make(case, seed), case, limit, 0.05 if "synthetic" not in case.name else 5.0) for seed in range(seeds)]  # fmt: skip
            except NascliError as error:
                if quick:
                    continue
                raise SystemExit(str(error)) from error
            counts = np.array([reached for reached, _, _ in found])
            boot = np.random.default_rng(0).choice(counts, (2000, len(counts)))
            low, high = np.quantile(np.median(boot, axis=1), [0.025, 0.975])
            at_30 = np.median([regret[min(29, len(regret) - 1)] for _, _, regret in found])
            medians[case.name, name] = (float(np.median(counts)), float(counts.max()))
            overhead = np.median([own for _, own, _ in found])
            rows.append(
                [
                    case.name, name, f"{np.median(counts):.0f} [{low:.0f}, {high:.0f}]", f"{counts.max()}",
                    f"{np.mean(counts >= limit):.0%}", f"{at_30:.3f}", f"{overhead * 1e3:.1f} ms",
                ]
            )  # fmt: skip
    targets = []
    if not quick:
        macro = medians["nasbench-macro, 60M MACs", "guided"]
        better = [
            medians[case.name, "guided"][0] / min(m for (c, n), (m, _) in medians.items() if c == case.name and n != "guided")
            for case in cases
        ]  # fmt: skip
        targets = [
            Target("nasbench-macro at 60M: median evaluations", macro[0], 25, False),
            Target("nasbench-macro at 60M: worst of 20 seeds", macro[1], 50, False),
            Target("worst case: guided's median over the best peer's", max(better), 1.0, False),
        ]
    columns = ["case", "searcher", "evaluations (median)", "worst", "never", "regret at 30", "overhead"]
    write("search_quality", columns, rows, targets, NOTES, quick)


if __name__ == "__main__":
    main()
