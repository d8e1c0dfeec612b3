"""Reading a pickle of numbers from a stranger: nothing is imported, nothing is called but numpy's scalar.

Only the opcodes' references to numpy's scalar and dtype are answered, by functions of ours that make floats;
any other reference is refused before anything happens.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
from typing import Any

from nascli.errors import StoreError

_FORMATS = {"f8": "d", "f4": "f", "i8": "q", "i4": "i"}


class _Kind:
    """Stands for numpy.dtype: a name of four bytes or so, and its byte order."""

    def __init__(self, name: str, *_: Any) -> None:
        self.name = name
        self.order = "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = "<" if state[1] == "|" else state[1]


def _scalar(kind: _Kind, data: bytes) -> float:
    if not isinstance(kind, _Kind) or kind.name not in _FORMATS or kind.order not in ("<", ">", "="):
        raise StoreError("the pickle holds a number of an unknown kind")
    return float(struct.unpack(kind.order + _FORMATS[kind.name], data)[0])


# Buffers of any size, which no table of numbers has.
_ROOM = ("BYTEARRAY8", "NEXT_BUFFER", "READONLY_BUFFER")
_ALLOWED: dict[tuple[str, str], Any] = {
    (module, name): made
    for module in ("numpy.core.multiarray", "numpy._core.multiarray", "numpy")
    for name, made in (("scalar", _scalar), ("dtype", _Kind))
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise StoreError(
                f"the pickle refers to {module}.{name}; only lists, texts and numbers are read.",
                "Do not open it with Python's own pickle either: it could run anything.",
            )
        return _ALLOWED[(module, name)]

    def persistent_load(self, pid: Any) -> Any:
        raise StoreError("the pickle refers to objects outside of it")


def read_pickled_numbers(data: bytes) -> Any:
    """The containers, texts and numbers of a pickle.

    Raises:
        StoreError: it refers to anything else, or asks for memory that it does not fill.
    """
    for opcode, argument, _ in pickletools.genops(data):
        # Python makes room for these before it has read what goes there.
        asks = opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > len(data)
        if asks or opcode.name in _ROOM:
            raise StoreError(
                f"the pickle asks for room that its {len(data)} bytes do not fill ({opcode.name})"
            )
    return _Unpickler(io.BytesIO(data)).load()
