"""What table and calibration say about a network: its latency, the interval, and each part's share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from nascli.costmodel import table_latency
from nascli.costmodel.device_calibration import calibrate_device
from nascli.costmodel.network_figures import (
    NetworkFigures,
    network_figures,
    program_figures,
    seconds_alone,
)
from nascli.costmodel.roofline import Hardware, predict_program
from nascli.costmodel.roofline.latency import FITTED_ON
from nascli.costmodel.space_costs import weights_of_space
from nascli.errors import ConstraintError, MissingMeasurementsError, Remedy
from nascli.execution import Execution
from nascli.lut import LatencyTable, Setup
from nascli.lut.in_context.carriers import WeightState, require_context, require_network
from nascli.pipeline.measure.device_calibration import known_references
from nascli.pipeline.measure.latency_model import (
    BY_REFERENCES,
    CALIBRATED,
    ROOFLINE,
    find_data_sheet,
    known_calibration,
    model_of,
    profile_first,
)
from nascli.pipeline.measure.subjects import read_network
from nascli.pipeline.tables.lookup import read_table
from nascli.profiles.target import TargetSpec
from nascli.spaces import Architecture, Network, Space
from nascli.spaces.blocks import Layer
from nascli.spaces.operators.definition import Operator


@dataclass(frozen=True)
class PredictedPart:
    """What one block of a network adds to its latency.

    Attributes:
        block: The block's name.
        operator: The operator in it.
        seconds: Its latency per batch.
        kind: Where the figure is from, such as 'measured', 'in context' or 'predicted'.
        share: Its part of the sum over all blocks.
    """

    block: str
    operator: str
    seconds: float
    kind: str
    share: float


@dataclass(frozen=True)
class DataSheetSetup:
    """What a prediction from a data sheet depends on besides the network."""

    device: str
    batch: int
    precision: str


@dataclass(frozen=True)
class Prediction:
    """The predicted latency of a network.

    Attributes:
        seconds: The latency per batch.
        low: The lower end of the interval; None where no interval is known.
        high: The upper end.
        confidence: With which the interval holds the measured latency; None without an interval.
        kind: 'measured' or 'imported' for a sum of a table's figures, 'calibrated' for one that was corrected by
            whole networks, 'predicted' for a figure from a data sheet.
        model: The latency model in words.
        no_interval: Why there is no interval; None where there is one.
        remedy: What would give an interval; None where there is one, or nothing would.
        extrapolated: Whether the network lies beyond those that the model was fitted on.
        outside: In what it does, in words; empty where it does not, and where only the latency is known to.
        setup: What the figures depend on besides the operators.
        table_digest: The digest of the table; None for a data sheet.
        parts: What each block adds to the plain sum.
    """

    seconds: float
    low: float | None
    high: float | None
    confidence: float | None
    kind: str
    model: str
    no_interval: str | None
    remedy: Remedy | None
    extrapolated: bool
    setup: Setup | DataSheetSetup
    table_digest: str | None
    parts: tuple[PredictedPart, ...]
    outside: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """The prediction as a document."""
        document: dict[str, object] = {
            "latency_s": self.seconds,
            "kind": self.kind,
            "model": self.model,
            "interval_s": None if self.low is None else [self.low, self.high],
            "no_interval": self.no_interval,
            "confidence": self.confidence,
            "extrapolated": self.extrapolated,
            "setup": asdict(self.setup),
            "table_digest": self.table_digest,
            "parts": [asdict(part) for part in self.parts],
        }
        return document | {"outside": list(self.outside)} if self.outside else document


def predict_network(
    source: Path | Architecture | Network,
    spec: TargetSpec,
    execution: Execution,
    *,
    confidence: float = 0.9,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> Prediction:
    """Predict the latency of a network from a table, or for a card without a table from its data sheet.

    Where at least eight networks of the architecture's space were measured, the prediction is calibrated on them
    and has an interval. Else, and for a network of no space, it is corrected by reference networks and has an interval
    where those were measured (`calibrate_on_references`). Else it is the plain sum and says so.

    Args:
        source: An architecture's .json file, an .onnx model, or what such a file would give.
        spec: On which device and how.
        execution: Names the store.
        confidence: With which the interval shall hold the measured latency.
        shapes: Shapes by the name of an input, for an .onnx model that leaves sizes open.

    Raises:
        ArchitectureError: The file cannot be read.
        StoreError: There is no such table, and no data sheet of the device.
        MissingMeasurementsError: The table lacks operators of the network; the error names them.
    """
    network, architecture = read_network(source, batch=spec.batch, shapes=shapes)
    device = find_data_sheet(spec, execution)
    if device is not None:
        return _from_data_sheet(network, device, spec)
    table = read_table(spec, execution)
    if architecture is None:
        path = source if isinstance(source, Path) else None
        with profile_first(spec, execution, network=path):
            plain = _plain(table, *_placed_rows(network, table))
            remedy = Remedy(job="calibrate", arguments={"target": spec, "execution": execution})
            return _corrected(plain, lambda: network_figures(network, table, ""), table, confidence, remedy)
    with profile_first(spec, execution, space=architecture.space.spec):
        if architecture.space.multi_branch:
            rows, total, state = _multi_branch_rows(architecture, table)
        else:
            rows, total, state = _placed_rows(network, table, architecture.space)
        plain = _plain(table, rows, total, state)
        own = _calibrated(plain, architecture, table, execution, confidence, spec)
        if own.kind == "calibrated":
            return own
        figures = partial(_architecture_figures, architecture, total, table)
        return _corrected(own, figures, table, confidence, own.remedy)


# A block's name, its operator, its seconds, and their kind.
_Row = tuple[str, str, float, str]


def _parts(rows: Sequence[_Row], total: float) -> tuple[PredictedPart, ...]:
    """The rows with their shares of a total in seconds."""
    return tuple(
        PredictedPart(block, operator, seconds, kind, seconds / total)
        for block, operator, seconds, kind in rows
    )


def _from_data_sheet(network: Network, device: Hardware, spec: TargetSpec) -> Prediction:
    """A prediction by the roofline; its interval is what such predictions were off on data they had not seen."""
    predicted = predict_program(network.program, device, spec.batch, spec.precision)
    rows: list[_Row] = []
    node = 0
    for block in network.blocks:
        end = node + len(block.operator.program.nodes)
        seconds = sum(predicted.by_node.get(i, 0.0) for i in range(node + 1, end + 1))
        rows.append((block.name, block.operator.short, seconds, "predicted"))
        node = end
    return Prediction(
        seconds=predicted.seconds,
        low=predicted.low,
        high=predicted.high,
        confidence=0.9,
        kind="predicted",
        model=ROOFLINE.format(device.key),
        no_interval=None,
        remedy=None,
        extrapolated=device.key != FITTED_ON,
        setup=DataSheetSetup(device.key, spec.batch, spec.precision),
        table_digest=None,
        parts=_parts(rows, predicted.seconds),
    )


def _plain(table: LatencyTable, rows: Sequence[_Row], total: float, state: WeightState) -> Prediction:
    """The plain sum of a table's figures, which has no interval."""
    return Prediction(
        seconds=total,
        low=None,
        high=None,
        confidence=None,
        kind="imported" if table.imported else "measured",
        model=model_of(state),
        no_interval="an imported table" if table.imported else "whole networks were not measured for it",
        remedy=None,
        extrapolated=False,
        setup=table.setup,
        table_digest=table.digest,
        parts=_parts(rows, total),
    )


