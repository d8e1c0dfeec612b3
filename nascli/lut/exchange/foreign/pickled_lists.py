"""NSE's pickles: a list of (name, [hw, cin, cout, kernel, stride, pad, dilation, groups, type, ms]).

The types are 1 (convolution), 3 (pooling), 4 (addition), and 5 (fully connected). Sizes may be pairs, and hw is the
input's size. The paper's tables were measured with TensorRT 3 on a TITAN Xp at batch 128, which only the name of the
file says. Latencies have three digits after the point: the smallest operators have 0 ms and are left out, since they
are not free.
"""

from __future__ import annotations

import reprlib
from typing import Any

from nascli.errors import SpaceError, StoreError
from nascli.lut.exchange.foreign.rows import (
    ForeignRow,
    ForeignTable,
    add_program,
    conv_program,
    linear_program,
    pool_program,
)
from nascli.lut.exchange.foreign.safe_pickle import read_pickled_numbers
from nascli.spaces.primitives import Shape
from nascli.spaces.programs import Program

_FIELDS = 10


def read(data: bytes) -> ForeignTable:
    """Read one of NSE's pickles.

    Raises:
        StoreError: The file is not such a list, or contains anything but numbers, texts, and lists.
    """
    document = read_pickled_numbers(data)
    if not isinstance(document, list):
        raise StoreError("the pickle is not a list of rows")
    table = ForeignTable()
    for entry in document:
        if not (isinstance(entry, (tuple, list)) and len(entry) == 2 and len(entry[1]) == _FIELDS):
            raise StoreError(f"a row must be (name, [{_FIELDS} fields]), got {reprlib.repr(entry)[:80]}")
        name, fields = entry[0] if isinstance(entry[0], str) else reprlib.repr(entry[0]), list(entry[1])
        try:
            program = _program(fields)
        except SpaceError as error:
            table.left_out[f"rows nascli has no operator for (such as {name}: {error.message})"] += 1
            continue
        milliseconds = float(fields[-1])
        if milliseconds == 0:
            table.left_out["rows below the resolution of the file (0 ms)"] += 1
            continue
        table.rows.append(ForeignRow(name, program, milliseconds * 1e-3))
    return table


def _pair(value: Any) -> tuple[int, int]:
    first, second = value if isinstance(value, (tuple, list)) else (value, value)
    return int(first), int(second)


def _program(fields: list[Any]) -> Program:
    size, cin, cout, kernel, stride, pad, dilation, groups, kind, _ = fields
    height, width = _pair(size)
    shape = Shape(int(cin), height, width)
    match int(kind):
        case 1:
            kernels, dilations = _pair(kernel), _pair(dilation)
            same = tuple(d * (k - 1) // 2 for k, d in zip(kernels, dilations, strict=True))
            if _pair(pad) != same:
                raise SpaceError(f"padding {pad} does not keep the size")
            return conv_program(shape, int(cout), kernels, _pair(stride), dilations, int(groups))
        case 3:
            # The file does not contain the kind of pooling; a window over the whole input is the mean.
            window = _pair(kernel)[0]
            return pool_program(shape, "avg" if window == height else "max", window, _pair(stride)[0])
        case 4:
            return add_program(shape)
        case 5:
            return linear_program(int(cin), int(cout))
    raise SpaceError(f"type {kind} is unknown")


FORMATS = {"nse": read}
