"""A search with your own evaluator: any function from an architecture to a number, here an artificial one.

Run it: python examples/my_evaluator.py
"""

from __future__ import annotations

import sys

import nascli

space = nascli.space("pcnas-small-mini")
budget = nascli.constrain(space, "macs<=3M")


def accuracy(architecture: tuple[int, ...]) -> float:
    """Train the network of an architecture and return its accuracy; here, a quick formula instead."""
    network = space.network(architecture)
    large_kernels = sum("kernel=7" in operator.short for operator in network.operators)
    return network.counts.macs / 3e6 + 0.1 * large_kernels


best = nascli.optimise(accuracy, budget, evaluations=40, workers=2, time_limit=60.0, seed=0)
sys.stdout.write(f"{best[0].value:.3f} {list(best[0].architecture)}\n")
