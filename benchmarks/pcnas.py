"""PC-NAS at small scale: whether shrinking makes shared weights rank like training alone, and what the search adds."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import torch

from benchmarks._gpu_tables import data_folder
from benchmarks._report import Target, parse_arguments, write
from benchmarks._studies import alone, correlation, images, inherited, of, one_shot
from benchmarks.spos import best_so_far
from nascli.costmodel import BoundedCost, Constraint, FeasibleSet, counted
from nascli.progress import Silent
from nascli.search.pcnas.engine import PcnasEngine
from nascli.search.pcnas.search import PcnasSearch
from nascli.search.pcnas.settings import PcnasSettings
from nascli.search.run_folder import StateFile
from nascli.search.spos.search import SposSearcher
from nascli.search.spos.settings import SposSettings
from nascli.spaces import load_space
from nascli.supernet.evaluation.accuracy import SupernetEvaluator
from nascli.supernet.evaluation.prefix_tree import PrefixTree
from nascli.supernet.training.recipe import Recipe

NOTES = """
Data: Fashion-MNIST at 14x14 (5,000 images for training and validation, 4,000 for the test). The space is PC-NAS's small
space in 7 thin layers, with MACs at most at the 40 % quantile. Equal training: PC-NAS's supernet (warm-up and
intervals) and the one-shot supernet train for the same number of epochs. (a) Fig. 2b: the candidates of the last pool,
and random feasible architectures, each trained from scratch; the correlation with their accuracy with inherited weights
(the paper: Pearson 0.11 one-shot, 0.92 PC-NAS). (b) Table 3: winners trained from scratch. (c) Fig. 2a. (d) the share
of draws that dumping leaves, and the agreement of potentials with those of 40 times as many draws. (e) the potentials
of one interval with and without the prefix tree, in the same run. nasbench-macro: the table as evaluator instead of a
supernet, 20 seeds. The figures show directions at this size, not the paper's figures.
"""
EPOCHS, WARMUP = 1, 8


class Frozen:
    """An engine whose supernet is trained already."""

    def __init__(self, engine: PcnasEngine, supernet) -> None:
        self._engine = engine
        engine.supernet = supernet

    def train(self, stage: int, path) -> None:
        pass

    def quick_accuracies(self, codes, rng):
        return self._engine.quick_accuracies(codes, rng)


class TableEngine:
    """nasbench-macro's mean accuracies."""

    def __init__(self, table: dict[tuple[int, ...], float]) -> None:
        self.table, self.seen = table, set()

    def train(self, stage: int, path) -> None:
        pass

    def quick_accuracies(self, codes, rng):
        self.seen.update(map(tuple, codes.tolist()))
        return np.array([self.table[tuple(row)] for row in codes.tolist()])


def engine_of(space, data, seed: int, warmup: int, interval: int) -> PcnasEngine:
    recipe = Recipe(1, 64, shift=1, label_smoothing=0.0, floor=5e-4)
    return PcnasEngine(
        space, data, recipe, warmup=warmup, interval=interval, stages=len(space.layers), seed=seed, file=None,
        progress=Silent(),
    )  # fmt: skip


def evolve(feasible, supernet, data, seed: int, count: int) -> tuple[int, ...]:
    judge, scores = SupernetEvaluator(supernet, data, calibration=256), {}
    searcher = SposSearcher(
        feasible, SposSettings(population=20, generations=20), np.random.default_rng(seed)
    )
    best_so_far(searcher, judge, count, scores)
    return max(scores, key=scores.__getitem__)


