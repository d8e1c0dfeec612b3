"""SPOS at small scale: evolution compared with random search, how well a supernet ranks, and mixed precision."""

from __future__ import annotations

import time

import numpy as np
import torch

from benchmarks._report import Target, parse_arguments, write
from benchmarks._studies import alone, correlation, images, inherited, of, one_shot
from nascli.costmodel import BoundedCost, Constraint, FeasibleSet, counted
from nascli.search.base import Score
from nascli.search.searchers.random import RandomSearcher
from nascli.search.spos.search import SposSearcher
from nascli.search.spos.settings import SposSettings
from nascli.spaces import load_space
from nascli.supernet.evaluation.accuracy import SupernetEvaluator
from nascli.supernet.training.recipe import Recipe

NOTES = """
Data: Fashion-MNIST at 14x14 (8,000 images for training and validation, 4,000 for the test). Evolution compared with
random search (Fig. 3): the same trained supernet, the same number of evaluations, and the best validation top-1 with
inherited weights so far, under a MAC budget at the 40 % quantile; 5 seeds. Ranking: the accuracy of uniformly drawn
architectures with inherited weights compared with training from scratch, with 95 % bootstrap intervals. Mixed
precision: 3 seeds; a bottleneck width and a pair of bit widths per block, and BitOps at most those of uniform 2W2A. The
winner and the uniform network are both trained from scratch. The data are small and the training is short: the figures
show directions, not the paper's figures.
"""


def best_so_far(searcher, evaluate, count: int, cache: dict) -> list[float]:
    best, line = 0.0, []
    while len(line) < count:
        codes = searcher.ask()
        if not len(codes):
            break
        scores = []
        for row in codes.tolist():
            key = tuple(row)
            if key not in cache:
                cache[key] = evaluate(row).top1
            scores.append(Score(cache[key]))
            best = max(best, cache[key])
            line.append(best)
        searcher.tell(codes, scores)
    return line[:count]


def main() -> None:
    quick = parse_arguments(__doc__ or "").quick
    torch.set_num_threads(1)
    data = images(8000, quick)
    rows: list[list[str]] = []
    start = time.time()
    spec = "spos-mini:resolution=14,width=0.75"
    space = load_space(spec)
    recipe = Recipe(epochs=1 if quick else 12, batch=64, shift=1)
    supernet = one_shot(space, data, recipe, seed=0)
    macs = counted(space, "macs")
    limit = float(np.quantile(macs(space.sample(2000, np.random.default_rng(0))), 0.4))
    feasible = FeasibleSet(space, [BoundedCost(Constraint("macs", -np.inf, limit), macs)])
    evaluate, cache = SupernetEvaluator(supernet, data, calibration=256), {}
    count, seeds = (16, 2) if quick else (200, 5)
    lines: dict[str, list[list[float]]] = {"evolution": [], "random": []}
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        searcher = SposSearcher(feasible, SposSettings(population=20, generations=50), rng)
        lines["evolution"].append(best_so_far(searcher, evaluate, count, cache))
        lines["random"].append(best_so_far(RandomSearcher(feasible, count, rng), evaluate, count, cache))
    for at in (count // 4, count // 2, count):
        for name, found in lines.items():
            rows.append([f"{name}, best of {at} evaluations", of([line[at - 1] for line in found], 2)])
    ahead = float(np.mean([e[-1] - r[-1] for e, r in zip(lines["evolution"], lines["random"], strict=True)]))
    rows.append(["evolution over random at the end, points", f"{ahead * 100:+.2f}"])
    n = 4 if quick else 30
    codes = space.sample(n, np.random.default_rng(5))
    shared = inherited(supernet, data, codes)
    short = Recipe(epochs=1 if quick else 5, batch=64, shift=1)
    truth = np.array([alone(space, c.tolist(), data, short, 0) for c in codes])
    tau, low, high = correlation(shared, truth)
    rows.append(
        [f"Kendall tau, supernet against alone, {n} architectures", f"{tau:.2f} [{low:.2f}, {high:.2f}]"]
    )
    rows.append(["range of accuracies alone", of(truth)])
    bits = load_space("spos-resnet18-bits-mini:width=0.5")
    bitops = counted(bits, "bitops")
    # Width 1 and (2, 2) bits in every block: the candidates run over widths, then over pairs of bits.
    uniform = np.full((1, len(bits.layers)), 7, dtype=bits.dtype)
    budget = float(bitops(uniform)[0])
    inside = FeasibleSet(bits, [BoundedCost(Constraint("bitops", -np.inf, budget), bitops)])
    gains, met = [], []
    for seed in range(1 if quick else 3):
        net = one_shot(bits, data, Recipe(epochs=1 if quick else 16, batch=64, shift=1, rate=0.05), seed=seed)
        judge = SupernetEvaluator(net, data, calibration=256)
        searcher = SposSearcher(inside, SposSettings(population=20, generations=2 if quick else 6), np.random.default_rng(seed))  # fmt: skip
        scores: dict[tuple[int, ...], float] = {}
        best_so_far(searcher, judge, 20 if quick else 120, scores)
        winner = max(scores, key=scores.__getitem__)
        train = Recipe(epochs=1 if quick else 10, batch=64, shift=1, rate=0.05)
        ours = alone(bits, winner, data, train, seed)
        plain = alone(bits, uniform[0].tolist(), data, train, seed)
        spent = float(bitops(np.array([winner]))[0])
        gains.append(ours - plain)
        met.append(spent <= budget)
        rows.append([f"mixed precision, seed {seed}: searched against uniform 2W2A", f"{ours:.1%} against {plain:.1%} at {spent / budget:.2f} of its BitOps"])  # fmt: skip
    rows.append(["minutes", f"{(time.time() - start) / 60:.1f}"])
    targets = [
        Target("evolution over random, points at equal evaluations", ahead * 100, 0.0, True),
        Target("mixed precision: winners within their BitOps", float(np.mean(met)), 1.0, True),
        Target("mixed precision: mean gain over uniform, points", float(np.mean(gains)) * 100, 0.0, True),
    ]
    write("spos", ["what", "figure"], rows, targets, NOTES, quick)


if __name__ == "__main__":
    main()
