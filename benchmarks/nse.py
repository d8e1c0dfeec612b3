"""NSE at small scale: what rounds, locks, small subsets and thresholds do to the space; against searches at equal cost."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch

from benchmarks._report import Target, parse_arguments, spread, write
from benchmarks._studies import alone, images, inherited, of, one_shot
from nascli.costmodel import Budget, Constraint, FeasibleSet, counted
from nascli.errors import InfeasibleError
from nascli.pipeline.engines import NseEngine
from nascli.progress import Silent
from nascli.search.nse import Nse, NseSearch, restricted_cost, widened
from nascli.search.state import StateFile
from nascli.spaces import load_space
from nascli.supernet.fitness import Fitness, FitnessSettings
from nascli.supernet.recipe import Recipe
from nascli.supernet.supernet import Supernet
from nascli.supernet.training import Trainer

NOTES = """
Fashion-MNIST at 14x14 (4,000 images for training and validation, 4,000 for the test), NSE's 19 operations in 7 thin layers,
at most 3 branches, K = 4, three rounds, MACs within the 1 % to 6 % quantile of random networks. (a) Fig. 4 and 5: random
architectures of the window, trained from scratch, drawn from each round's initial subset, what simplification left, and
the aggregated one. (b) without lock and rehearse. (c) K = 9, one round, as many epochs in all. (d) equal supernet training:
one-shot (uniform paths over all 19, best of as many evaluations), ProxylessNAS-style (indicators over all 19, the most
probable architecture of the window), random. (f) pruning thresholds. Each winner is trained from scratch. Step: a fitness
update against a weight step of the same supernet, turn by turn. Directions at this size, not the paper's figures.
"""
WEIGHTS = FitnessSettings(start=0.25)


def recipe_of(epochs: int) -> Recipe:
    return Recipe(epochs, 64, rate=0.3, shift=1, label_smoothing=0.0)


class Study:
    def __init__(self, quick: bool) -> None:
        self.quick = quick
        self.data = images(4000, quick)
        self.space = load_space("nse-19-mini:width=0.5")
        self.cost = counted(self.space, "macs")
        draws = self.cost(self.space.sample(4000, np.random.default_rng(0)))
        low, high = (float(q) for q in np.quantile(draws, [0.01, 0.06]))
        self.budget = Budget(Constraint("macs", low, high), self.cost)
        self.epochs = 1 if quick else 8
        self.train = Recipe(1 if quick else 4, 64, rate=0.2, shift=1, label_smoothing=0.0)

    def evolve(self, seed: int, rounds: int = 3, epochs: int | None = None, **values):
        settings = Nse(**{"candidates": 4, "samples": 8 if self.quick else 80, "beyond": 2 if self.quick else 15, "rounds": rounds, **values})  # fmt: skip
        search = NseSearch(self.space, self.budget, settings, seed, StateFile(None))
        engine = NseEngine(
            self.data, recipe_of(epochs or self.epochs), WEIGHTS, target=search.target, seed=seed, folder=None,
            progress=Silent(), calibration=128,
        )  # fmt: skip
        return search.evolve(engine, Silent())

    def alone(self, code: Sequence[int], seed: int) -> float:
        return alone(self.space, code, self.data, self.train, seed)

    def sampled(self, kept: Sequence[Sequence[int]], seed: int, n: int) -> list[float]:
        """Test accuracies of random architectures of a subset, inside the window."""
        kept = [tuple(chosen) for chosen in kept]
        filled = [chosen or (0,) for chosen in kept]
        space = self.space.restricted("subset", filled)
        cost = restricted_cost(self.cost, filled)
        try:
            feasible = FeasibleSet(space, [Budget(self.budget.constraint, cost)])
            codes = feasible.sample(n, np.random.default_rng([seed, 77]))
        except InfeasibleError:
            return []
        return [self.alone(row, seed) for row in widened(codes, filled).tolist()]


def simplified(round_) -> list[tuple[int, ...]]:
    return [
        tuple(i for i, stays in zip(chosen, alive, strict=True) if stays)
        for chosen, alive in zip(round_.subset, round_.trained.alive, strict=True)
    ]


def winner_of(rounds) -> tuple[int, ...]:
    return max(rounds[-1].front, key=lambda p: p.accuracy).codes


def proxyless(study: Study, seed: int, epochs: int) -> tuple[int, ...]:
    """Indicators over all operations at once; the most probable architecture in the window."""
    search = NseSearch(study.space, study.budget, Nse(candidates=19, samples=1, beyond=0, rounds=1), seed, StateFile(None))  # fmt: skip
    engine = NseEngine(
        study.data, recipe_of(epochs), WEIGHTS, target=search.target, seed=seed, folder=None, progress=Silent(), calibration=128
    )  # fmt: skip
    trained = engine.train(0, study.space, study.cost, lambda thetas, alive: [list(a) for a in alive])
    feasible = FeasibleSet(study.space, [study.budget])
    codes = feasible.sample(4000, np.random.default_rng(seed))
    # log p(a) of independent branches.
    total = np.zeros(len(codes))
    for layer, theta in enumerate(trained.thetas):
        p = 1 / (1 + np.exp(-np.array(theta)))
        gates = (codes[:, layer : layer + 1] >> np.arange(len(p))) & 1
        total += (gates * np.log(p) + (1 - gates) * np.log(1 - p)).sum(axis=1)
    return tuple(codes[int(np.argmax(total))].tolist())


def step_times(study: Study, turns: int) -> list[float]:
    space = study.space.restricted("four", [tuple(range(0, 16, 4))] * len(study.space.layers))
    torch.manual_seed(0)
    supernet = Supernet(space)
    fitness = Fitness(supernet, counted(space, "macs"), study.budget.constraint.high, WEIGHTS, 0)
    rng = np.random.default_rng(0)
    trainer = Trainer(
        supernet, study.data.train, Recipe(100, 64), seed=0, path=lambda step: space.sample(1, rng)[0].tolist()
    )  # fmt: skip
    x, y = study.data.validation.images[:64], study.data.validation.labels[:64]
    ratios = []
    for turn in range(turns):
        begun = time.perf_counter()
        trainer.run(None, "x", Silent(), "t", until=trainer.step + 8)
        middle = time.perf_counter()
        for number in range(8):
            fitness.step(8 * turn + number, x, y)
        if turn:
            ratios.append((time.perf_counter() - middle) / (middle - begun))
    return ratios


def main() -> None:
    quick = parse_arguments(__doc__ or "").quick
    torch.set_num_threads(1)
    start = time.time()
    study = Study(quick)
    seeds = 1 if quick else 3
    few = 1 if quick else 5
    rows: list[list[str]] = []
    ratios = step_times(study, 3 if quick else 8)
    rows.append(["fitness update / weight step", spread(ratios)])
    spaces: dict[str, list[float]] = {}
    winners: dict[str, list[float]] = {}
    for seed in range(seeds):
        rounds = study.evolve(seed, rounds=2 if quick else 3)
        for number, one in enumerate(rounds, 1):
            kinds = [("aggregated", one.aggregated)]
            if number == 1:
                kinds = [("initial", one.subset), ("simplified", simplified(one)), *kinds]
            for kind, kept in kinds:
                spaces.setdefault(f"round {number}, {kind}", []).extend(study.sampled(kept, seed, few))
        winners.setdefault("NSE, K = 4, three rounds", []).append(study.alone(winner_of(rounds), 50 + seed))
        free = study.evolve(seed, rounds=1 if quick else 3, lock=False, rehearse=False)
        winners.setdefault("(b) without lock and rehearse", []).append(
            study.alone(winner_of(free), 50 + seed)
        )
        if not quick:
            large = study.evolve(seed, rounds=1, epochs=3 * study.epochs, candidates=9)
            winners.setdefault("(c) K = 9, one round", []).append(study.alone(winner_of(large), 50 + seed))
        feasible = FeasibleSet(study.space, [study.budget])
        count = 10 if quick else 285
        shared = one_shot(study.space, study.data, recipe_of(3 * study.epochs), seed)
        codes = feasible.sample(count, np.random.default_rng(seed))
        best = codes[int(np.argmax(inherited(shared, study.data, codes, 128)))]
        winners.setdefault("(d) one-shot over all 19", []).append(study.alone(best.tolist(), 50 + seed))
        code = proxyless(study, seed, 3 * study.epochs)
        winners.setdefault("(d) ProxylessNAS-style over all 19", []).append(study.alone(code, 50 + seed))
        random = feasible.sample(few, np.random.default_rng([seed, 5]))
        winners.setdefault("(d) random in the window", []).extend(study.alone(c, 50 + seed) for c in random.tolist())  # fmt: skip
        for threshold in () if quick else (-1.0, -4.0):
            one = study.evolve(seed, rounds=1, threshold=threshold)
            spaces.setdefault(f"(f) round 1 aggregated, threshold {threshold:g}", []).extend(study.sampled(one[0].aggregated, seed, few))  # fmt: skip
    for name, found in spaces.items():
        if found:
            error = np.std(found) / np.sqrt(len(found)) * 196
            rows.append([f"(a) {name}" if name.startswith("round") else name, f"{of(found)}, mean ± {error:.1f}, {len(found)} networks"])  # fmt: skip
    for name, found in winners.items():
        rows.append([name, of(found)])
    rows.append(["minutes", f"{(time.time() - start) / 60:.1f}"])
    first, last = spaces["round 1, initial"], spaces[max(k for k in spaces if k.startswith("round") and k.endswith("aggregated"))]  # fmt: skip
    targets = [
        Target("fitness update / weight step", float(np.median(ratios)), 2.2, False),
        Target("space after the last round over the initial one, points", (np.mean(last) - np.mean(first)) * 100, 0.0, True),
        Target("NSE's winner over random in the window, points", (np.mean(winners["NSE, K = 4, three rounds"]) - np.mean(winners["(d) random in the window"])) * 100, 0.0, True),
    ]  # fmt: skip
    write("nse", ["what", "figure"], rows, targets, NOTES, quick)


if __name__ == "__main__":
    main()
