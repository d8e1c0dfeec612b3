"""Quantities at the edge of the program: parsing what people write, printing what they read.

Inside, everything is SI: seconds, bytes, MACs (plain numbers). A bare number is refused where its unit
would be a guess.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal, InvalidOperation
from typing import Final, Literal

from nascli.errors import UnitError

Dimension = Literal["time", "bytes", "count"]

_TIME: Final = {
    "s": "1",
    "ms": "1e-3",
    "us": "1e-6",
    "µs": "1e-6",
    # Greek mu, which looks the same as the micro sign.
    "\u03bcs": "1e-6",
    "ns": "1e-9",
    "min": "60",
    "h": "3600",
    "d": "86400",
}
_BYTES: Final = {
    "B": "1",
    "kB": "1e3",
    "KB": "1e3",
    "MB": "1e6",
    "GB": "1e9",
    "KiB": "1024",
    "MiB": "1048576",
    "GiB": "1073741824",
}
_COUNT: Final = {"": "1", "k": "1e3", "K": "1e3", "M": "1e6", "G": "1e9", "B": "1e9", "T": "1e12"}
_UNITS: Final[dict[Dimension, dict[str, str]]] = {"time": _TIME, "bytes": _BYTES, "count": _COUNT}
_EXAMPLES: Final[dict[Dimension, str]] = {"time": "8ms", "bytes": "64MB", "count": "330M"}
_NUMBER: Final = re.compile(
    r"^\s*([0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]{1,2})?|\.[0-9]+)\s*([A-Za-zµ\u03bc]*)\s*$"
)
_LONGEST: Final = 40


def parse_quantity(text: str, dimension: Dimension) -> float:
    """Read a positive quantity such as ``8ms``, ``64MB`` or ``330M`` into SI.

    Args:
        text: the number with its unit; time and bytes require one.
        dimension: which units are admitted.

    Returns:
        seconds, bytes, or a plain count.

    Raises:
        UnitError: no unit where one is required, an unknown unit, or no number.
    """
    units = _UNITS[dimension]
    example = _EXAMPLES[dimension]
    match = _NUMBER.match(text) if len(text) <= _LONGEST else None
    if match is None:
        raise UnitError(
            f"{text[:_LONGEST]!r} is not a quantity; write a number with a unit such as {example}."
        )
    number, unit = match.groups()
    if unit not in units:
        if not unit:
            known = ", ".join(units)
            raise UnitError(f"{text.strip()!r} has no unit; one of {known} must follow, as in {example}.")
        known = ", ".join(name for name in units if name)
        raise UnitError(f"{unit!r} is not a unit of {dimension}; known are {known}, as in {example}.")
    try:
        value = float(Decimal(number) * Decimal(units[unit]))
    except InvalidOperation as error:
        raise UnitError(f"{text!r} is not a quantity; write it as {example}.") from error
    if not math.isfinite(value):
        raise UnitError(f"{text!r} is too large.")
    return value


def _significant(value: float, digits: int = 3) -> str:
    if value == 0:
        return "0"
    # Rounded first: 0.9997 has three digits as 1.00, not as 1.000.
    rounded = float(f"{value:.{digits - 1}e}")
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    return f"{value:.{min(decimals, 9)}f}"


def rounded_outward(value: float, direction: int, digits: int = 3) -> float:
    """A value rounded up (`direction` 1) or down (-1) to the digits that are printed: a bound to type in again."""
    if value == 0 or not math.isfinite(value):
        return value
    step = 10.0 ** (math.floor(math.log10(abs(value))) - digits + 1)
    cells = value / step
    if abs(cells - round(cells)) < 1e-12 * abs(cells):
        return round(cells) * step
    return (math.ceil(cells) if direction > 0 else math.floor(cells)) * step


def format_seconds(seconds: float) -> str:
    """Print a duration: ``7.91 ms``, ``412 us``, ``3 min 20 s``."""
    if not math.isfinite(seconds):
        return str(seconds)
    size = abs(seconds)
    if size >= 3600:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"
    if size >= 60:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    if size >= 1:
        return f"{_significant(seconds)} s"
    if size >= 0.9995e-3:
        return f"{_significant(seconds * 1e3)} ms"
    return f"{_significant(seconds * 1e6)} us"


def format_count(value: float) -> str:
    """Print a count with a decimal prefix: ``330M``, ``1.47G``."""
    for factor, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 0.9995 * factor:
            return f"{_significant(value / factor)}{unit}"
    return f"{value:.0f}"


def format_bytes(value: float) -> str:
    """Print a size in decimal units: ``12.3 MB``."""
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if abs(value) >= 0.9995 * factor:
            return f"{_significant(value / factor)} {unit}"
    return f"{value:.0f} B"


def format_big_integer(value: int) -> str:
    """Print a possibly astronomical integer: exactly where short, else as a power of ten."""
    if value < 10**7:
        return f"{value:,}"
    # Converting only the leading digits keeps integers beyond the range of a float printable.
    exponent = len(str(value)) - 1
    mantissa = value / 10**exponent if exponent < 300 else int(str(value)[:17]) / 1e16
    return f"{mantissa:.3f}e{exponent}"


def format_estimated_count(count: int, exact: bool) -> str:
    """A number of architectures; an estimate says so, and has the two digits that it is good for."""
    return format_big_integer(count) if exact else f"about {format_big_integer(int(float(f'{count:.1e}')))}"


def printable(text: str) -> str:
    """Text with its control characters made visible: names may come from files of others."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)
