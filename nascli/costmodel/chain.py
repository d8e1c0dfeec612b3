"""Costs that are chains over the layers of a space.

The cost of an architecture a is

    cost(a) = offset + sum_l u[l, a_l] + sum_l b[l, a_l, a_{l+1}].

In a multi-branch space, a layer costs the sum of its branches plus a term that depends on their number. Costs of whole
populations are computed at once. Because the cost is a chain, the set of architectures within a budget can be counted
and sampled exactly (`nascli.costmodel.feasible`).
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
    """A cost that is a chain over the layers of a space.

    Attributes:
        name: Name of the cost, such as 'latency', 'macs', or 'params'.
        dimension: Dimension, which decides how values are parsed and printed.
        offset: Cost that all architectures share, in SI units.
        unary: For each layer, `(candidates,)` the cost of each candidate.
        joins: For each layer of a multi-branch space, `(max_branches + 1,)` the cost of joining 0, 1, ... branches,
            which is infinite for a number of branches that is not allowed.
        kind: Origin of the figures.
        device: Name of the device of a latency.
        pairwise: For each pair of neighbouring layers of a single-path space, `(candidates, candidates of the next
            layer)` boundary terms.

    Raises:
        ConstraintError: A figure is not finite, or a multi-branch cost has boundary terms.
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

    def __call__(self, population: Population) -> Array:
        """Return the cost of each architecture.

        Args:
            population: `(n, layers)` choices that belong to the space; they are not checked.

        Returns:
            `(n,)` costs in SI units (seconds, bytes, or plain counts).
        """
        if self.joins is not None:
            return self._multi_branch(population, self.joins)
        return self._grouped(population)

    def _multi_branch(self, population: Population, joins: tuple[Array, ...]) -> Array:
        total = np.full(len(population), self.offset)
        for layer, (tables, join) in enumerate(zip(self._bytewise, joins, strict=True)):
            column = np.ascontiguousarray(population[:, layer])
            total += join[np.bitwise_count(column)]
            for chunk, table in enumerate(tables):
                total += table[(column >> (8 * chunk)) & 255]
        return total

    @cached_property
    def _bytewise(self) -> list[list[Array]]:
        """For each layer and each byte of its bit set, the cost of the 256 values of the byte."""
        patterns = (np.arange(256)[:, None] >> np.arange(8)) & 1
        tables = []
        for values in self.unary:
            padded = np.concatenate([values, np.zeros(-len(values) % 8)])
            tables.append([patterns @ padded[start : start + 8] for start in range(0, len(padded), 8)])
        return tables

    @property
    def minimum(self) -> float:
        """Minimum cost over all architectures."""
        return self._extreme(np.min)

    @property
    def maximum(self) -> float:
        """Maximum cost over all architectures."""
        return self._extreme(np.max)

    def _extreme(self, pick: Callable[..., Any]) -> float:
        if self.pairwise is None:
            return self.offset + sum(
                float(pick(self._extreme_costs(layer))) for layer in range(len(self.unary))
            )
        extremes = self.unary[0]
        for values, boundary in zip(self.unary[1:], self.pairwise, strict=True):
            extremes = pick(extremes[:, None] + boundary, axis=0) + values
        return self.offset + float(pick(extremes))

    def _extreme_costs(self, layer: int) -> list[float]:
        """Return costs of a layer that include its minimum and its maximum.

        For a multi-branch layer, these are the costs of the k cheapest and the k most expensive branches.
        """
        values = self.unary[layer]
        if self.joins is None:
            return [float(values.min()), float(values.max())]
        join, ordered = self.joins[layer], np.sort(values)
        counts = [k for k in range(min(len(join), len(values) + 1)) if np.isfinite(join[k])]
        cheapest = [float(ordered[:k].sum() + join[k]) for k in counts]
        return cheapest + [float(ordered[len(ordered) - k :].sum() + join[k]) for k in counts]

    def to_json(self) -> dict[str, Any]:
        """Return the cost as a document from which `from_json` restores every bit."""
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
        """Restore a cost from a document."""
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
        """Return a value of this cost as text with its unit."""
        return format_cost(value, self.dimension)

    def format_bound(self, value: float, direction: int) -> str:
        """Return a bound as text that a user may type in again.

        Args:
            value: The bound.
            direction: 1 rounds up and -1 rounds down, so that the text is never tighter than the bound.
        """
        if self.dimension == "count" and abs(value) < 1000:
            return self.format(math.ceil(value) if direction > 0 else math.floor(value))
        return self.format(rounded_outward(value, direction))


def format_cost(value: float, dimension: Dimension) -> str:
    """Return a cost as text with the unit of its dimension."""
    match dimension:
        case "time":
            return format_seconds(value)
        case "bytes":
            return format_bytes(value)
        case "count":
            return format_count(value)


def require_single_path(space: Space, what: str) -> None:
    """Raise an error if a space is multi-branch.

    Args:
        space: The space.
        what: What needs a single-path space, for the message.

    Raises:
        ConstraintError: The space is multi-branch.
    """
    if space.multi_branch:
        raise ConstraintError(f"{what} needs a single-path space; {space.name} is multi-branch")


# Combined choices of a group are 16-bit integers, and its table fits into a second-level cache.
_MAX_COMBINATIONS = 1 << 14
_BLOCK = 4096


class GroupedTables:
    """The tables of a single-path chain cost, combined over groups of neighbouring layers.

    One look-up per group instead of one per layer makes costs of populations several times as fast.

    Args:
        offset: Cost that all architectures share.
        unary: For each layer, `(candidates,)` costs.
        pairwise: Boundary terms between neighbouring layers, if any.
    """

    def __init__(self, offset: float, unary: Sequence[Array], pairwise: Sequence[Array] | None) -> None:
        self._offset = offset
        self._groups: list[tuple[int, int, Array]] = []
        self._seams: list[tuple[int, Array]] = []
        start = 0
        while start < len(unary):
            stop, table = start + 1, unary[start]
            while stop < len(unary) and table.size * len(unary[stop]) <= _MAX_COMBINATIONS:
                table = table[..., None] + unary[stop]
                if pairwise is not None:
                    table = table + pairwise[stop - 1]
                stop += 1
            self._groups.append((start, stop, table))
            if pairwise is not None and stop < len(unary):
                self._seams.append((stop, pairwise[stop - 1]))
            start = stop

    def __call__(self, population: npt.NDArray[Any]) -> Array:
        """Return the `(n,)` costs of `(n, layers)` architectures."""
        total = np.empty(len(population))
        for start in range(0, len(population), _BLOCK):
            self._add_costs(population[start : start + _BLOCK], total[start : start + _BLOCK])
        return total

    def _add_costs(self, population: npt.NDArray[Any], total: Array) -> None:
        columns = np.ascontiguousarray(population.T, dtype=np.int16)
        total[:] = self._offset
        for start, stop, table in self._groups:
            index = columns[start]
            for layer in range(start + 1, stop):
                index = index * np.int16(table.shape[layer - start]) + columns[layer]
            total += table.reshape(-1).take(index)
        for layer, seam in self._seams:
            index = columns[layer - 1] * np.int16(seam.shape[1]) + columns[layer]
            total += seam.reshape(-1).take(index)
