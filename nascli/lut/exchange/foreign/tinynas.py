"""TinyNAS's text: one ``{type,B,Cin,H,W,Cout,k,s,ElmtFused} milliseconds`` per line; -1 ms marks a failure.

H and W are the input's size. ElmtFused means that an element-wise operation is fused into the convolution. Rows with
and without it are different operators of one shape, so a file must have one kind only.
"""

from __future__ import annotations

import re

from nascli.errors import SpaceError, StoreError
from nascli.lut.exchange.foreign.rows import ForeignRow, ForeignTable, conv_program
from nascli.spaces.primitives import Shape

_LINE = re.compile(r"\{(\w+),([\d,]+)\}\s+(\S+)$")
_FAILED = -1.0


def read(data: bytes) -> ForeignTable:
    """Read TinyNAS's table.

    Raises:
        StoreError: A line is not a row, a latency is impossible, or batches or kinds of rows differ.
    """
    table = ForeignTable()
    kinds = set()
    for number, line in enumerate(data.decode("utf-8").splitlines(), 1):
        if not line.strip():
            continue
        match = _LINE.match(line.strip())
        sizes = [int(field) for field in match.group(2).split(",")] if match else []
        if match is None or len(sizes) != 8:
            raise StoreError(f"line {number} is not a row: {line[:80]}")
        batch, cin, height, width, cout, kernel, stride, fused = sizes
        milliseconds = float(match.group(3))
        if milliseconds == _FAILED:
            table.left_out["rows that the file marks as failed"] += 1
            continue
        if not milliseconds > 0:
            raise StoreError(f"line {number}: a latency is above 0, got {match.group(3)}")
        kinds.add((batch, fused))
        groups = cin if match.group(1).lower() == "depthwise" else 1
        try:
            program = conv_program(
                Shape(cin, height, width), cout, (kernel, kernel), (stride, stride), groups=groups
            )
        except SpaceError as error:
            table.left_out[f"rows nascli has no operator for (such as line {number}: {error.message})"] += 1
            continue
        table.rows.append(ForeignRow(line.split()[0], program, milliseconds * 1e-3))
    if len(kinds) > 1:
        raise StoreError(
            f"the file mixes (batch, ElmtFused): {sorted(kinds)}", "Split it, so that each file has one."
        )
    table.batch = kinds.pop()[0] if kinds else None
    return table


FORMATS = {"tinynas": read}
