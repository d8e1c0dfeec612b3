"""Cost models that predict what an architecture costs, and the exact sets of architectures within budgets."""

from nascli.costmodel.chain import ChainCost
from nascli.costmodel.constraints import Constraint, parse_constraint, parse_constraints
from nascli.costmodel.feasible import BinnedSampler, BoundedCost, FeasibleSet, best, k_best, pareto
from nascli.costmodel.space_costs import counted, table_latency

__all__ = [
    "BinnedSampler",
    "BoundedCost",
    "ChainCost",
    "Constraint",
    "FeasibleSet",
    "best",
    "counted",
    "k_best",
    "pareto",
    "parse_constraint",
    "parse_constraints",
    "table_latency",
]
