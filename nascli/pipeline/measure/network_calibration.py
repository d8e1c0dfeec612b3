"""The job of `nascli calibrate` for a space: whole networks of it are measured, and correct the sum of operators."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nascli.costmodel import ChainCost, table_latency
from nascli.costmodel.calibration import MIN_NETWORKS, spread_architectures
from nascli.errors import ConstraintError, Remedy
from nascli.execution import Execution
from nascli.lut import LatencyTable, Setup, Store
from nascli.pipeline.measure.latency_model import known_calibration, profile_first
from nascli.pipeline.measure.profile import profile_models
from nascli.pipeline.measure.subjects import space_subjects
from nascli.pipeline.measure.whole_networks import measure_networks
from nascli.profiles.protocol import MeasurementProtocol
from nascli.profiles.target import TargetSpec
from nascli.progress import Progress
from nascli.random_streams import RandomStream, generator
from nascli.spaces.space import Space

CONFIDENCE = 0.9


@dataclass(frozen=True)
class ModelErrors:
    """Relative errors of a latency model, predicted over measured minus one.

    Attributes:
        bias: Their mean.
        mean_absolute: The mean of their magnitudes.
        within_5_percent: The share of networks that the model predicts within 5 %.
    """

    bias: float
    mean_absolute: float
    within_5_percent: float

    @classmethod
    def of(cls, errors: npt.NDArray[np.float64]) -> ModelErrors:
        """The summary of `(n,)` relative errors."""
        return cls(
            bias=float(np.mean(errors)),
            mean_absolute=float(np.mean(np.abs(errors))),
            within_5_percent=float(np.mean(np.abs(errors) <= 0.05)),
        )

    def to_json(self) -> dict[str, float]:
        """The errors as a document."""
        return {
            "bias": self.bias,
            "mean_absolute": self.mean_absolute,
            "within_5_percent": self.within_5_percent,
        }


@dataclass(frozen=True)
class CalibrationSummary:
    """How well sums of operators predict whole networks of a space.

    Attributes:
        cost: The calibrated latency of the space's architectures, in seconds per batch.
        space: The space's specification.
        setup: What the figures depend on besides the operators.
        networks: The number of whole networks that were measured.
        plain: The errors of the plain sum.
        calibrated: The errors of the calibrated model, on each network with that network left out.
        half_width: Half of the interval at `confidence`, relative to a prediction; None for too few networks.
        confidence: With which the interval holds the measured latency.
        fitted: The smallest and the largest latency of the networks, in seconds.
        contradicting: Architectures whose figures the other networks contradict.
    """

    cost: ChainCost
    space: str
    setup: Setup
    networks: int
    plain: ModelErrors
    calibrated: ModelErrors
    half_width: float | None
    confidence: float
    fitted: tuple[float, float]
    contradicting: tuple[tuple[int, ...], ...]

    def to_json(self) -> dict[str, object]:
        """The summary as a document, without the cost model."""
        return {
            "space": self.space,
            "setup": self.setup.to_json(),
            "networks": self.networks,
            "plain": self.plain.to_json(),
            "calibrated": self.calibrated.to_json(),
            "half_width": self.half_width,
            "confidence": self.confidence,
            "fitted_s": list(self.fitted),
            "contradicting": [list(choices) for choices in self.contradicting],
        }


def calibrate_space(
    space: Space,
    spec: TargetSpec,
    execution: Execution,
    *,
    networks: int = 24,
    seed: int = 0,
    progress: Progress,
) -> CalibrationSummary:
    """Measure what the table lacks and networks that cover the space, and calibrate the sum of operators on them.

    Run again, it measures nothing anew; with more networks, only the further ones.

    Args:
        space: Whose architectures are predicted.
        spec: On which device and how.
        execution: Where measurements are kept.
        networks: How many networks are measured.
        seed: The seed of the networks, and of the order in which they are measured.
        progress: Is told how far it is.

    Raises:
        ConstraintError: There are fewer networks than a calibration needs.
        DeviceError: The device is not here, or failed; what was measured is kept.
    """
    protocol = MeasurementProtocol()
    table = profile_models(
        space_subjects(space, spec.batch), spec, execution, protocol=protocol, seed=seed, progress=progress
    )
    with profile_first(spec, execution, space=space.spec):
        plain = table_latency(space, table, f"profile {space.spec}")
    codes = spread_architectures(space, plain, networks, generator(seed, RandomStream.CALIBRATION))
    rows = [tuple(int(code) for code in row) for row in codes]
    measure_networks(
        [space.network(row, f"{space.name} {list(row)}") for row in rows],
        spec,
        execution,
        protocol=protocol,
        seed=seed,
        progress=progress,
        members=(space, rows),
    )
    # The setup that was measured in: the store may have others of this device.
    with Store(execution.store) as store:
        table = LatencyTable.read(store, table.setup)
    plain = table_latency(space, table, f"profile {space.spec}")
    calibration = known_calibration(space, table, plain, execution)
    if calibration is None:
        raise ConstraintError(
            f"calibration needs at least {MIN_NETWORKS} different networks of {space.spec}.",
            "Ask for more.",
            Remedy(arguments={"networks": MIN_NETWORKS * 3}),
        )
    return CalibrationSummary(
        cost=calibration.cost,
        space=space.spec,
        setup=table.setup,
        networks=len(calibration.errors),
        plain=ModelErrors.of(calibration.plain_errors),
        calibrated=ModelErrors.of(calibration.errors),
        half_width=calibration.half_width(CONFIDENCE) if len(calibration.errors) >= 9 else None,
        confidence=CONFIDENCE,
        fitted=calibration.fitted_range,
        contradicting=calibration.contradicting,
    )
