"""AutoSpace at small scale: networks found in the learned space against those of inverted residuals, at equal cost."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch

from benchmarks._report import Target, parse_arguments, write
from benchmarks._studies import alone, images, of, one_shot
from benchmarks.spos import best_so_far
from nascli.costmodel import Budget, Constraint, FeasibleSet, counted
from nascli.pipeline.autospace import learn_cells
from nascli.progress import Silent
from nascli.search.autospace import AutoSpace, first_population, madds, mutate
from nascli.search.spos import Evolution, SposSearcher
from nascli.spaces import load_space, make_space
from nascli.spaces.primitives import Shape
from nascli.supernet.evaluation import SupernetEvaluator
from nascli.supernet.recipe import Recipe

NOTES = """
Fashion-MNIST at 14x14 (4,000 images for training and validation, 4,000 for the test), 7 thin layers. The paper's own
criterion: from the learned space and from inverted residuals of kernels 3, 5 and 7 (with skips in both), SPOS finds a
network for each of three MAC budgets, equal training and evaluations; winners trained from scratch, 2 seeds. The learning
itself costs the learned space about as much again as a supernet. Ablations: without gradient compensation, without the
reference graph. Diversity: share of distinct cells in the population. Update: mutation, MAdds and distance of 1,000 x 21
cells. Directions at this size, not the paper's figures.
"""


def winner(space, supernet, data, limit: float, seed: int, count: int) -> tuple[int, ...] | None:
    macs = counted(space, "macs")
    if macs.least > limit:
        return None
    feasible = FeasibleSet(space, [Budget(Constraint("macs", -np.inf, limit), macs)])
    scores: dict[tuple[int, ...], float] = {}
    searcher = SposSearcher(feasible, Evolution(population=16, generations=20), np.random.default_rng(seed))
    best_so_far(searcher, SupernetEvaluator(supernet, data, calibration=128), count, scores)
    return max(scores, key=scores.__getitem__)


def main() -> None:
    quick = parse_arguments(__doc__ or "").quick
    torch.set_num_threads(1)
    start = time.time()
    data = images(4000, quick)
    places = load_space("autospace-mini:width=0.5")
    settings = AutoSpace(
        cells=4, population=60, first_team=5, last_team=20, warmup=1 if quick else 3, evolution=1 if quick else 7,
        frequency=10, reference_epochs=1 if quick else 4,
    )  # fmt: skip
    recipe = Recipe(1, 64, shift=1, label_smoothing=0.0)
    train = replace(recipe, epochs=1 if quick else 6)
    short = replace(recipe, epochs=1 if quick else 4)
    macs = counted(places, "macs")
    draws = macs(places.sample(2000, np.random.default_rng(0)))
    budgets = [float(q) for q in np.quantile(draws, [0.5] if quick else [0.15, 0.4, 0.8])]
    variants = {"learned": settings}
    if not quick:
        variants["without compensation"] = replace(settings, compensation=0.0)
        variants["without the reference graph"] = replace(settings, reference_epochs=0, distance=6)
    found: dict[str, dict[float, list[float]]] = {}
    rows: list[list[str]] = []
    for seed in range(1 if quick else 2):
        spaces = {"inverted residuals": places}
        for name, chosen in variants.items():
            learned = learn_cells(places, data, chosen, recipe, seed=seed, file=None, progress=Silent())
            spaces[name] = make_space("autospace-mini", width=0.5, cells=learned.text)
            if learned.history:
                first, last = learned.history[0], learned.history[-1]
                rows.append([f"seed {seed}, {name}: fitness mean and largest, distinct cells", f"{first[0]:.2f}, {first[1]:.2f}, {first[2]:.0%} at first; {last[0]:.2f}, {last[1]:.2f}, {last[2]:.0%} at the end"])  # fmt: skip
        for name, space in spaces.items():
            supernet = one_shot(space, data, train, seed)
            for limit in budgets:
                code = winner(space, supernet, data, limit, seed, 16 if quick else 40)
                if code is not None:
                    found.setdefault(name, {}).setdefault(limit, []).append(
                        alone(space, code, data, short, seed)
                    )
    for name, by_limit in found.items():
        for limit, values in by_limit.items():
            rows.append([f"{name}, at most {limit / 1e6:.2f}M MACs", of(values)])
    paper, rng = AutoSpace(), np.random.default_rng(0)
    cells = first_population(2 if quick else 21, paper, rng)
    begun = time.perf_counter()
    mutate(cells, 1, paper, rng, near=True, limits=[(Shape(24, 28, 28), 24, 1, 1e9)] * len(cells))
    madds(cells, Shape(24, 28, 28), 24, 1)
    update = time.perf_counter() - begun
    rows.append(["an update of 1,000 x 21 cells", f"{update:.2f} s"])
    rows.append(["minutes", f"{(time.time() - start) / 60:.1f}"])
    plain, ours = found["inverted residuals"], found["learned"]
    gains = [
        np.mean(ours[limit]) - np.mean(plain[limit]) for limit in budgets if limit in ours and limit in plain
    ]
    targets = [
        Target("an update of 1,000 x 21 cells, seconds", update, 1.0, False),
        Target("learned over inverted residuals, points, worst budget", float(np.min(gains or [np.nan])) * 100, 0.0, True),
    ]  # fmt: skip
    write("autospace", ["what", "figure"], rows, targets, NOTES, quick)


if __name__ == "__main__":
    main()
