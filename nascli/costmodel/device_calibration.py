"""Calibration of sums of operators on whole networks of many families, for networks of no calibrated space.

A model of a network's latency is a sum of a few terms with coefficients that are not negative,

    y = a * in_context + b * bytes of weights + c * primitives + ...

of which the terms are what the sum in context may miss: fetching weights and activations that have left the cache,
what a runtime does between operators, and conversions between layouts that the sum alone contains. A fit minimises
Huber's loss of the relative error, in which every family counts as much as any other. Which terms are used is decided
among a few candidates by leaving whole families out.

The interval is a jackknife+ with whole families left out (Barber et al. 2021, Section 2; for groups Lee, Barber, and
Willett 2023) on the logarithm of the latency. For every family the whole procedure, choice of terms included, runs on
the others. If the family of a new network is exchangeable with those of the list, the interval at confidence 1 - a
holds the measured latency with a probability of at least 1 - 2a, and in practice of about 1 - a. No guarantee holds
for one given network or family, and none for networks outside of the range of those measured
(`DeviceCalibration.outside`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nascli.costmodel.network_figures import NetworkFigures
from nascli.errors import ConstraintError, Remedy

Array = npt.NDArray[np.float64]
# With so many families there is an interval of 90 %.
MIN_FAMILIES = 9
# A network of which a larger share of time lies in pieces of ONNX is unlike the measured ones, which have none.
OPAQUE_SHARE = 0.1
# What the sum in context may miss, per unit of which a coefficient is.
_TERMS: dict[str, Callable[[NetworkFigures], float]] = {
    "in context": lambda figures: figures.in_context,
    "weights used few times": lambda figures: figures.program.few_use_bytes,
    "weights": lambda figures: figures.program.weight_bytes,
    "activations": lambda figures: figures.program.activation_bytes,
    "primitives": lambda figures: figures.program.primitives,
    "conversions alone": lambda figures: max(0.0, figures.alone - figures.in_context),
}
# From simple to rich. The first is the plain sum itself, the others fit its factor and the named terms.
_CANDIDATES: tuple[tuple[str, ...], ...] = (
    (),
    ("in context",),
    ("in context", "weights used few times"),
    ("in context", "weights"),
    ("in context", "activations"),
    ("in context", "primitives"),
    ("in context", "conversions alone"),
    ("in context", "weights used few times", "primitives"),
    ("in context", "weights", "primitives"),
    ("in context", "weights used few times", "activations"),
    ("in context", "weights used few times", "conversions alone"),
    ("in context", "weights used few times", "activations", "primitives"),
)
# A richer candidate is taken if its error is smaller by more than this.
_SIMPLER_WITHIN = 1.03
_HUBER, _ITERATIONS = 1.345, 12
# Relative errors below this are noise of the measurement.
_SMALLEST_SCALE = 1e-3
# A network whose error is at least this many times the median error contradicts the others.
_OUTLYING = 6.0


@dataclass(frozen=True)
class MeasuredReference:
    """A reference network that was measured whole.

    Attributes:
        name: Its name.
        family: What kind of network it is.
        figures: What its operators say.
        seconds: Its measured latency.
    """

    name: str
    family: str
    figures: NetworkFigures
    seconds: float


@dataclass(frozen=True)
class Correction:
    """A fitted model of latency.

    Attributes:
        coefficients: By the name of a term: a factor of seconds, seconds per byte, or seconds per primitive.
    """

    coefficients: Mapping[str, float]

    def seconds(self, figures: NetworkFigures) -> float:
        """Return the latency of a network in seconds."""
        return sum(value * _TERMS[name](figures) for name, value in self.coefficients.items())


@dataclass(frozen=True)
class DeviceCalibration:
    """A corrected sum of operators, and its errors on families that it has not seen.

    Attributes:
        correction: Fitted on all families.
        left_out: By family, what is fitted on all others.
        references: The measured networks.
        errors: `(n,)` their relative errors with their family left out: predicted over measured, minus 1.
        plain_errors: `(n,)` relative errors of the plain sum.
        contradicting: Names of networks whose figures the other families contradict.
    """

    correction: Correction
    left_out: Mapping[str, Correction]
    references: tuple[MeasuredReference, ...]
    errors: Array
    plain_errors: Array
    contradicting: tuple[str, ...]

    @property
    def families(self) -> tuple[str, ...]:
        """The families of the networks, in their order."""
        return tuple(self.left_out)

    def seconds(self, figures: NetworkFigures) -> float:
        """Return the corrected latency of a network in seconds."""
        return self.correction.seconds(figures)

    def interval(self, figures: NetworkFigures, confidence: float) -> tuple[float, float]:
        """Return the interval that holds the measured latency of a network with some confidence, in seconds.

        Args:
            figures: The network.
            confidence: Probability in (0, 1).

        Raises:
            ConstraintError: There are too few families for this confidence.
        """
        self._check(confidence)
        weights = self._weights()
        centres = np.log([self.left_out[r.family].seconds(figures) for r in self.references])
        scores = np.abs(np.log1p(self.errors))
        low = -_quantile(scores - centres, weights, confidence)
        high = _quantile(centres + scores, weights, confidence)
        seconds = self.seconds(figures)
        return min(seconds, float(np.exp(low))), max(seconds, float(np.exp(high)))

    def half_width(self, confidence: float) -> float:
        """Return half the width of a typical interval, relative to a prediction.

        An interval of a given network also holds by how much fits without one family differ for it.

        Args:
            confidence: Probability in (0, 1).

        Raises:
            ConstraintError: There are too few families for this confidence.
        """
        self._check(confidence)
        return float(np.expm1(_quantile(np.abs(np.log1p(self.errors)), self._weights(), confidence)))

    def _check(self, confidence: float) -> None:
        families = len(self.left_out)
        if not 0 < confidence < 1 or families / (families + 1) < confidence:
            raise ConstraintError(
                f"{families} families of networks give intervals of at most {families / (families + 1):.0%} "
                f"confidence, not {confidence:.0%}.",
                "Lower the confidence.",
                Remedy(arguments={"confidence": None}),
            )

    def _weights(self) -> Array:
        """What each network counts in a quantile: families count equally, and one more stands for the new family."""
        members = np.array([self.families.index(reference.family) for reference in self.references])
        weights: Array = 1 / (np.bincount(members)[members] * (len(self.left_out) + 1))
        return weights

    def outside(self, figures: NetworkFigures) -> tuple[str, ...]:
        """Return in what a network lies outside of the range of the measured ones; empty if it lies inside."""
        from nascli.units import format_seconds

        measured = [reference.seconds for reference in self.references]
        sizes = [reference.figures.program.weight_bytes for reference in self.references]
        seconds, size = self.seconds(figures), figures.program.weight_bytes
        found = []
        if not min(measured) <= seconds <= max(measured):
            found.append(
                f"its latency (they take {format_seconds(min(measured))} to {format_seconds(max(measured))})"
            )
        if not min(sizes) <= size <= max(sizes):
            found.append(
                f"{size / 1e6:.1f} MB of weights (they have {min(sizes) / 1e6:.1f} to {max(sizes) / 1e6:.1f})"
            )
        if figures.opaque_share > OPAQUE_SHARE:
            found.append(f"{figures.opaque_share:.0%} of its time in pieces of ONNX (they have none)")
        return tuple(found)


def _quantile(values: Array, weights: Array, level: float) -> float:
    """Return the smallest value at which the weights of all values up to it add up to a level."""
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) >= level - 1e-12
    return float(values[order][int(np.argmax(reached))])


def calibrate_device(references: Sequence[MeasuredReference]) -> DeviceCalibration:
    """Fit the correction of sums of operators to whole networks.

    Args:
        references: The measured networks.

    Raises:
        ConstraintError: There are fewer than 9 families, or a figure is not finite and above 0.
    """
    families = list(dict.fromkeys(reference.family for reference in references))
    if len(families) < MIN_FAMILIES:
        raise ConstraintError(
            f"the calibration of a device needs networks of at least {MIN_FAMILIES} families, got {len(references)} "
            f"networks of {len(families)}."
        )
    for reference in references:
        for what, value in (
            ("measured", reference.seconds),
            ("sum in context", reference.figures.in_context),
        ):
            if not (np.isfinite(value) and value > 0):
                raise ConstraintError(
                    f"latencies are finite and above 0, but {reference.name} has {value} ({what})"
                )
    fits = _Fits(references, families)
    everything = frozenset[int]()
    left_out = {name: fits.chosen(frozenset({k})) for k, name in enumerate(families)}
    measured = np.array([reference.seconds for reference in references])
    predicted = np.array([left_out[r.family].seconds(r.figures) for r in references])
    deviations = np.abs(np.log(predicted / measured))
    typical = max(float(np.median(deviations)), _SMALLEST_SCALE)
    return DeviceCalibration(
        correction=fits.chosen(everything),
        left_out=left_out,
        references=tuple(references),
        errors=predicted / measured - 1,
        plain_errors=np.array([r.figures.in_context for r in references]) / measured - 1,
        contradicting=tuple(
            r.name
            for r, deviation in zip(references, deviations, strict=True)
            if deviation > _OUTLYING * typical
        ),
    )


class _Fits:
    """Fits of all candidates to all networks, to those without one family, and to those without two.

    Args:
        references: The measured networks.
        families: The names of their families.
    """

    def __init__(self, references: Sequence[MeasuredReference], families: Sequence[str]) -> None:
        self.family = np.array([families.index(reference.family) for reference in references])
        numbers = range(len(families))
        self.without = [
            frozenset(left) for size in (0, 1, 2) for left in itertools.combinations(numbers, size)
        ]
        self.row = {left: row for row, left in enumerate(self.without)}
        sizes = np.bincount(self.family)
        share = 1 / sizes[self.family]
        weights = np.array([np.where(np.isin(self.family, list(left)), 0.0, share) for left in self.without])
        measured = np.array([reference.seconds for reference in references])
        self.coefficients: list[Array] = []
        self.deviations: list[Array] = []
        for names in _CANDIDATES:
            columns = np.array(
                [[_TERMS[name](r.figures) for name in names or ("in context",)] for r in references]
            )
            relative = columns / measured[:, None]
            found = _fit(relative, weights) if names else np.ones((len(self.without), 1))
            self.coefficients.append(found)
            self.deviations.append(np.abs(np.log(found @ relative.T)))

    def chosen(self, left: frozenset[int]) -> Correction:
        """Return the fit without some families of the simplest candidate that predicts each other family well."""
        others = [k for k in range(int(self.family.max()) + 1) if k not in left]
        errors = [
            float(np.mean([table[self.row[left | {k}], self.family == k].mean() for k in others]))
            for table in self.deviations
        ]
        best = next(i for i, error in enumerate(errors) if error <= _SIMPLER_WITHIN * min(errors))
        values = self.coefficients[best][self.row[left]]
        return Correction(
            {
                name: float(value)
                for name, value in zip(_CANDIDATES[best] or ("in context",), values, strict=True)
            }
        )


def _fit(columns: Array, weights: Array) -> Array:
    """Fit sums of columns to 1, by iteratively weighted least squares with Huber's weights.

    Args:
        columns: `(n, terms)` terms of each network in parts of its measured latency; the first is above 0.
        weights: `(fits, n)` what each network counts in each fit.

    Returns:
        `(fits, terms)` coefficients, none below 0.
    """
    scale = np.maximum(columns.max(axis=0), 1e-30)
    scaled = columns / scale
    counts = weights
    for _ in range(_ITERATIONS):
        found = _non_negative(scaled, counts)
        residuals = np.abs(1 - found @ scaled.T)
        typical = 1.4826 * np.nanmedian(np.where(weights > 0, residuals, np.nan), axis=1)
        bounds = _HUBER * np.maximum(typical, _SMALLEST_SCALE)[:, None]
        counts = weights * np.minimum(1.0, bounds / np.maximum(residuals, 1e-12))
    coefficients: Array = found / scale
    return coefficients


def _non_negative(columns: Array, weights: Array) -> Array:
    """Return the least-squares coefficients that are not negative, by trying all subsets of the terms.

    There are at most four terms, so that this is exact and fast for many fits at once.
    """
    terms = columns.shape[1]
    gram = np.einsum("bn,ni,nj->bij", weights, columns, columns)
    right = np.einsum("bn,ni->bi", weights, columns)
    best = np.zeros((len(weights), terms))
    gained = np.full(len(weights), -np.inf)
    for size in range(terms):
        for others in itertools.combinations(range(1, terms), size):
            used = [0, *others]
            # A term that is 0 in all networks of a fit gets the coefficient 0.
            matrix = gram[:, used][:, :, used] + 1e-12 * np.eye(len(used))
            found = np.linalg.solve(matrix, right[:, used][..., None])[..., 0]
            gain = np.einsum("bi,bi->b", right[:, used], found)
            better = (found >= 0).all(axis=1) & (found[:, 0] > 0) & (gain > gained)
            gained = np.where(better, gain, gained)
            best[better] = 0.0
            best[np.ix_(better, used)] = found[better]
    return best
