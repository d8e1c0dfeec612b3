"""Exact feasible sets: the architectures within a budget, as a thing to compute with."""

from nascli.costmodel.feasible.axes import Budget
from nascli.costmodel.feasible.bins import BinnedSampler
from nascli.costmodel.feasible.feasible_set import FeasibleSet
from nascli.costmodel.feasible.layers import BranchLaw
from nascli.costmodel.feasible.optimum import additive, best, k_best, pareto

__all__ = ["BinnedSampler", "BranchLaw", "Budget", "FeasibleSet", "additive", "best", "k_best", "pareto"]
