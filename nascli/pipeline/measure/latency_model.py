"""Which latency model a space has on a target: table, calibration, or data sheet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from nascli.costmodel import ChainCost, counted
from nascli.costmodel.calibration import MIN_NETWORKS, Calibration, calibrate
from nascli.costmodel.roofline import Hardware, hardware
from nascli.costmodel.space_costs import alone_latency, branch_count, weights_of_space
from nascli.errors import MissingMeasurementsError, Remedy
from nascli.execution import Execution
from nascli.lut import LatencyTable, Store
from nascli.lut.in_context.carriers import WeightState, in_context
from nascli.pipeline.measure.recognised_networks import recognised_networks
from nascli.profiles.devices.data_sheets import data_sheets
from nascli.profiles.target import TargetSpec
from nascli.spaces.blocks import FixedBlock
from nascli.spaces.space import Space


@contextmanager
def profile_first(
    spec: TargetSpec, execution: Execution, *, space: str | None = None, network: Path | None = None
) -> Iterator[None]:
    """Give a lack of measurements its remedy: to profile a space, or the layers of a network's file."""
    try:
        yield
    except MissingMeasurementsError as error:
        subject = {
            name: value for name, value in (("space", space), ("network", network)) if value is not None
        }
        error.hint = "Measure them."
        error.remedies = (
            Remedy(job="profile", arguments={**subject, "target": spec, "execution": execution}),
        )
        raise


def known_calibration(
    space: Space, table: LatencyTable, plain: ChainCost, execution: Execution
) -> Calibration | None:
    """The calibration that the networks measured so far give; None where there are too few.

    Only networks of the table's own setup count: what was measured with another runtime, batch or number of
    threads says nothing about this one. Networks of a pack count as well as those measured here.

    Args:
        space: Whose networks.
        table: The table of the space's operators.
        plain: The sum of that table's operators.
        execution: Names the store that knows the networks.
    """
    with Store(execution.store) as store:
        members = recognised_networks(space, table, store)
    measured = [(codes, table.estimates[key]) for key, codes in members.items()]
    if len(measured) < MIN_NETWORKS:
        return None
    codes = space.check(np.array([codes for codes, _ in measured]))
    seconds = np.array([figure.seconds for _, figure in measured])
    return calibrate(space, [plain, *calibration_terms(space, table)], codes, seconds)


def calibration_terms(space: Space, table: LatencyTable) -> list[ChainCost]:
    """What may explain the difference between whole networks and the sum of operators in context."""
    alone = alone_latency(space, table)
    sums = [alone] if alone is not None else []
    sums.append(counted(space, "weight_bytes"))
    return [*sums, branch_count(space)] if space.multi_branch else sums


def fixed_costs(table: LatencyTable, space: Space) -> dict[str, float]:
    """Seconds of the blocks without a choice, by name."""
    cold = weights_of_space(space, table) is WeightState.COLD
    seconds = {}
    for block, (placement, *_) in zip(space.blocks, space.placements, strict=True):
        if isinstance(block, FixedBlock):
            figure = in_context(table, block.operator, first=placement.first, last=placement.last, cold=cold)
            assert figure is not None
            seconds[block.name] = figure.seconds
    return seconds


MODEL = "sum of operator latencies in context"
_WEIGHTS = {
    WeightState.FITTING: MODEL,
    WeightState.COLD: f"{MODEL}, with weights as cold as in the network",
    WeightState.LACKING: f"{MODEL}, with warm weights (profile again: the table lacks figures with cold ones)",
}


def model_of(state: WeightState) -> str:
    """The plain sum in words, with the state of the weights."""
    return _WEIGHTS[state]


ROOFLINE = "predicted from the data sheet of {} (no table of it is in the store)"
BY_REFERENCES = (
    "sum in context, corrected by {} reference networks of {} families; interval from left-out families"
)
CALIBRATED = "sum of operator latencies, calibrated on {} whole networks"


def find_data_sheet(spec: TargetSpec, execution: Execution) -> Hardware | None:
    """The data sheet of a card that is not here and has no table in the store; None where there is a table."""
    sheet = data_sheets().get(spec.device)
    if sheet is None:
        return None
    if not execution.store.exists():
        return hardware(sheet.key, sheet.peak, sheet.bandwidth, sheet.processors)
    with Store(execution.store) as store:
        if any(count and setup.device == spec.device for setup, _, count in store.setups()):
            return None
    return hardware(sheet.key, sheet.peak, sheet.bandwidth, sheet.processors)