def main() -> None:
    quick = parse_arguments(__doc__ or "").quick
    torch.set_num_threads(1)
    start = time.time()
    data = images(5000, quick)
    space = load_space("pcnas-small-mini:width=0.25" if quick else "pcnas-small-mini:width=0.5")
    macs = counted(space, "macs")
    draws = macs(space.sample(4000, np.random.default_rng(0)))

    def within(share: float) -> FeasibleSet:
        return FeasibleSet(
            space, [BoundedCost(Constraint("macs", -np.inf, float(np.quantile(draws, share))), macs)]
        )

    feasible = within(0.4)
    rows: list[list[str]] = []
    seeds, warmup, interval = (1, 1, 0) if quick else (3, WARMUP, EPOCHS)
    hyper = PcnasSettings(pool=2 if quick else 3, draws=2 if quick else 32, warmup=warmup, interval=interval)
    train = Recipe(1 if quick else 5, 64, shift=1, label_smoothing=0.0)
    table3: dict[tuple[str, str], list[float]] = {}
    ranks: dict[str, list[tuple[float, float]]] = {}
    shared_one = None
    for seed in range(seeds):
        engine = engine_of(space, data, seed, warmup, interval)
        history = PcnasSearch(feasible, hyper, seed, StateFile(None)).grow(engine, Silent())
        total = warmup + interval * len(space.layers)
        shared = one_shot(
            space, data, Recipe(max(1, total), 64, shift=1, label_smoothing=0.0, floor=5e-4), seed
        )
        shared_one = shared
        finals = [m.choices for m in history[-1].candidates if np.isfinite(m.potential)]
        finals = finals[: 3 if quick else 30]
        random = [tuple(c) for c in feasible.sample(3 if quick else 30, np.random.default_rng([seed, 9])).tolist()]  # fmt: skip
        for name, group in (("last candidates", finals), ("random feasible", random)):
            truth = np.array([alone(space, code, data, train, seed) for code in group])
            codes = np.array(group, dtype=space.dtype)
            for way, net in (("PC-NAS", engine.supernet), ("one-shot", shared)):
                guess = inherited(net, data, codes)
                pearson = correlation(guess, truth, "pearson")
                kendall = correlation(guess, truth)
                ranks.setdefault(f"{name}, {way}", []).append((pearson[0], kendall[0]))
                rows.append([f"(a) seed {seed}, {name}, {way}", f"Pearson {pearson[0]:.2f} [{pearson[1]:.2f}, {pearson[2]:.2f}], Kendall {kendall[0]:.2f} [{kendall[1]:.2f}, {kendall[2]:.2f}]"])  # fmt: skip
            rows.append([f"(a) seed {seed}, {name}: accuracies alone", of(truth)])
        ours_ours = history[-1].pool[0].choices
        frozen = Frozen(engine_of(space, data, seed, warmup, interval), shared)
        one_ours = (
            PcnasSearch(feasible, hyper, seed, StateFile(None)).grow(frozen, Silent())[-1].pool[0].choices
        )
        count = 12 if quick else 100
        winners = {
            ("our training", "our search"): ours_ours,
            ("one-shot", "our search"): one_ours,
            ("our training", "EA"): evolve(feasible, engine.supernet, data, seed, count),
            ("one-shot", "EA"): evolve(feasible, shared, data, seed, count),
            ("none", "random"): random[0],
        }
        for name, code in winners.items():
            assert feasible.contains(np.array([code]))[0]
            table3.setdefault(name, []).append(alone(space, code, data, train, 100 + seed))
    for (training, search), found in table3.items():
        rows.append([f"(b) {training}, {search}", of(found)])
    for name, found in ranks.items():
        p, k = np.array(found).T
        rows.append([f"(a) mean over seeds, {name}", f"Pearson {p.mean():.2f}, Kendall {k.mean():.2f}"])
    for pool, count in ((1, 2),) if quick else ((1, 4), (1, 32), (3, 4), (5, 32)):
        found = []
        for seed in range(1 if quick else 2):
            one = engine_of(space, data, seed, warmup, interval)
            settings = PcnasSettings(pool=pool, draws=count, warmup=warmup, interval=interval)
            grown = PcnasSearch(feasible, settings, seed, StateFile(None)).grow(one, Silent())
            found.append(alone(space, grown[-1].pool[0].choices, data, train, 100 + seed))
        rows.append([f"(c) P = {pool}, S = {count}", of(found)])
    judge = Frozen(engine_of(space, data, 0, warmup, interval), shared_one)
    few = 8 if quick else 60
    prefixes = [(a, b) for a in range(3) for b in range(9)][: 4 if quick else 27]
    for share in (0.5, 0.1, 0.01):
        inside = within(share)
        left, agree = {}, {}
        many = PcnasSearch(inside, PcnasSettings(draws=few * (2 if quick else 20)), 5, StateFile(None)).potentials(judge, prefixes, 2)  # fmt: skip
        for dump in (False, True):
            one = PcnasSearch(inside, PcnasSettings(draws=few, dump=dump), 1, StateFile(None))
            left[dump] = np.mean([len(one.completions(p, np.random.default_rng(i))) / few for i, p in enumerate(prefixes)])  # fmt: skip
            given = one.potentials(judge, prefixes, 2)
            both = np.isfinite(given) & np.isfinite(many)
            agree[dump] = (correlation(given[both], many[both])[0] if both.sum() > 3 else np.nan, int(np.isfinite(given).sum()))  # fmt: skip
        rows.append([f"(d) feasible share {share}", f"draws left: exact {left[False]:.0%}, dumping {left[True]:.1%}; agreement with many draws: {agree[False][0]:.2f} ({agree[False][1]} of {len(prefixes)} prefixes ranked) against {agree[True][0]:.2f} ({agree[True][1]})"])  # fmt: skip
    rng = np.random.default_rng(0)
    late = np.concatenate([feasible.sample(3 if quick else 30, rng, tuple(p)) for p in feasible.sample(3, rng)[:, :5].tolist()])  # fmt: skip
    x, y = data.validation.images[:128], data.validation.labels[:128]
    begun = time.perf_counter()
    PrefixTree(shared_one, late[np.lexsort(late.T[::-1])].tolist()).quick_accuracies(x, y)
    middle = time.perf_counter()
    for row in late.tolist():
        PrefixTree(shared_one, [row]).quick_accuracies(x, y)
    speed = (time.perf_counter() - middle) / (middle - begun)
    rows.append(
        [f"(e) prefix tree, {len(late)} completions of 3 prefixes of 5 layers", f"{speed:.1f} times as fast"]
    )
    targets = [
        Target("(a) last candidates: mean Pearson, PC-NAS", float(np.mean([p for p, _ in ranks["last candidates, PC-NAS"]])), 0.92, True),
        Target("(b) our training and search over one-shot and EA, points", (np.mean(table3["our training", "our search"]) - np.mean(table3["one-shot", "EA"])) * 100, 0.0, True),
    ]  # fmt: skip
    folder = data_folder()
    if folder is not None and not quick:
        csv = pd.read_csv(folder / "nasbench_macro" / "nasbench_macro.csv", dtype={"arch": str})
        table = {tuple(int(c) for c in a): float(v) for a, v in zip(csv.arch, csv.acc, strict=True)}
        macro = load_space("nasbench-macro")
        cost = counted(macro, "macs")
        for limit in (40e6, 60e6, 90e6):
            inside = FeasibleSet(macro, [BoundedCost(Constraint("macs", -np.inf, limit), cost)])
            best = max(v for c, v in table.items() if cost(np.array([c]))[0] <= limit)
            regrets, counts = [], []
            for seed in range(20):
                engine = TableEngine(table)
                history = PcnasSearch(inside, PcnasSettings(pool=5, draws=16), seed, StateFile(None)).grow(engine, Silent())  # fmt: skip
                regrets.append(best - max(table[m.choices] for m in history[-1].pool))
                counts.append(len(engine.seen))
            rows.append([f"nasbench-macro, {limit / 1e6:.0f}M MACs: regret of the pool's best, points", f"{np.mean(regrets):.3f} [{min(regrets):.3f}, {max(regrets):.3f}], {np.mean(counts):.0f} architectures looked up"])  # fmt: skip
    rows.append(["minutes", f"{(time.time() - start) / 60:.1f}"])
    write("pcnas", ["what", "figure"], rows, targets, NOTES, quick)


if __name__ == "__main__":
    main()
