"""What an architecture will cost, before it is built; and the architectures within a budget."""

from nascli.costmodel.chain import ChainCost
from nascli.costmodel.constraints import Constraint, parse_constraint, parse_constraints
from nascli.costmodel.feasible import Budget, FeasibleSet
from nascli.costmodel.models import counted, table_latency

__all__ = [
    "Budget",
    "ChainCost",
    "Constraint",
    "FeasibleSet",
    "counted",
    "parse_constraint",
    "parse_constraints",
    "table_latency",
]
