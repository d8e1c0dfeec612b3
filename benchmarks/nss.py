"""Network Space Search at small scale: are Elite Spaces better places to look than the Expanded Search Space."""

from __future__ import annotations

import time

import numpy as np
import torch

from benchmarks._report import Target, parse_arguments, write
from benchmarks._studies import images, of
from nascli.pipeline.nss import search_space
from nascli.progress import Silent
from nascli.search.nss import Nss, samples_until
from nascli.spaces.catalog import load_any
from nascli.supernet.evaluation import accuracy
from nascli.supernet.modules import network_module
from nascli.supernet.recipe import Recipe
from nascli.supernet.training import Trainer

NOTES = """
Fashion-MNIST at 14x14 (4,000 images for training and validation, 4,000 for the test); three stages of up to 8 residual
blocks and 64 channels, bins of 2 depths and 16 widths (4,096 spaces). Per target and seed one Elite Space. Samples until:
draws until a network lies within 10 % of the target, median of 400 trials; share: exact share of networks that do, over all
of an Elite Space, over 200,000 draws of the Expanded Search Space. Error: networks within 10 % of the target drawn
uniformly from each, trained from scratch with one recipe (Table 1, Fig. 6). Directions at this size, not the paper's.
"""


def trained(space, code, data, recipe: Recipe, seed: int) -> float:
    torch.manual_seed(seed)
    module = network_module([o.program for o in space.network(code).operators])
    Trainer(module, data.train, recipe, seed=seed).run(None, "study", Silent(), "")
    module.eval()
    return accuracy(module, data.test).top1


def near(codes: np.ndarray, space, target: float, n: int) -> np.ndarray:
    inside = codes[np.abs(space.macs(codes) / target - 1) <= 0.1]
    return inside[:n]


def main() -> None:
    quick = parse_arguments(__doc__ or "").quick
    torch.set_num_threads(1)
    start = time.time()
    data = images(4000, quick)
    space = load_any(
        "nss-expanded-mini:depths=4,widths=16" if quick else "nss-expanded-mini:depths=8,widths=64"
    )
    settings = Nss(depth_bin=2, width_bin=8 if quick else 16, rate=0.1)
    recipe = Recipe(1 if quick else 6, 64, shift=1, label_smoothing=0.0)
    short = Recipe(1 if quick else 4, 64, shift=1, label_smoothing=0.0)
    rng = np.random.default_rng(0)
    everything = space.sample(2_000 if quick else 200_000, rng)
    targets_of = [float(q) for q in np.quantile(space.macs(everything), [0.3] if quick else [0.1, 0.35, 0.7])]
    rows: list[list[str]] = []
    ratios, gains = [], []
    for target in targets_of:
        elite_accuracy, plain_accuracy = [], []
        for seed in range(1 if quick else 2):
            found = search_space(
                space, data, target, settings, recipe, seed=seed, file=None, progress=Silent()
            )
            codes = (
                found.bins.codes(found.chosen) if not quick else found.bins.sample(found.chosen, 2000, rng)
            )
            share = float(np.mean(np.abs(space.macs(codes) / target - 1) <= 0.1))
            plain_share = float(np.mean(np.abs(space.macs(everything) / target - 1) <= 0.1))
            waits = {"elite": [], "expanded": []}
            for _ in range(400):
                drawn = {"elite": codes[rng.integers(len(codes), size=400)], "expanded": everything[rng.integers(len(everything), size=400)]}  # fmt: skip
                for name, some in drawn.items():
                    waits[name].append(samples_until(some, space, target) or 400)
            medians = {name: float(np.median(v)) for name, v in waits.items()}
            ratios.append(medians["expanded"] / medians["elite"])
            n = 2 if quick else 5
            ours = near(found.bins.sample(found.chosen, 4000, rng), space, target, n)
            theirs = near(space.sample(8000, rng), space, target, n)
            elite_accuracy += [trained(space, c, data, short, seed) for c in ours]
            plain_accuracy += [trained(space, c, data, short, seed) for c in theirs]
            rows.append([f"{target / 1e6:.2f}M MACs, seed {seed}: Elite Space", found.text])
            rows.append(["  samples until within 10 %: Elite, Expanded", f"{medians['elite']:.0f}, {medians['expanded']:.0f} (shares {share:.1%}, {plain_share:.1%})"])  # fmt: skip
        if elite_accuracy and plain_accuracy:
            gains.append(np.mean(elite_accuracy) - np.mean(plain_accuracy))
            rows.append([f"{target / 1e6:.2f}M MACs: accuracy, Elite", of(elite_accuracy)])
            rows.append([f"{target / 1e6:.2f}M MACs: accuracy, Expanded", of(plain_accuracy)])
    rows.append(["minutes", f"{(time.time() - start) / 60:.1f}"])
    targets = [
        Target("samples until within 10 %, Expanded over Elite, geometric mean", float(np.exp(np.mean(np.log(ratios)))), 43 / 5, True),
        Target("accuracy, Elite over Expanded, mean points", float(np.mean(gains or [np.nan])) * 100, 0.0, True),
    ]  # fmt: skip
    write("nss", ["what", "figure"], rows, targets, NOTES, quick)


if __name__ == "__main__":
    main()
