"""How well training itself ranks: the same architectures are trained from scratch twice, with two seeds."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks._report import Target, parse_arguments, write
from benchmarks._studies import alone, correlation, images, of
from nascli.costmodel import BoundedCost, Constraint, FeasibleSet, counted
from nascli.spaces import load_space
from nascli.supernet.training.recipe import Recipe

NOTES = """
The setting is that of the study pcnas: Fashion-MNIST at 14x14, PC-NAS's small space in 7 thin layers, MACs at most at
the 40 % quantile, 5 epochs. Apart from chance, no ranking can agree with one training better than another training of
the same networks does. This is the highest correlation that can be expected of a supernet in this setting.
"""


def main() -> None:
    quick = parse_arguments(__doc__ or "").quick
    torch.set_num_threads(1)
    data = images(5000, quick)
    space = load_space("pcnas-small-mini:width=0.5")
    macs = counted(space, "macs")
    limit = float(np.quantile(macs(space.sample(4000, np.random.default_rng(0))), 0.4))
    feasible = FeasibleSet(space, [BoundedCost(Constraint("macs", -np.inf, limit), macs)])
    codes = feasible.sample(4 if quick else 30, np.random.default_rng([0, 9]))
    train = Recipe(1 if quick else 5, 64, shift=1, label_smoothing=0.0)
    first, second = (
        np.array([alone(space, c, data, train, seed) for c in codes.tolist()]) for seed in (0, 1)
    )
    pearson, kendall = correlation(first, second, "pearson"), correlation(first, second)
    size = correlation(macs(codes), first, "pearson")
    rows = [
        ["accuracies, first and second training", f"{of(first)}; {of(second)}"],
        ["Pearson of one training with the other", f"{pearson[0]:.2f} [{pearson[1]:.2f}, {pearson[2]:.2f}]"],
        ["Kendall of one training with the other", f"{kendall[0]:.2f} [{kendall[1]:.2f}, {kendall[2]:.2f}]"],
        ["mean absolute difference of the two, points", f"{np.abs(first - second).mean() * 100:.2f}"],
        ["Pearson of MACs with the first", f"{size[0]:.2f} [{size[1]:.2f}, {size[2]:.2f}]"],
    ]
    targets = [Target("Pearson of one training with the other", pearson[0], 0.9, True)]
    write("ranking_ceiling", ["what", "figure"], rows, targets, NOTES, quick)


if __name__ == "__main__":
    main()
