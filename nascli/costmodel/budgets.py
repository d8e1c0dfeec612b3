"""The costs of a space that constraints may bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from nascli.costmodel.chain import ChainCost
from nascli.costmodel.constraints import Constraint
from nascli.costmodel.feasible.axes import BoundedCost
from nascli.costmodel.feasible.feasible_set import FeasibleSet
from nascli.costmodel.space_costs import counted
from nascli.errors import ConstraintError, InfeasibleError, Remedy
from nascli.spaces.space import Population, Space


@dataclass(frozen=True)
class CostValue:
    """The value of a cost for one architecture.

    Attributes:
        value: The value in SI units.
        kind: Origin of the value: 'measured', or the kind of the cost model.
    """

    value: float
    kind: str


@dataclass(frozen=True)
class CostSet:
    """The costs of a space that a search works with.

    Attributes:
        counted: Counted costs by name.
        latency: Latency on the device of the search, or None if nothing is measured.
        elsewhere: Latencies on other devices by the names of the devices.
        margin: Half the width of the relative interval of the latency model at the requested confidence, or 0 to take
            the predictions of the model without a margin.
    """

    counted: Mapping[str, ChainCost]
    latency: ChainCost | None = None
    elsewhere: Mapping[str, ChainCost] = field(default_factory=dict)
    margin: float = 0.0

    def bounds(self, constraints: Sequence[Constraint]) -> tuple[BoundedCost, ...]:
        """Return each constraint with the cost that it bounds; `margin` tightens constraints on the latency.

        Raises:
            ConstraintError: A constraint is narrower than the interval of the latency model.
        """
        return tuple(BoundedCost(self._tightened(c), self._cost(c)) for c in constraints)

    def feasible_set(self, space: Space, constraints: Sequence[Constraint]) -> FeasibleSet:
        """Return the architectures that satisfy constraints, of which those on the latency are tightened by `margin`.

        Raises:
            InfeasibleError: No architecture does.
        """
        try:
            return FeasibleSet(space, self.bounds(constraints))
        except InfeasibleError as error:
            if not self.margin:
                raise
            raise InfeasibleError(
                f"with room for the model's error of ±{self.margin:.1%} at this confidence, latencies are bounded by "
                f"that much more closely than was asked for: {error.message}",
                f"{error.hint} Latencies among these are the model's: ask for {1 + self.margin:.3f} times as "
                "much, or lower the confidence.",
                Remedy(arguments={"confidence": None}),
            ) from error

    def values(self, constraints: Sequence[Constraint], row: Population) -> tuple[CostValue, ...]:
        """Return, for each constraint, the predicted cost of one architecture `(1, layers)`."""
        costs = [self._cost(constraint) for constraint in constraints]
        return tuple(CostValue(float(cost(row)[0]), cost.kind) for cost in costs)

    def _tightened(self, constraint: Constraint) -> Constraint:
        if not constraint.is_local_latency:
            return constraint
        low, high = constraint.low / (1 - self.margin), constraint.high / (1 + self.margin)
        if low > high:
            raise ConstraintError(
                f"the window {constraint} is narrower than the model's interval of ±{self.margin:.1%}.",
                "Widen it.",
                Remedy(words="Or lower the confidence.", arguments={"confidence": None}),
                Remedy(
                    words="Or calibrate on more networks.",
                    job="calibrate",
                    arguments={"space": None, "networks": None},
                ),
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
    """Return the counted costs that constraints bound, and MACs."""
    names = {"macs", *(c.name for c in constraints if c.name != "latency")}
    return {name: counted(space, name) for name in sorted(names)}
