"""The costs of a space that constraints may bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from nascli.costmodel.chain import ChainCost
from nascli.costmodel.constraints import Constraint
from nascli.costmodel.feasible.axes import BoundedCost
from nascli.costmodel.feasible.feasible_set import FeasibleSet
from nascli.costmodel.models import counted
from nascli.errors import ConstraintError, InfeasibleError
from nascli.spaces.space import Population, Space


@dataclass(frozen=True)
class CostValue:
    """What an architecture has of a cost, in SI units, and where that is from: measured, counted, or a model's kind."""

    value: float
    kind: str


@dataclass(frozen=True)
class CostSet:
    """The costs of a space that a search works with.

    Attributes:
        counted: Counted costs, by name.
        latency: The latency on the device that is measured on; None where nothing is measured.
        elsewhere: The latency on other devices, by their names.
        margin: Half the width of the latency model's interval, relative, at the confidence that was asked for; 0
            takes the model's figure as it is.
    """

    counted: Mapping[str, ChainCost]
    latency: ChainCost | None = None
    elsewhere: Mapping[str, ChainCost] = field(default_factory=dict)
    margin: float = 0.0

    def bounds(self, constraints: Sequence[Constraint]) -> tuple[BoundedCost, ...]:
        """Each constraint with the cost that it bounds; a latency here with room for the model's error.

        Raises:
            ConstraintError: A window is narrower than the model's interval.
        """
        return tuple(BoundedCost(self._with_room(c), self._cost(c)) for c in constraints)

    def feasible_set(self, space: Space, constraints: Sequence[Constraint]) -> FeasibleSet:
        """The architectures that satisfy the constraints, with room for the model's error.

        Raises:
            InfeasibleError: No architecture does.
        """
        try:
            return FeasibleSet(space, self.bounds(constraints))
        except InfeasibleError as error:
            if not self.margin:
                raise
            raise InfeasibleError(
                f"with room for the model's error of ±{self.margin:.1%} (--confidence), latencies are bounded by "
                f"that much more closely than was asked for: {error.message}",
                f"{error.hint} Latencies among these are the model's: ask for {1 + self.margin:.3f} times as "
                "much, or lower --confidence.",
            ) from error

    def values(self, constraints: Sequence[Constraint], row: Population) -> tuple[CostValue, ...]:
        """What one architecture, `(1, layers)`, has of each bounded cost by its model."""
        costs = [self._cost(constraint) for constraint in constraints]
        return tuple(CostValue(float(cost(row)[0]), cost.kind) for cost in costs)

    def _with_room(self, constraint: Constraint) -> Constraint:
        if not constraint.is_local_latency:
            return constraint
        low, high = constraint.low / (1 - self.margin), constraint.high / (1 + self.margin)
        if low > high:
            raise ConstraintError(
                f"the window {constraint} is narrower than the model's interval of ±{self.margin:.1%}.",
                "Widen it, lower --confidence, or calibrate on more networks: nascli calibrate",
            )
        return replace(constraint, low=low, high=high)

    def _cost(self, constraint: Constraint) -> ChainCost:
        if constraint.name != "latency":
            return self.counted[constraint.name]
        if constraint.device is not None:
            return self.elsewhere[constraint.device]
        if self.latency is None:
            raise ConstraintError(
                f"{constraint} cannot be kept: nothing here measures the latency of this space."
            )
        return self.latency


def counted_costs(space: Space, constraints: Sequence[Constraint]) -> dict[str, ChainCost]:
    """The counted costs that constraints name, and MACs."""
    names = {"macs", *(c.name for c in constraints if c.name != "latency")}
    return {name: counted(space, name) for name in sorted(names)}
