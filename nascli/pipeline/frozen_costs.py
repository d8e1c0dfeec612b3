"""The costs that a run works with: derived from tables once, then frozen, so that a resumed run sees the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from nascli.costmodel import Budget, ChainCost, Constraint, FeasibleSet, counted, table_latency
from nascli.costmodel.calibration import Calibration
from nascli.costmodel.roofline import roofline_latency
from nascli.errors import ConstraintError, InfeasibleError
from nascli.lut import LatencyTable
from nascli.lut.in_context.carriers import in_context
from nascli.pipeline.calibrating import known_calibration
from nascli.pipeline.evidence import evidence_of
from nascli.pipeline.measuring import other_table, plan, profile_models, space_models
from nascli.pipeline.predicting import CALIBRATED, MODEL, absent_device
from nascli.pipeline.run_folder import COSTS, RunFolder, read_json, reading, write_json
from nascli.pipeline.settings import SearchSettings
from nascli.profiles.protocol import Protocol
from nascli.profiles.target import Where
from nascli.progress import Progress
from nascli.spaces.blocks import Layer
from nascli.spaces.space import Codes, Space
from nascli.units import format_seconds


@dataclass(frozen=True)
class FrozenCosts:
    """The costs of a space that a run works with, and what its latency is; frozen at its start."""

    latency: ChainCost
    elsewhere: dict[str, ChainCost]
    costs: dict[str, ChainCost]
    model: str
    setup: dict[str, Any]
    table_digest: str
    half_width: float = 0.0
    evidence: dict[str, Any] = field(default_factory=dict)

    def budgets(self, constraints: Sequence[Constraint]) -> list[Budget]:
        """Each constraint with the cost that it bounds; a latency here with room for the model's error."""
        return [Budget(self._with_room(c), self._cost(c)) for c in constraints]

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

    def values(self, constraints: Sequence[Constraint], row: Codes) -> list[dict[str, Any]]:
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


def frozen_costs(
    settings: SearchSettings, space: Space, folder: RunFolder, progress: Progress
) -> FrozenCosts:
    """Profile what is missing and freeze the costs, so that a resumed run sees the same table."""
    file = folder.file(COSTS)
    kept = read_json(file)
    if kept is None:
        where = settings.where
        protocol = Protocol()
        work = plan(space_models(space), where, protocol)
        if work.todo:
            progress.message(
                f"{len(work.todo)} of {len(work.operators)} models (operators alone and in context) are not "
                f"in the store for {work.setup.label}; measuring them takes about "
                f"{format_seconds(work.expected_seconds)}"
            )
        table = profile_models(
            space_models(space), where, protocol=protocol, seed=settings.seed, progress=progress
        )
        latency = table_latency(space, table, f"nascli profile --space {space.spec} {where.command}")
        model = MODEL
        calibration = known_calibration(space, where, table, latency)
        half_width = 0.0
        if settings.confidence is not None:
            half_width = _half_width(calibration, settings.confidence, space, where)
        if calibration is not None:
            latency, model = calibration.cost, CALIBRATED.format(len(calibration.errors))
        progress.message(f"latency model: {model}")
        kept = {
            "model": model,
            "half_width": half_width,
            "latency": latency.to_json(),
            "fixed": fixed_costs(table, space),
            "elsewhere": {
                device: _elsewhere(space, where, device, progress).to_json()
                for device in sorted({c.device for c in settings.parsed_constraints() if c.device})
            },
            "setup": table.setup.to_json(),
            "table_digest": table.digest,
            "evidence": evidence_of(where, table, space_models(space)),
        }
        write_json(file, kept)
    with reading(file):
        return FrozenCosts(
            latency=ChainCost.from_json(kept["latency"]),
            elsewhere={device: ChainCost.from_json(cost) for device, cost in kept["elsewhere"].items()},
            costs=counted_costs(space, settings.parsed_constraints()),
            model=kept["model"],
            setup=kept["setup"],
            table_digest=kept["table_digest"],
            half_width=kept["half_width"],
            evidence=kept.get("evidence") or {},
        )


def _elsewhere(space: Space, where: Where, device: str, progress: Progress) -> ChainCost:
    """The latency of a space on another device: from its table, or from its data sheet where there is none."""
    absent = absent_device(replace(where, device=device))
    if absent is None:
        command = f"nascli profile --space {space.spec}, on {device}"
        return table_latency(space, other_table(where, device), command)
    progress.message(
        f"no table of {device} is in the store: its latency is predicted from its data sheet, which is no "
        "measurement; import one for a budget that holds (nascli lut import)"
    )
    return roofline_latency(space, absent, where.batch, where.precision)


def _half_width(calibration: Calibration | None, confidence: float, space: Space, where: Where) -> float:
    if calibration is None:
        raise ConstraintError(
            f"--confidence {confidence} needs a calibrated model of {space.spec}, whose interval is known.",
            f"Measure whole networks first: nascli calibrate --space {space.spec} {where.command}",
        )
    return calibration.half_width(confidence)


def counted_costs(space: Space, constraints: Sequence[Constraint]) -> dict[str, ChainCost]:
    """The counted costs that constraints name, and MACs."""
    names = {"macs", *(c.name for c in constraints if c.name != "latency")}
    return {name: counted(space, name) for name in sorted(names)}


def fixed_costs(table: LatencyTable, space: Space) -> dict[str, float]:
    """Seconds of the blocks without a choice, by name."""
    found = {}
    for position, block in enumerate(space.blocks):
        if not isinstance(block, Layer):
            first, last = position == 0, position == len(space.blocks) - 1
            figure = in_context(table, block[1], first=first, last=last)
            assert figure is not None
            found[block[0]] = figure.seconds
    return found
