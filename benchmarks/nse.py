"""NSE at small scale: the effects of rounds, locks, small subsets, and thresholds, and other searches at equal cost."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch

from benchmarks._report import Target, parse_arguments, spread, write
from benchmarks._studies import alone, images, in_processes, inherited, of, one_shot, paired
from benchmarks.spos import best_so_far
from nascli.costmodel import BoundedCost, Constraint, FeasibleSet, best, counted
from nascli.costmodel.feasible import BranchWeights
from nascli.errors import ConstraintError, InfeasibleError
from nascli.progress import Silent
from nascli.search.nse.engine import NseEngine
from nascli.search.nse.fitness import FitnessIndicators, branch_probability, truncated_bernoulli
from nascli.search.nse.rounds import widen_choices
from nascli.search.nse.search import NseSearch
from nascli.search.nse.settings import NseSettings
from nascli.search.run_folder import StateFile
from nascli.search.spos.search import SposSearcher
from nascli.search.spos.settings import SposSettings
from nascli.spaces import load_space
from nascli.supernet.evaluation.accuracy import SupernetEvaluator
from nascli.supernet.separate import Supernet
from nascli.supernet.training.recipe import ArchitectureParameterSettings, Recipe
from nascli.supernet.training.trainer import Trainer

NOTES = """
Data: Fashion-MNIST at 14x14 (3,000 images for training and validation, 4,000 for the test). The space has NSE's 19
operations in 7 thin layers, with at most 3 branches. K = 4, three rounds, MACs within the 1 % to 6 % quantile of random
networks; 2 seeds, whose differences are paired. Indicators move little in trainings as short as these. The pruning
threshold is therefore -1 and not the paper's -2, below which hardly any operation falls here (f). (a) Fig. 4 and 5:
random architectures of the window, trained from scratch, drawn from each round's initial subset, from the subset after
simplification, and from the aggregated subset, together with the round's Pareto front and their MACs. (b) without lock
and rehearse, and how often either acted. (c) K = 10 in two rounds, with the same number of epochs and evaluations in
total. (d) equal supernet epochs and evaluations: one-shot with the best of uniform draws, SPOS's evolution on the same
supernet, ProxylessNAS-style (indicators over all 19 operations, paths drawn by them, the most probable architecture of
the window), and random. (f) other pruning thresholds, after one round. Each winner is trained twice. Two trainings of
one network differ by about 1.2 points in a similar setting (ranking_ceiling), so two seeds show only large differences.
Step: a fitness update compared with a weight step of the same supernet, alternating, with the indicators held constant.
The figures show directions at this size, not the paper's figures.
"""
WEIGHTS = ArchitectureParameterSettings(start=0.25)
TRAININGS = 2
THRESHOLD = -1.0


def recipe_of(epochs: int) -> Recipe:
    return Recipe(epochs, 64, rate=0.3, shift=1, label_smoothing=0.0)


class Study:
    def __init__(self, quick: bool) -> None:
        self.quick = quick
        self.data = images(3000, quick)
        self.space = load_space("nse-19-mini:width=0.25,branches=2" if quick else "nse-19-mini:width=0.5")
        self.cost = counted(self.space, "macs")
        draws = self.cost(self.space.sample(4000, np.random.default_rng(0)))
        low, high = (float(q) for q in np.quantile(draws, [0.01, 0.06]))
        self.budget = BoundedCost(Constraint("macs", low, high), self.cost)
        self.epochs = 1 if quick else 8
        self.samples, self.beyond = (8, 2) if quick else (40, 8)
        self.train = Recipe(1 if quick else 3, 64, rate=0.2, shift=1, label_smoothing=0.0)

    def evolve(self, seed: int, *, epochs: int | None = None, **values):
        given = {
            "candidates": 4,
            "samples": self.samples,
            "beyond": self.beyond,
            "rounds": 1 if self.quick else 3,
            "threshold": THRESHOLD,
        }
        search = NseSearch(self.space, self.budget, NseSettings(**{**given, **values}), seed, StateFile(None))
        engine = NseEngine(
            self.data, recipe_of(epochs or self.epochs), WEIGHTS, target=search.target, seed=seed, folder=None,
            progress=Silent(), calibration=128,
        )  # fmt: skip
        return search.evolve(engine, Silent())

    def once(self, code: Sequence[int], seed: int) -> float:
        return alone(self.space, code, self.data, self.train, seed)

    def judged(self, code: Sequence[int], seed: int) -> float:
        """Mean test accuracy of several trainings."""
        return float(
            np.mean([self.once(code, 1000 * seed + n) for n in range(1 if self.quick else TRAININGS)])
        )

    def sampled(self, kept: Sequence[Sequence[int]], seed: int, n: int) -> list[tuple[float, float]]:
        """MACs and test accuracy of random architectures of a subset, inside the window."""
        # A layer that lost all its operations is skipped: the one that stands in for them is never taken.
        subset = [tuple(chosen) or (0,) for chosen in kept]
        space = self.space.restricted("subset", subset)
        weights = [
            BranchWeights(np.full(len(some), float(bool(chosen))), np.ones(len(some)))
            for chosen, some in zip(kept, subset, strict=True)
        ]
        cost = counted(space, "macs")
        try:
            feasible = FeasibleSet(space, [BoundedCost(self.budget.constraint, cost)])
            codes = feasible.weighted(weights, n, np.random.default_rng([seed, 77]))
        except (InfeasibleError, ConstraintError):
            return []
        return [
            (float(macs), self.once(row, seed))
            for macs, row in zip(cost(codes), widen_choices(codes, subset).tolist(), strict=True)
        ]


def simplified(round_) -> list[tuple[int, ...]]:
    return [
        tuple(i for i, stays in zip(chosen, alive, strict=True) if stays)
        for chosen, alive in zip(round_.subset, round_.trained.alive, strict=True)
    ]


def acted(rounds) -> str:
    """What simplification dropped, what locks held against it, and what rehearsal brought back."""
    dropped = held = back = 0
    for one in rounds:
        dropped += sum(not stays for alive in one.trained.alive for stays in alive)
        for chosen, old, thetas, alive in zip(
            one.subset, one.inherited, one.trained.thetas, one.trained.alive, strict=True
        ):
            held += sum(
                stays and i in old and theta < THRESHOLD
                for i, theta, stays in zip(chosen, thetas, alive, strict=True)
            )
        back += sum(point.rehearsed for point in one.front)
    return f"{dropped} dropped, {held} held by locks, {back} of a former front on the new one"


def winner_of(rounds) -> tuple[int, ...]:
    return max(rounds[-1].front, key=lambda p: p.accuracy).architecture


def proxyless(study: Study, feasible: FeasibleSet, seed: int, epochs: int) -> tuple[int, ...]:
    """Indicators over all operations at once, paths drawn by them; the most probable architecture of the window."""
    torch.manual_seed(seed)
    supernet = Supernet(study.space)
    fitness = FitnessIndicators(supernet, study.cost, study.budget.constraint.low, WEIGHTS, seed)
    validation = study.data.validation

    def path(step: int) -> list[int]:
        rng = np.random.default_rng([seed, 91, step])
        code = []
        for layer, theta in zip(study.space.layers, fitness.thetas, strict=True):
            p = branch_probability(theta.detach()).double().numpy()
            (gates,) = truncated_bernoulli(p, layer.min_branches, layer.max_branches, 1, rng)
            code.append(int(sum(1 << int(i) for i in np.flatnonzero(gates))))
        return code

    def after(step: int) -> None:
        if step % 2 and step >= WEIGHTS.start * trainer.steps:
            rows = np.random.default_rng([seed, 92, step]).integers(0, len(validation), 64)
            fitness.step(step, validation.images[rows], validation.labels[rows])

    trainer = Trainer(
        supernet, study.data.train, recipe_of(epochs), seed=seed, path_of_step=path, on_step_end=after
    )
    trainer.run(None, "study", Silent(), "")
    odds = [
        np.log(p / (1 - p)) for p in (branch_probability(t.detach()).double().numpy() for t in fitness.thetas)
    ]
    return tuple(int(c) for c in best(feasible, odds))


def step_times(study: Study, turns: int) -> list[float]:
    space = study.space.restricted("four", [tuple(range(0, 16, 4))] * len(study.space.layers))
    torch.manual_seed(0)
    supernet = Supernet(space)
    still = ArchitectureParameterSettings(rate=0.0)
    fitness = FitnessIndicators(supernet, counted(space, "macs"), study.budget.constraint.high, still, 0)
    rng = np.random.default_rng(0)
    trainer = Trainer(
        supernet, study.data.train, Recipe(100, 64), seed=0, path_of_step=lambda step: space.sample(1, rng)[0].tolist()
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


def one_seed(seed: int, quick: bool) -> dict:
    """Everything of one seed: accuracies of spaces by name, of winners by name, and how many rounds there were."""
    study = Study(quick)
    few = 1 if quick else 4
    spaces: dict[str, list[tuple[float, float]]] = {}
    winners: dict[str, float] = {}
    rounds = study.evolve(seed)
    for number, one in enumerate(rounds, 1):
        kinds = [("aggregated", one.aggregated)]
        if number == 1:
            kinds = [("initial", one.subset), ("simplified", simplified(one)), *kinds]
        for kind, kept in kinds:
            spaces[f"round {number}, {kind}"] = study.sampled(kept, seed, few)
        front = [one.front[i] for i in np.unique(np.linspace(0, len(one.front) - 1, 3).astype(int))]
        spaces[f"round {number}, Pareto front"] = [
            (p.cost, study.once(p.architecture, seed)) for p in front[: few or None]
        ]
    epochs, evaluations = len(rounds) * study.epochs, sum(len(r.evaluated) for r in rounds)
    winners["NSE, K = 4"] = study.judged(winner_of(rounds), seed)
    free = study.evolve(seed, lock=False, rehearse=False)
    winners["(b) without lock and rehearse"] = study.judged(winner_of(free), seed)
    effects = [acted(rounds), acted(free)]
    if not quick:
        half = {"samples": evaluations // 2 - study.beyond, "epochs": epochs // 2, "rounds": 2}
        large = study.evolve(seed, candidates=10, **half)
        winners["(c) K = 10, two rounds"] = study.judged(winner_of(large), seed)
    feasible = FeasibleSet(study.space, [study.budget])
    shared = one_shot(study.space, study.data, recipe_of(epochs), seed)
    codes = feasible.sample(evaluations, np.random.default_rng(seed))
    uniform = codes[int(np.argmax(inherited(shared, study.data, codes, 128)))].tolist()
    winners["(d) one-shot, best of uniform draws"] = study.judged(uniform, seed)
    scores: dict[tuple[int, ...], float] = {}
    searcher = SposSearcher(
        feasible, SposSettings(population=40, generations=40), np.random.default_rng(seed)
    )
    best_so_far(searcher, SupernetEvaluator(shared, study.data, calibration=128), evaluations, scores)
    winners["(d) one-shot, SPOS's evolution"] = study.judged(max(scores, key=scores.__getitem__), seed)
    winners["(d) ProxylessNAS-style"] = study.judged(proxyless(study, feasible, seed, epochs), seed)
    random = feasible.sample(1 if quick else 4, np.random.default_rng([seed, 5])).tolist()
    winners["(d) random in the window"] = float(np.mean([study.judged(c, seed) for c in random]))
    for threshold in () if quick else (-2.0, -4.0):
        (one,) = study.evolve(seed, rounds=1, threshold=threshold)
        spaces[f"(f) round 1 aggregated, threshold {threshold:g}"] = study.sampled(one.aggregated, seed, few)
    return {
        "spaces": spaces,
        "winners": winners,
        "rounds": len(rounds),
        "evaluations": evaluations,
        "effects": effects,
    }


def main() -> None:
    quick = parse_arguments(__doc__ or "").quick
    torch.set_num_threads(1)
    start = time.time()
    ratios = step_times(Study(quick), 3 if quick else 8)
    rows: list[list[str]] = [["fitness update / weight step", spread(ratios)]]
    seeds = in_processes(one_seed, 1 if quick else 2, quick)
    rows.append(
        ["rounds; evaluations, by seed", "; ".join(f"{s['rounds']}, {s['evaluations']}" for s in seeds)]
    )
    for place, name in enumerate(("lock and rehearse", "without")):
        rows.append([f"(b) {name}, by seed", "; ".join(s["effects"][place] for s in seeds)])
    names = list(dict.fromkeys(name for s in seeds for name in s["spaces"]))
    means: dict[str, list[float]] = {}
    for name in sorted(names, key=lambda n: (n.startswith("("), n.split(",")[0], "aggregated" in n, n)):
        found = [s["spaces"].get(name, []) for s in seeds]
        flat = [pair for some in found for pair in some]
        if not flat:
            continue
        means[name] = [float(np.mean([a for _, a in some])) if some else np.nan for some in found]
        error = (
            float(np.nanstd(means[name], ddof=1) / np.sqrt(len(seeds)) * 196) if len(seeds) > 1 else np.nan
        )
        shown = name if name.startswith("(") else f"(a) {name}"
        rows.append([shown, f"{of([a for _, a in flat])}, ± {error:.1f} over seeds, {len(flat)} networks of {np.mean([m for m, _ in flat]) / 1e6:.2f}M MACs"])  # fmt: skip
    winners = {name: [s["winners"][name] for s in seeds] for name in seeds[0]["winners"]}
    ours = winners["NSE, K = 4"]
    for name, found in winners.items():
        against = "" if found is ours else f"; NSE over it {paired(ours, found)} points"
        rows.append([f"winner: {name}", of(found) + against])
    rows.append(["minutes", f"{(time.time() - start) / 60:.1f}"])
    # What a later round is compared with is the last that every seed reached.
    shared = [
        n
        for n in means
        if n.endswith("aggregated") and n.startswith("round") and not np.isnan(means[n]).any()
    ]
    first, last = np.array(means["round 1, initial"]), np.array(means[max(shared or ["round 1, initial"])])
    random = np.array(winners["(d) random in the window"])
    targets = [
        Target("fitness update / weight step", float(np.median(ratios)), 2.2, False),
        Target("space after the last shared round over the initial one, points", float(np.mean(last - first)) * 100, 0.0, True),
        Target("NSE's winner over random in the window, points", float(np.mean(np.array(ours) - random)) * 100, 0.0, True),
    ]  # fmt: skip
    write("nse", ["what", "figure"], rows, targets, NOTES, quick)


if __name__ == "__main__":
    main()
