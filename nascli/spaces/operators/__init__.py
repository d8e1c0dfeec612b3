"""Operators, with one module per family; and everything that a user needs to write an operator."""

from nascli.spaces.operators.definition import (
    Operator,
    OperatorFamily,
    Value,
    activation,
    add,
    concat,
    conv,
    gain,
    global_pool,
    linear,
    pool,
    scale,
    shuffle,
    split,
)
from nascli.spaces.operators.registry import operator, operator_family

__all__ = [
    "Operator", "OperatorFamily", "Value", "activation", "add", "concat", "conv", "gain", "global_pool", "linear",
    "operator", "operator_family", "pool", "scale", "shuffle", "split",
]  # fmt: skip