def _placed_rows(
    network: Network, table: LatencyTable, space: Space | None = None
) -> tuple[list[_Row], float, WeightState]:
    """The operators of a network, each in its context, their sum, and the state of their weights.

    An architecture has the weights that its `space` has in searches, unless the table lacks part of the space.
    """
    state = WeightState.LACKING if space is None else weights_of_space(space, table)
    command = f"profile {network.name}"
    if state is WeightState.LACKING:
        figures, state = require_network(table, network, command)
    else:
        figures = require_context(table, network.placements, command, cold=state is WeightState.COLD)
    rows = [
        (block.name, block.operator.short, figure.seconds, figure.kind)
        for block, figure in zip(network.blocks, figures, strict=True)
    ]
    return rows, sum(figure.seconds for figure in figures), state


def _multi_branch_rows(
    architecture: Architecture, table: LatencyTable
) -> tuple[list[_Row], float, WeightState]:
    """The blocks of a multi-branch architecture, and their sum by the cost model.

    A layer is its branches and their joining, each measured on its own.
    """
    space, lack = architecture.space, f"profile {architecture.space.spec}"
    plain, state = table_latency(space, table, lack), weights_of_space(space, table)
    total = float(plain(space.check(np.array([architecture.choices])))[0])
    choices = iter(zip(architecture.choices, plain.unary, plain.joins or (), strict=True))
    rows: list[_Row] = []
    for block, placements in zip(space.blocks, space.placements, strict=True):
        if isinstance(block, Layer):
            code, unary, joins = next(choices)
            chosen = block.chosen(int(code))
            operator = block.operator(int(code)).short
            seconds = float(unary[list(chosen)].sum() + joins[len(chosen)])
        else:
            operator = block.operator.short
            cold = state is WeightState.COLD
            seconds = require_context(table, placements, lack, cold=cold)[0].seconds
        rows.append((block.name, operator, seconds, "in context"))
    return rows, total, state


