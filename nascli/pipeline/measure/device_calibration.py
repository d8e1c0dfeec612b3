"""The job of `nascli calibrate` without a space: whole reference networks of many families are measured once per setup.

Nothing is stored besides the measurements themselves. A reference network is recognised by the key of its program, so
that a table which is handed on keeps its calibration, which is fitted anew wherever it is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from nascli.costmodel.device_calibration import (
    MIN_FAMILIES,
    DeviceCalibration,
    MeasuredReference,
    calibrate_device,
)
from nascli.costmodel.network_figures import network_figures
from nascli.errors import ConstraintError, MissingMeasurementsError, ModelRefusedError
from nascli.execution import Execution
from nascli.lut import LatencyTable, Setup, Store, program_key
from nascli.pipeline.measure.network_calibration import ModelErrors
from nascli.pipeline.measure.profile import plan, profile_models
from nascli.pipeline.measure.subjects import subjects_of
from nascli.pipeline.measure.whole_networks import measure_networks
from nascli.profiles.onnx.reader import split_program
from nascli.profiles.profiling import Plan, network_operator
from nascli.profiles.protocol import MeasurementProtocol
from nascli.profiles.target import TargetSpec
from nascli.progress import Progress
from nascli.spaces.blocks import FixedBlock
from nascli.spaces.calibration_networks import VERSION, calibration_networks
from nascli.spaces.counts import count
from nascli.spaces.network import Network
from nascli.spaces.operators.definition import Operator
from nascli.units import format_seconds

CONFIDENCE = 0.9
# Runs of a model in all of its bursts, and MACs per second of one thread, for the expected time.
_RUNS, _MACS_PER_SECOND = 20, 4e10


@dataclass(frozen=True)
class ReferenceNetwork:
    """A reference network, cut into pieces as an ONNX model of it would be.

    Attributes:
        family: What kind of network it is.
        network: Its pieces.
        key: The key of its whole program.
    """

    family: str
    network: Network
    key: str


@dataclass(frozen=True)
class KnownReferences:
    """The reference networks that a table has.

    Attributes:
        measured: Those that were measured whole, and all of their pieces.
        incomplete: Names of those that were measured whole, but not all of their pieces.
    """

    measured: tuple[MeasuredReference, ...]
    incomplete: tuple[str, ...]

    @property
    def families(self) -> tuple[str, ...]:
        """The families of the measured networks."""
        return tuple(dict.fromkeys(reference.family for reference in self.measured))

    @property
    def lack(self) -> str | None:
        """Why they do not calibrate a device; None if they do."""
        if len(self.families) >= MIN_FAMILIES:
            return None
        if not self.measured and not self.incomplete:
            return "whole networks were not measured for it"
        pieces = f", {len(self.incomplete)} more without all of their pieces" if self.incomplete else ""
        return (
            f"{len(self.measured)} of {len(reference_networks())} reference networks are measured{pieces}; networks of "
            f"{len(self.families)} families are too few, {MIN_FAMILIES} are needed"
        )


@dataclass(frozen=True)
class DeviceCalibrationSummary:
    """How well sums of operators predict whole networks of families that were left out.

    Attributes:
        calibration: The fitted correction, which `predict` uses from now on.
        setup: What the figures depend on besides the operators.
        version: The version of the list of reference networks.
        networks: The number of networks that were measured.
        families: The number of their families.
        plain: The errors of the plain sum.
        corrected: The errors of the corrected sum, on each network with its family left out.
        half_width: Half of a typical interval at `confidence`, relative to a prediction.
        confidence: With which an interval holds the measured latency of a network of another family.
        contradicting: Names of networks whose figures the other families contradict.
        left_out: Why networks of the list are not among those measured, by name.
    """

    calibration: DeviceCalibration
    setup: Setup
    version: int
    networks: int
    families: int
    plain: ModelErrors
    corrected: ModelErrors
    half_width: float
    confidence: float
    contradicting: tuple[str, ...]
    left_out: Mapping[str, str]

    def to_json(self) -> dict[str, object]:
        """The summary as a document."""
        rows = zip(
            self.calibration.references, self.calibration.plain_errors, self.calibration.errors, strict=True
        )
        return {
            "setup": self.setup.to_json(),
            "version": self.version,
            "networks": self.networks,
            "families": self.families,
            "plain": self.plain.to_json(),
            "corrected": self.corrected.to_json(),
            "half_width": self.half_width,
            "confidence": self.confidence,
            "coefficients": dict(self.calibration.correction.coefficients),
            "contradicting": list(self.contradicting),
            "left_out": dict(self.left_out),
            "references": [
                {
                    "name": reference.name,
                    "family": reference.family,
                    "measured_s": reference.seconds,
                    "plain_error": float(plain),
                    "corrected_error": float(corrected),
                }
                for reference, plain, corrected in rows
            ],
        }


@lru_cache(maxsize=1)
def reference_networks() -> tuple[ReferenceNetwork, ...]:
    """Return all networks that a device is calibrated on."""
    found = []
    for one in calibration_networks():
        blocks = [
            FixedBlock(f"layer{number}", piece) for number, piece in enumerate(split_program(one.program))
        ]
        found.append(ReferenceNetwork(one.family, Network(one.name, tuple(blocks)), program_key(one.program)))
    return tuple(found)


def known_references(table: LatencyTable) -> KnownReferences:
    """Return the reference networks that a table has, with what its figures say of each."""
    measured, incomplete = [], []
    for reference in reference_networks():
        if reference.key not in table.estimates:
            continue
        try:
            figures = network_figures(reference.network, table, "")
        except MissingMeasurementsError:
            incomplete.append(reference.network.name)
            continue
        seconds = table.estimates[reference.key].seconds
        measured.append(MeasuredReference(reference.network.name, reference.family, figures, seconds))
    return KnownReferences(tuple(measured), tuple(incomplete))


def calibrate_on_references(
    spec: TargetSpec, execution: Execution, *, seed: int = 0, progress: Progress
) -> DeviceCalibrationSummary:
    """Measure the reference networks, whole and in pieces, and correct sums of operators by them.

    Run again, it measures nothing anew. A network that the runtime refuses does not keep the others from being used.

    Args:
        spec: On which device and how.
        execution: Where measurements are kept.
        seed: The seed of the order in which models are measured.
        progress: Is told the plan, and how far it is.

    Raises:
        ConstraintError: The runtime takes networks of too few families.
        DeviceError: The device is not here, or failed; what was measured is kept.
    """
    references = reference_networks()
    networks = [reference.network for reference in references]
    models = _pieces(networks, spec.batch)
    protocol = MeasurementProtocol()
    plans = [
        plan(some, spec, execution, protocol) for some in (models, list(map(network_operator, networks)))
    ]
    families = len({reference.family for reference in references})
    todo = sum(len(one.todo) for one in plans)
    progress.message(
        f"{len(networks)} reference networks of {families} families on {plans[0].setup.label}: "
        f"{sum(len(one.operators) for one in plans)} models (pieces alone and in context, and whole networks), "
        f"{todo} to measure; about {format_seconds(_expected_seconds(plans, spec, execution))}"
    )
    refusals = []
    try:
        profile_models(models, spec, execution, protocol=protocol, seed=seed, progress=progress)
    except ModelRefusedError as error:
        refusals.append(error.message)
    try:
        measure_networks(networks, spec, execution, protocol=protocol, seed=seed, progress=progress)
    except ModelRefusedError as error:
        refusals.append(error.message)
    with Store(execution.store) as store:
        table = LatencyTable.read(store, plans[0].setup)
    for refusal in refusals:
        progress.message(refusal)
    return _summarise(table, refusals)


def _pieces(networks: Sequence[Network], batch: int) -> list[Operator]:
    """Return the distinct models of all networks: pieces alone and in context."""
    models = {
        model.program.canonical: model for network in networks for model in subjects_of(network, batch).models
    }
    return list(models.values())


def _expected_seconds(plans: Sequence[Plan], spec: TargetSpec, execution: Execution) -> float:
    """Return the approximate duration of measuring what plans say; large batches take longer on a CPU."""
    seconds = sum(one.expected_seconds for one in plans)
    if spec.resolve(execution).device.card is not None:
        return seconds
    macs = sum(count(operator.program).macs for one in plans for operator in one.todo)
    return seconds + _RUNS * macs * spec.batch / (_MACS_PER_SECOND * spec.threads)


def _summarise(table: LatencyTable, refusals: Sequence[str]) -> DeviceCalibrationSummary:
    known = known_references(table)
    if known.lack is not None:
        raise ConstraintError(" ".join([f"{table.setup.label} has no calibration: {known.lack}.", *refusals]))
    calibration = calibrate_device(known.measured)
    names = {reference.name for reference in known.measured}
    absent = [r.network.name for r in reference_networks() if r.network.name not in names]
    return DeviceCalibrationSummary(
        calibration=calibration,
        setup=table.setup,
        version=VERSION,
        networks=len(known.measured),
        families=len(known.families),
        plain=ModelErrors.of(calibration.plain_errors),
        corrected=ModelErrors.of(calibration.errors),
        half_width=calibration.half_width(CONFIDENCE),
        confidence=CONFIDENCE,
        contradicting=calibration.contradicting,
        left_out={
            name: "not all of its pieces are measured" if name in known.incomplete else "it is not measured"
            for name in absent
        },
    )
