"""Costs as chains: cost(a) = offset + sum_l u[l, a_l] + sum_l b[l, a_l, a_{l+1}].

Multi-branch layers add up their branches and a term for joining so many of them.

Whole populations are scored at once, and because the cost is a chain the set of architectures within a
budget can be computed with exactly (`nascli.costmodel.feasible`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nascli.errors import ConstraintError
from nascli.spaces.space import Population, Space
from nascli.units import Dimension, format_bytes, format_count, format_seconds, rounded_outward

Array = npt.NDArray[np.float64]
Kind = Literal["counted", "measured", "calibrated", "predicted", "imported"]


@dataclass(frozen=True)
class ChainCost:
    """A cost that is a sum over layers.

    Attributes:
        name: 'latency', 'macs', 'params', ...
        dimension: decides how figures are parsed and printed.
        offset: what every architecture costs, in SI units.
        unary: per layer, `(candidates,)` the cost of each candidate.
        joins: per layer of a multi-branch space, `(most + 1,)` the cost of joining that many branches;
            infinite where so many are not allowed.
        pairwise: per pair of neighbouring layers of a single-path space, `(before, after)` boundary terms.
        kind: where the figures come from.
        device: the device's key, for a latency.
    """

    name: str
    dimension: Dimension
    offset: float
    unary: tuple[Array, ...]
    joins: tuple[Array, ...] | None = None
    kind: Kind = "counted"
    device: str | None = None
    pairwise: tuple[Array, ...] | None = None

    def __post_init__(self) -> None:
        if self.joins is not None and self.pairwise is not None:
            raise ConstraintError(f"{self.name}: boundary terms need a single-path space")
        for index, values in enumerate(self.pairwise or ()):
            if not np.all(np.isfinite(values)):
                raise ConstraintError(f"{self.name} between layers {index} and {index + 1} is not finite")
        for index, values in enumerate(self.unary):
            if not np.all(np.isfinite(values)):
                raise ConstraintError(f"{self.name} of layer {index} is not finite: {values}")

    @cached_property
    def _grouped(self) -> GroupedTables:
        return GroupedTables(self.offset, self.unary, self.pairwise)

    def __call__(self, codes: Population) -> Array:
        """Cost of each architecture.

        Args:
            codes: `(n, layers)` integers, valid in the space.

        Returns:
            `(n,)` in SI units (seconds, bytes, or plain counts).
        """
        if self.joins is not None:
            return self._multi_branch(codes, self.joins)
        return self._grouped(codes)

    def _multi_branch(self, codes: Population, joins: tuple[Array, ...]) -> Array:
        total = np.full(len(codes), self.offset)
        for layer, (tables, join) in enumerate(zip(self._bytewise, joins, strict=True)):
            column = np.ascontiguousarray(codes[:, layer])
            total += join[np.bitwise_count(column)]
            for chunk, table in enumerate(tables):
                total += table[(column >> (8 * chunk)) & 255]
        return total

    @cached_property
    def _bytewise(self) -> list[list[Array]]:
        """Per layer and byte of its bit set, the cost of each of the byte's 256 values."""
        patterns = (np.arange(256)[:, None] >> np.arange(8)) & 1
        tables = []
        for values in self.unary:
            padded = np.concatenate([values, np.zeros(-len(values) % 8)])
            tables.append([patterns @ padded[start : start + 8] for start in range(0, len(padded), 8)])
        return tables

    @property
    def minimum(self) -> float:
        """The lowest cost of any architecture."""
        return self._extreme(np.min)

    @property
    def maximum(self) -> float:
        """The highest cost of any architecture."""
        return self._extreme(np.max)

    def _extreme(self, pick: Callable[..., Any]) -> float:
        if self.pairwise is None:
            return self.offset + sum(float(pick(self._choices(layer))) for layer in range(len(self.unary)))
        reached = self.unary[0]
        for values, boundary in zip(self.unary[1:], self.pairwise, strict=True):
            reached = pick(reached[:, None] + boundary, axis=0) + values
        return self.offset + float(pick(reached))

    def _choices(self, layer: int) -> list[float]:
        """The extreme costs of a layer: of each candidate, or of the k cheapest and k most expensive branches."""
        values = self.unary[layer]
        if self.joins is None:
            return [float(values.min()), float(values.max())]
        join, ordered = self.joins[layer], np.sort(values)
        counts = [k for k in range(min(len(join), len(values) + 1)) if np.isfinite(join[k])]
        cheap = [float(ordered[:k].sum() + join[k]) for k in counts]
        return cheap + [float(ordered[len(ordered) - k :].sum() + join[k]) for k in counts]

    def to_json(self) -> dict[str, Any]:
        """The whole cost as a document, exact to the last bit."""
        joins = None if self.joins is None else [values.tolist() for values in self.joins]
        return {
            "name": self.name,
            "dimension": self.dimension,
            "offset": self.offset,
            "unary": [values.tolist() for values in self.unary],
            "joins": joins,
            "kind": self.kind,
            "device": self.device,
            "pairwise": None if self.pairwise is None else [values.tolist() for values in self.pairwise],
        }

    @staticmethod
    def from_json(document: dict[str, Any]) -> ChainCost:
        """Read a document back."""
        joins, pairs = document["joins"], document["pairwise"]
        return ChainCost(
            name=document["name"],
            dimension=document["dimension"],
            offset=float(document["offset"]),
            unary=tuple(np.asarray(values, dtype=float) for values in document["unary"]),
            joins=None if joins is None else tuple(np.asarray(values, dtype=float) for values in joins),
            kind=document["kind"],
            device=document["device"],
            pairwise=None if pairs is None else tuple(np.asarray(values, dtype=float) for values in pairs),
        )

    def format(self, value: float) -> str:
        """Print a value of this cost in its unit."""
        return format_cost(value, self.dimension)

    def format_bound(self, value: float, direction: int) -> str:
        """Print a bound that may be typed in again: rounded up (`direction` 1) or down (-1), never to nearest."""
        if self.dimension == "count" and abs(value) < 1000:
            return self.format(math.ceil(value) if direction > 0 else math.floor(value))
        return self.format(rounded_outward(value, direction))


