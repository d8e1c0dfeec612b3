"""CSV: one operator per row, with its latency in a column named seconds, ms, or us.

The columns are kind (conv, pool, linear, add, or mbconv), height, width, cin, cout, kernel, and stride; optional ones
are dilation, groups, mode (of a pool: max or avg), expand, se, and act (of an mbconv), and batch. A column `program`
with the canonical text of a program, as packs have it, replaces all of them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping

from nascli.errors import SpaceError, StoreError
from nascli.lut.exchange.foreign.rows import (
    ForeignRow,
    ForeignTable,
    add_program,
    conv_program,
    linear_program,
    pool_program,
)
from nascli.spaces.operators.inverted_residual import mbconv
from nascli.spaces.primitives import Shape
from nascli.spaces.programs import Program

_UNITS = {"seconds": 1.0, "ms": 1e-3, "us": 1e-6}


def read(data: bytes) -> ForeignTable:
    """Read a CSV table.

    Raises:
        StoreError: Not exactly one column gives the latency, a row has no valid operator, or batches differ.
    """
    rows = csv.DictReader(io.StringIO(data.decode("utf-8-sig")))
    units = [unit for unit in _UNITS if unit in (rows.fieldnames or ())]
    if len(units) != 1:
        raise StoreError(
            f"exactly one column must be named seconds, ms or us; found {', '.join(units) or 'none'} of "
            f"{', '.join(rows.fieldnames or ['no columns'])}"
        )
    table, batches = ForeignTable(), set()
    for number, row in enumerate(rows, 2):
        try:
            seconds = float(row[units[0]]) * _UNITS[units[0]]
            program = _program(row)
        except (SpaceError, KeyError, TypeError, ValueError) as error:
            raise StoreError(f"line {number}: {type(error).__name__}: {error}") from error
        batches.add(row.get("batch"))
        label = row.get("operator") or " ".join(f"{k}={v}" for k, v in row.items() if v and k != units[0])
        table.rows.append(ForeignRow(label, program, seconds))
    if len(batches) > 1:
        raise StoreError(f"the file mixes batches {sorted(map(str, batches))}", "Split it by batch first.")
    batch = batches.pop() if batches else None
    table.batch = int(batch) if batch else None
    return table


def _program(row: Mapping[str, str]) -> Program:
    if row.get("program"):
        return Program.from_canonical(row["program"])
    kind = row["kind"]
    if kind not in _KINDS:
        raise SpaceError(f"unknown kind {kind!r}; known are {', '.join(_KINDS)}")
    return _KINDS[kind](row)


def _shape(row: Mapping[str, str]) -> Shape:
    return Shape(int(row["cin"]), int(row["height"]), int(row["width"]))


def _optional(row: Mapping[str, str], name: str, default: int) -> int:
    return int(row.get(name) or default)


def _conv(row: Mapping[str, str]) -> Program:
    kernel, stride, dilation = int(row["kernel"]), int(row["stride"]), _optional(row, "dilation", 1)
    return conv_program(
        _shape(row),
        int(row["cout"]),
        (kernel, kernel),
        (stride, stride),
        (dilation, dilation),
        _optional(row, "groups", 1),
    )


def _mbconv(row: Mapping[str, str]) -> Program:
    return mbconv(
        _shape(row),
        int(row["cout"]),
        kernel=int(row["kernel"]),
        expand=int(row["expand"]),
        stride=int(row["stride"]),
        se=_optional(row, "se", 0) == 1,
        act=row.get("act") or "relu6",
    ).program


_KINDS: dict[str, Callable[[Mapping[str, str]], Program]] = {
    "conv": _conv,
    "pool": lambda row: pool_program(
        _shape(row), row.get("mode") or "max", int(row["kernel"]), int(row["stride"])
    ),
    "linear": lambda row: linear_program(int(row["cin"]), int(row["cout"])),
    "add": lambda row: add_program(_shape(row)),
    "mbconv": _mbconv,
}


FORMATS = {"csv": read}