def _architecture_figures(architecture: Architecture, total: float, table: LatencyTable) -> NetworkFigures:
    """The figures of an architecture of which the table has the sum in context, in seconds."""
    operators: list[Operator] = []
    choices = iter(architecture.choices)
    for block in architecture.space.blocks:
        if isinstance(block, Layer):
            operators += [block.candidates[index] for index in block.chosen(int(next(choices)))]
        else:
            operators.append(block.operator)
    alone = seconds_alone(operators, table, f"profile {architecture.space.spec}")
    program = architecture.network.program
    return NetworkFigures(total, alone, program_figures(program, table.setup.batch), 0.0)


def _corrected(
    plain: Prediction,
    figures: Callable[[], NetworkFigures],
    table: LatencyTable,
    confidence: float,
    remedy: Remedy | None,
) -> Prediction:
    """A plain sum corrected by the reference networks that were measured, if they are enough.

    Args:
        plain: The sum; why it has no interval is told where no reference network was measured.
        figures: Gives what the correction reads of the network.
        table: The table that may have reference networks.
        confidence: With which the interval holds the measured latency.
        remedy: What would give an interval.
    """
    if table.imported:
        return plain
    references = known_references(table)
    if references.lack is not None:
        begun = references.measured or references.incomplete
        return replace(plain, no_interval=references.lack if begun else plain.no_interval, remedy=remedy)
    calibration = calibrate_device(references.measured)
    known = figures()
    outside = calibration.outside(known)
    corrected = replace(
        plain,
        seconds=calibration.seconds(known),
        kind="calibrated",
        model=BY_REFERENCES.format(len(calibration.references), len(calibration.families)),
        extrapolated=bool(outside),
        outside=outside,
    )
    try:
        low, high = calibration.interval(known, confidence)
    except ConstraintError as error:
        return _without_interval(corrected, error)
    return replace(corrected, low=low, high=high, confidence=confidence, no_interval=None, remedy=None)


def _without_interval(prediction: Prediction, error: ConstraintError) -> Prediction:
    return replace(
        prediction, no_interval=" ".join(str(error).splitlines()), remedy=next(iter(error.remedies), None)
    )


def _calibrated(
    plain: Prediction,
    architecture: Architecture,
    table: LatencyTable,
    execution: Execution,
    confidence: float,
    spec: TargetSpec,
) -> Prediction:
    """A plain sum corrected by the whole networks of its space that were measured, if they are enough."""
    space = architecture.space
    if table.imported:
        return plain
    try:
        cost = table_latency(space, table, "")
    except MissingMeasurementsError:
        # The architecture's own operators are there, but not all of its space's: no calibration of the space.
        return replace(
            plain,
            no_interval="not all operators of the space are measured",
            remedy=Remedy(job="profile", arguments={"space": space.spec}),
        )
    calibration = known_calibration(space, table, cost, execution)
    if calibration is None:
        arguments = {"space": space.spec, "target": spec, "execution": execution}
        return replace(plain, remedy=Remedy(job="calibrate", arguments=arguments))
    seconds = float(calibration.cost(space.check(np.array([architecture.choices])))[0])
    corrected = replace(
        plain,
        seconds=seconds,
        kind="calibrated",
        model=CALIBRATED.format(len(calibration.errors)),
        extrapolated=calibration.extrapolates(seconds),
    )
    try:
        half = calibration.half_width(confidence)
    except ConstraintError as error:
        return _without_interval(corrected, error)
    return replace(
        corrected,
        low=seconds * (1 - half),
        high=seconds * (1 + half),
        confidence=confidence,
        no_interval=None,
        remedy=None,
    )
