"""Network Space Search at small scale: whether Elite Spaces are better than the Expanded Search Space."""

from __future__ import annotations

import time

import numpy as np
import torch

from benchmarks._report import Target, parse_arguments, write
from benchmarks._studies import images, in_processes, of, paired
from nascli.costmodel.staged_costs import count_within
from nascli.progress import Silent
from nascli.report.svg import ChartAxis, Series, chart, pareto_front, standalone
from nascli.search.nss.engine import learn_elite_space
from nascli.search.nss.settings import NssSettings
from nascli.spaces.catalog import load_space_of_any_kind
from nascli.spaces.space import Population
from nascli.spaces.staged import StagedSpace
from nascli.supernet.evaluation.accuracy import accuracy
from nascli.supernet.modules import network_module
from nascli.supernet.training.recipe import Recipe
from nascli.supernet.training.trainer import Trainer

NOTES = """
Data: Fashion-MNIST at 14x14 (4,000 images for training and validation, 4,000 for the test). Three stages of up to 8
residual blocks and 48 channels, with bins of 2 depths and 16 widths (1,728 spaces). There is one Elite Space per target
and seed. Samples until: the number of draws until a network lies within 10 % of the target, median of 400 trials,
together with the share of such networks, counted exactly over all of either space. Error: networks within 10 % of the
target, drawn uniformly from each space and trained from scratch with one recipe (Table 1); the second picture shows
their distribution (Fig. 6). The first picture (Fig. 3) shows networks that were drawn uniformly from either space
without a target, and the front of all of them. 2 seeds. The figures show directions at this size, not the paper's
figures.
"""


class Study:
    def __init__(self, quick: bool) -> None:
        self.quick = quick
        self.data = images(4000, quick)
        size = "depths=4,widths=16" if quick else "depths=8,widths=48"
        self.space = load_space_of_any_kind(f"nss-expanded-mini:{size}")
        self.settings = NssSettings(depth_bin=2, width_bin=8 if quick else 16, rate=0.1)
        self.recipe = Recipe(1 if quick else 6, 64, shift=1, label_smoothing=0.0)
        self.short = Recipe(1 if quick else 4, 64, shift=1, label_smoothing=0.0)
        macs = self.space.macs(self.space.sample(20_000, np.random.default_rng(0)))
        self.targets = [float(q) for q in np.quantile(macs, [0.3] if quick else [0.1, 0.35, 0.65])]

    def trained(self, code, seed: int) -> tuple[float, float]:
        """MACs and test accuracy."""
        torch.manual_seed(seed)
        network = self.space.network(code)
        module = network_module([o.program for o in network.operators])
        Trainer(module, self.data.train, self.short, seed=seed).run(None, "study", Silent(), "")
        module.eval()
        return float(network.counts.macs), accuracy(module, self.data.test).top1


def samples_until(codes: Population, space: StagedSpace, target: float, within: float = 0.1) -> int | None:
    """How many draws it takes until one lies within a share of the target (Table 1); None if none does."""
    near = np.abs(space.macs(codes) / target - 1) <= within
    return int(np.argmax(near)) + 1 if near.any() else None


def waits(draw, space, target: float, trials: int) -> float:
    """Median number of draws until one lies within 10 % of the target."""
    return float(np.median([samples_until(draw(600), space, target) or 600 for _ in range(trials)]))


def one_seed(seed: int, quick: bool) -> list[dict]:
    """Per target: the Elite Space, draws needed, exact shares, and trained networks of both spaces."""
    study, found = Study(quick), []
    space, rng = study.space, np.random.default_rng([seed, 5])
    near_n, free_n, trials = (2, 1, 20) if quick else (8, 10, 400)
    for target in study.targets:
        elite = learn_elite_space(
            space, study.data, target, study.settings, study.recipe, seed=seed, file=None, progress=Silent()
        )
        window = (target * 0.9, target * 1.1)
        inside, total = count_within(space, *window, elite.bins.ranges(elite.chosen))
        plain, whole = count_within(space, *window)

        def from_elite(n: int, elite=elite) -> np.ndarray:
            return elite.bins.sample(elite.chosen, n, rng)

        def from_expanded(n: int) -> np.ndarray:
            return space.sample(n, rng)

        def near(draw, target=target) -> list:
            codes = draw(8000)
            return list(codes[np.abs(space.macs(codes) / target - 1) <= 0.1][:near_n])

        found.append(
            {
                "target": target,
                "elite": elite.ranges_text,
                "mean": elite.mean,
                "shares": (inside / total, plain / whole),
                "waits": (
                    waits(from_elite, space, target, trials),
                    waits(from_expanded, space, target, trials),
                ),
                "near": [
                    [study.trained(c, seed) for c in near(draw)] for draw in (from_elite, from_expanded)
                ],
                # The Expanded Search Space is the same for every target: its networks are spread over them.
                "free": [
                    [study.trained(c, seed) for c in draw(free_n)] for draw in (from_elite, from_expanded)
                ],
            }
        )
    return found


