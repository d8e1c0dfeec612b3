"""The language of constraints.

Examples are ``latency=8ms``, ``macs<=330M``, ``300M<=macs<=350M``, and ``latency@cpu<=30ms``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from nascli.costmodel.chain import format_cost
from nascli.errors import ConstraintError, UnitError, UnknownNameError
from nascli.units import Dimension, parse_quantity

DIMENSIONS: dict[str, Dimension] = {
    "latency": "time",
    "macs": "count",
    "params": "count",
    "weight_bytes": "bytes",
    "bitops": "count",
}
_ALIASES = {"memory": "weight_bytes", "flops": "macs"}
_NAME = r"([A-Za-z_]+)(?:@([A-Za-z0-9._:-]+))?"
_SIMPLE = re.compile(rf"^\s*{_NAME}\s*(<=|>=|=)\s*([^<>=]+)$")
_WINDOW = re.compile(rf"^\s*([^<>=]+)<=\s*{_NAME}\s*<=\s*([^<>=]+)$")
_MAX_TEXT = 200


@dataclass(frozen=True)
class Constraint:
    """A closed interval that a cost must lie in.

    Attributes:
        name: Name of the cost, one of `DIMENSIONS`.
        low: Lower end in SI units, or -inf.
        high: Upper end in SI units, or inf.
        device: Name of the device of a latency, or None for the device of the search.
    """

    name: str
    low: float
    high: float
    device: str | None = None

    @property
    def is_local_latency(self) -> bool:
        """Whether the constraint bounds the latency on the device of the search."""
        return self.name == "latency" and self.device is None

    @property
    def dimension(self) -> Dimension:
        """Dimension of the cost, which decides its units."""
        return DIMENSIONS[self.name]

    def __str__(self) -> str:
        name = self.name if self.device is None else f"{self.name}@{self.device}"
        low = "" if self.low == -math.inf else f"{format_cost(self.low, self.dimension)} <= "
        high = "" if self.high == math.inf else f" <= {format_cost(self.high, self.dimension)}"
        return f"{low}{name}{high}"


def parse_constraint(text: str) -> Constraint:
    """Read one constraint.

    Args:
        text: A constraint such as ``latency<=8ms``. ``=`` means at most, because a budget is an upper bound.

    Raises:
        ConstraintError: The text is not a constraint, a bound is not above 0, or the interval is empty.
        UnitError: A quantity has no unit or the wrong one.
        UnknownNameError: The cost is unknown.
    """
    if len(text) > _MAX_TEXT:
        raise ConstraintError(f"a constraint has at most {_MAX_TEXT} characters, got {len(text)}")
    window = _WINDOW.match(text)
    simple = _SIMPLE.match(text)
    if window is not None:
        below, name, device, above = window.groups()
    elif simple is not None:
        name, device, relation, value = simple.groups()
        below, above = (value, None) if relation == ">=" else (None, value)
    else:
        raise ConstraintError(
            f"{text!r} is not a constraint; write latency=8ms, macs<=330M or 300M<=macs<=350M."
        )
    name = _ALIASES.get(name, name)
    if name not in DIMENSIONS:
        raise UnknownNameError("cost", name, sorted(DIMENSIONS))
    low = -math.inf if below is None else _bound(text, below, name)
    high = math.inf if above is None else _bound(text, above, name)
    if low > high:
        raise ConstraintError(f"{text!r} is empty: its lower end lies above its upper end.")
    return Constraint(name, low, high, device)


def _bound(text: str, value: str, name: str) -> float:
    try:
        bound = parse_quantity(value, DIMENSIONS[name])
    except UnitError as error:
        raise UnitError(
            f"constraint {text.strip()!r}: {error.message}", error.hint, *error.remedies
        ) from error
    if bound <= 0:
        raise ConstraintError(f"{text!r}: a bound must be above 0.")
    return bound


def parse_constraints(texts: Sequence[str]) -> tuple[Constraint, ...]:
    """Read several constraints, and intersect those on the same cost; see `parse_constraint`.

    Raises:
        ConstraintError: A text is not a constraint, or two constraints contradict each other.
        UnitError: A quantity has no unit or the wrong one.
        UnknownNameError: A cost is unknown.
    """
    return intersect([parse_constraint(text) for text in texts])


def intersect(constraints: Sequence[Constraint]) -> tuple[Constraint, ...]:
    """Return one constraint per cost and device.

    Raises:
        ConstraintError: Two constraints on the same cost and device contradict each other.
    """
    merged: dict[tuple[str, str | None], Constraint] = {}
    for new in constraints:
        key = (new.name, new.device)
        old = merged.get(key)
        if old is not None:
            both = Constraint(new.name, max(old.low, new.low), min(old.high, new.high), new.device)
            if both.low > both.high:
                raise ConstraintError(f"contradictory constraints: {old} and {new}.")
            merged[key] = both
        else:
            merged[key] = new
    return tuple(merged.values())
