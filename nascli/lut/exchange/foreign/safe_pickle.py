"""Reading pickles of numbers from unknown sources without executing anything in them.

The only references that are resolved are those to numpy's scalar and dtype, and they are resolved to functions of this
module, which make floats. Any other reference is refused before it is resolved.
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
    """Takes the place of numpy.dtype: the name of a number's type, and its byte order."""

    def __init__(self, name: str, *_: Any) -> None:
        self.name = name
        self.order = "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = "<" if state[1] == "|" else state[1]


def _scalar(kind: _Kind, data: bytes) -> float:
    if not isinstance(kind, _Kind) or kind.name not in _FORMATS or kind.order not in ("<", ">", "="):
        raise StoreError("the pickle contains a number of an unknown type")
    return float(struct.unpack(kind.order + _FORMATS[kind.name], data)[0])


# Opcodes for buffers, which no table of numbers contains.
_BUFFER_OPCODES = ("BYTEARRAY8", "NEXT_BUFFER", "READONLY_BUFFER")
# Opcodes for which Python allocates as many entries as their argument says.
_MEMO_OPCODES = ("PUT", "BINPUT", "LONG_BINPUT")
_ALLOWED: dict[tuple[str, str], Any] = {
    (module, name): replacement
    for module in ("numpy.core.multiarray", "numpy._core.multiarray", "numpy")
    for name, replacement in (("scalar", _scalar), ("dtype", _Kind))
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
    """Return what a pickle of containers, texts, and numbers contains.

    Raises:
        StoreError: The pickle refers to anything else, or makes Python allocate memory that it does not fill.
    """
    for opcode, argument, _ in pickletools.genops(data):
        # Python allocates these before it reads what they are to contain.
        is_oversized = opcode.name in _MEMO_OPCODES and int(argument or 0) > len(data)
        if is_oversized or opcode.name in _BUFFER_OPCODES:
            raise StoreError(
                f"the pickle asks for room that its {len(data)} bytes do not fill ({opcode.name})"
            )
    return _Unpickler(io.BytesIO(data)).load()
