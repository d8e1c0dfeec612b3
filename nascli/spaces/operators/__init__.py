"""Operators: how they are written, and one file per family. What a user's own operators need is imported from here."""

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
