"""HW-NAS-Bench's keys: ``ConvBlock_H{}_W{}_Cin{}_Cout{}_exp{}_kernel{}_stride{}_group{}``, at batch 1.

The file is a JSON mapping from keys to milliseconds, or to {"latency": milliseconds, ...}. The blocks are FBNet's: they
have ReLU, grouped 1x1 convolutions with a shuffle, and a residual if input and output have one shape.
"""

from __future__ import annotations

import json
import re

from nascli.errors import SpaceError, StoreError
from nascli.lut.exchange.foreign.rows import ForeignRow, ForeignTable
from nascli.spaces.operators.basic import conv_block, head
from nascli.spaces.operators.inverted_residual import mbconv
from nascli.spaces.primitives import Shape
from nascli.spaces.programs import Program

_NUMBER = re.compile(r"([A-Za-z]+)(\d+)")


def read(data: bytes) -> ForeignTable:
    """Read a table with HW-NAS-Bench's keys.

    Raises:
        StoreError: The file is not a mapping.
    """
    document = json.loads(data)
    if not isinstance(document, dict):
        raise StoreError("the file is not a mapping from keys to figures")
    table = ForeignTable(batch=1)
    for key, value in document.items():
        milliseconds = value["latency"] if isinstance(value, dict) else value
        try:
            program = _program(key)
        except (SpaceError, KeyError) as error:
            table.left_out[f"rows nascli has no operator for (such as {key}: {error})"] += 1
            continue
        table.rows.append(ForeignRow(key, program, float(milliseconds) * 1e-3))
    return table


def _program(key: str) -> Program:
    kind, *fields = key.split("_")
    pairs = [match for field in fields if (match := _NUMBER.fullmatch(field))]
    facts = {match.group(1): int(match.group(2)) for match in pairs}
    shape = Shape(facts["Cin"], facts["H"], facts["W"])
    match kind:
        case "ConvBlock":
            return mbconv(
                shape,
                facts["Cout"],
                kernel=facts["kernel"],
                expand=facts["exp"],
                stride=facts["stride"],
                groups=facts["group"],
                act="relu",
            ).program
        case "ConvNorm":
            return conv_block(
                shape,
                facts["Cout"],
                kernel=facts["kernel"],
                stride=facts["stride"],
                groups=facts.get("group", 1),
                act="relu",
            ).program
        case "AvgP" | "FC":
            return head(shape, facts["Cout"]).program
    raise SpaceError(f"unknown block {kind!r}")


FORMATS = {"hw-nas-bench": read}