def scatter(found: list[dict]) -> str:
    """Fig. 3: accuracy against MACs of networks of both spaces, and the front of all."""
    groups = [
        [tuple(p) for one in found for kind in ("free", "near") for p in one[kind][place]] for place in (0, 1)
    ]
    front = pareto_front([p for group in groups for p in group])

    def points(group, name: str):
        return [(float(np.log10(m)), a, f"{name}: {m / 1e6:.2f}M MACs, {a:.1%}") for m, a in group]

    return standalone(
        chart(
            "accuracy against MACs",
            ChartAxis("MACs, millions", lambda v: f"{10**v / 1e6:.2g}"),
            ChartAxis("test top-1, %", lambda v: f"{v * 100:.3g}"),
            [
                Series(points(groups[1], "Expanded"), "dot"),
                Series(points(groups[0], "Elite"), "meas"),
                Series([(float(np.log10(m)), a, "") for m, a in front], "line", line=True),
            ],
        ),
        "Elite Spaces (blue), Expanded Search Space (grey), the front of all (red)",
    )


def distribution(found: list[dict]) -> str:
    """Fig. 6: the share of networks with at most an error, of those within 10 % of a target."""

    def steps(place: int) -> list[tuple[float, float, str]]:
        errors = sorted(1 - a for one in found for _, a in one["near"][place])
        return [(e, (i + 1) / len(errors), "") for i, e in enumerate(errors)]

    return standalone(
        chart(
            "distribution of the test error",
            ChartAxis("test error, %", lambda v: f"{v * 100:.3g}"),
            ChartAxis("share of networks", lambda v: f"{v:.1f}"),
            [Series(steps(1), "guide", line=True), Series(steps(0), "front", line=True)],
        ),
        "Networks within 10 % of the targets: Elite Spaces (blue), Expanded Search Space (dashed)",
    )


def main() -> None:
    quick = parse_arguments(__doc__ or "").quick
    torch.set_num_threads(1)
    start = time.time()
    seeds = in_processes(one_seed, 1 if quick else 2, quick)
    rows: list[list[str]] = []
    ratios, gains = [], []
    for place, name in enumerate([f"{one['target'] / 1e6:.2f}M MACs" for one in seeds[0]]):
        mine = [found[place] for found in seeds]
        for seed, one in enumerate(mine):
            ratios.append(one["waits"][1] / one["waits"][0])
            rows.append(
                [
                    f"{name}, seed {seed}: Elite Space, its mean MACs",
                    f"{one['elite']}, {one['mean'] / 1e6:.2f}M",
                ]
            )
            rows.append(["  samples until within 10 %: Elite, Expanded", f"{one['waits'][0]:.0f}, {one['waits'][1]:.0f} (exact shares {one['shares'][0]:.2%}, {one['shares'][1]:.2%})"])  # fmt: skip
        tops = [[a for one in mine for _, a in one["near"][side]] for side in (0, 1)]
        for label, some in zip(("Elite", "Expanded"), tops, strict=True):
            if some:
                rows.append([f"{name}: accuracy, {label}", f"{of(some)}, median {np.median(some):.1%}, {len(some)} networks"])  # fmt: skip
        means = [
            [float(np.mean([a for _, a in one["near"][side]])) for one in mine if one["near"][side]]
            for side in (0, 1)
        ]
        if len(means[0]) == len(means[1]) and means[0]:
            gains += [(a - b) * 100 for a, b in zip(*means, strict=True)]
            rows.append([f"{name}: Elite over Expanded, points, over seeds", paired(*means)])
    rows.append(["minutes", f"{(time.time() - start) / 60:.1f}"])
    targets = [
        Target("samples until within 10 %, Expanded over Elite, geometric mean", float(np.exp(np.mean(np.log(ratios)))), 43 / 5, True),
        Target("accuracy, Elite over Expanded, mean points", float(np.mean(gains or [np.nan])), 0.0, True),
    ]  # fmt: skip
    flat = [one for found in seeds for one in found]
    pictures = {"scatter": scatter(flat), "errors": distribution(flat)}
    write("nss", ["what", "figure"], rows, targets, NOTES, quick, pictures, {"seeds": seeds})


if __name__ == "__main__":
    main()
