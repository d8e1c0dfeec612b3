"""Operators, with one module per family; and everything that a user needs to write an operator."""

from nascli.spaces.operators.definition import (
    Operator,
    OperatorFamily,
    Value,
    activation,
    add,
    attention,
    batch_norm,
    channel_bias,
    channel_scale,
    concat,
    conv,
    conv_transpose,
    dense,
    div,
    gain,
    global_pool,
    group_norm,
    layer_norm,
    linear,
    mul,
    pad,
    pixel_shuffle,
    pixel_unshuffle,
    pool,
    prelu,
    resize,
    scale,
    shift,
    shuffle,
    split,
    sub,
)
from nascli.spaces.operators.registry import operator, operator_family

__all__ = [
    "Operator", "OperatorFamily", "Value", "activation", "add", "attention", "batch_norm", "channel_bias",
    "channel_scale", "concat", "conv", "conv_transpose", "dense", "div", "gain", "global_pool", "group_norm",
    "layer_norm", "linear", "mul", "operator", "operator_family", "pad", "pixel_shuffle", "pixel_unshuffle", "pool",
    "prelu", "resize", "scale", "shift", "shuffle", "split", "sub",
]  # fmt: skip