def format_cost(value: float, dimension: Dimension) -> str:
    """Print a cost in the unit of its dimension."""
    match dimension:
        case "time":
            return format_seconds(value)
        case "bytes":
            return format_bytes(value)
        case "count":
            return format_count(value)


def require_single_path(space: Space, what: str) -> None:
    """Refuse a multi-branch space where only single paths are understood."""
    if space.multi_branch:
        raise ConstraintError(f"{what} needs a single-path space; {space.name} is multi-branch")


# Combined codes are 16-bit integers, and a table of them fits a second-level cache.
_MOST_COMBINATIONS = 1 << 14
_BLOCK = 4096


class GroupedTables:
    """The tables of a single-path chain cost, by groups of layers."""

    def __init__(self, offset: float, unary: Sequence[Array], pairwise: Sequence[Array] | None) -> None:
        self._offset = offset
        self._groups: list[tuple[int, int, Array]] = []
        self._seams: list[tuple[int, Array]] = []
        start = 0
        while start < len(unary):
            stop, table = start + 1, unary[start]
            while stop < len(unary) and table.size * len(unary[stop]) <= _MOST_COMBINATIONS:
                table = table[..., None] + unary[stop]
                if pairwise is not None:
                    table = table + pairwise[stop - 1]
                stop += 1
            self._groups.append((start, stop, table))
            if pairwise is not None and stop < len(unary):
                self._seams.append((stop, pairwise[stop - 1]))
            start = stop

    def __call__(self, codes: npt.NDArray[Any]) -> Array:
        """`(n,)` costs of `(n, layers)` codes."""
        total = np.empty(len(codes))
        for start in range(0, len(codes), _BLOCK):
            self._score(codes[start : start + _BLOCK], total[start : start + _BLOCK])
        return total

    def _score(self, codes: npt.NDArray[Any], total: Array) -> None:
        columns = np.ascontiguousarray(codes.T, dtype=np.int16)
        total[:] = self._offset
        for start, stop, table in self._groups:
            index = columns[start]
            for layer in range(start + 1, stop):
                index = index * np.int16(table.shape[layer - start]) + columns[layer]
            total += table.reshape(-1).take(index)
        for layer, seam in self._seams:
            index = columns[layer - 1] * np.int16(seam.shape[1]) + columns[layer]
            total += seam.reshape(-1).take(index)
