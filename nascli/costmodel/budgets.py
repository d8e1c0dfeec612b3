"""The costs of a space that constraints may bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from nascli.costmodel import BoundedCost, ChainCost, Constraint, FeasibleSet, counted
from nascli.errors import ConstraintError, InfeasibleError
from nascli.spaces.space import Population, Space


@dataclass(frozen=True)
class CostSet:
    """The costs of a space that a run works with, and what its latency is; frozen at its start."""

    latency: ChainCost
    elsewhere: dict[str, ChainCost]
    costs: dict[str, ChainCost]
    model: str
    setup: dict[str, Any]
    table_digest: str
    half_width: float = 0.0
    evidence: dict[str, Any] = field(default_factory=dict)

    def budgets(self, constraints: Sequence[Constraint]) -> list[BoundedCost]:
        """Each constraint with the cost that it bounds; a latency here with room for the model's error."""
        return [BoundedCost(self._with_room(c), self._cost(c)) for c in constraints]

    def feasible(self, space: Space, constraints: Sequence[Constraint]) -> FeasibleSet:
        """The architectures that satisfy them, with room for the model's error.

        Raises:
            InfeasibleError: none does.
        """
        try:
            return FeasibleSet(space, self.budgets(constraints))
        except InfeasibleError as error:
            if not self.half_width:
                raise
            raise InfeasibleError(
                f"with room for the model's error of ±{self.half_width:.1%} (--confidence), latencies are bounded by "
                f"that much more closely than was asked for: {error.message}",
                f"{error.hint} Latencies among these are the model's: ask for {1 + self.half_width:.3f} times as "
                "much, or lower --confidence.",
            ) from error

    def values(self, constraints: Sequence[Constraint], row: Population) -> list[dict[str, Any]]:
        """What an architecture has of each bounded cost by its model, `(1, layers)` codes, and where that is from."""
        costs = [(constraint, self._cost(constraint)) for constraint in constraints]
        return [{"value": float(cost(row)[0]), "kind": cost.kind} for _, cost in costs]

    def _with_room(self, constraint: Constraint) -> Constraint:
        if constraint.name != "latency" or constraint.device is not None:
            return constraint
        low, high = constraint.low / (1 - self.half_width), constraint.high / (1 + self.half_width)
        if low > high:
            raise ConstraintError(
                f"the window {constraint} is narrower than the model's interval of ±{self.half_width:.1%}.",
                "Widen it, lower --confidence, or calibrate on more networks: nascli calibrate",
            )
        return replace(constraint, low=low, high=high)

    def _cost(self, constraint: Constraint) -> ChainCost:
        if constraint.name != "latency":
            return self.costs[constraint.name]
        return self.latency if constraint.device is None else self.elsewhere[constraint.device]


def counted_costs(space: Space, constraints: Sequence[Constraint]) -> dict[str, ChainCost]:
    """The counted costs that constraints name, and MACs."""
    names = {"macs", *(c.name for c in constraints if c.name != "latency")}
    return {name: counted(space, name) for name in sorted(names)}
