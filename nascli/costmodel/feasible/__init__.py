"""Exact feasible sets: all architectures of a space that satisfy budgets, counted, sampled, and optimised over."""

from nascli.costmodel.feasible.axes import BoundedCost
from nascli.costmodel.feasible.bins import BinnedSampler
from nascli.costmodel.feasible.feasible_set import FeasibleSet
from nascli.costmodel.feasible.layers import BranchWeights
from nascli.costmodel.feasible.optimum import additive, best, k_best, pareto

__all__ = [
    "BinnedSampler",
    "BoundedCost",
    "BranchWeights",
    "FeasibleSet",
    "additive",
    "best",
    "k_best",
    "pareto",
]
