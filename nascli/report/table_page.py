"""A latency table as a page: what is slow on a device, how near to its limits, and where it falls off a cliff."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nascli.report.html import page_of, picture
from nascli.report.svg import ChartAxis, Point, Series, chart
from nascli.units import format_count, format_seconds

# The number of rows that the page shows of operators, and of cliffs.
_MAX_OPERATORS, _MAX_CLIFFS = 40, 20
# Vector units and tensor cores take so many channels at once: a fast convolution has a multiple of it.
_BLOCK = 8
# Operators are compared within this factor of intensity; a cliff is below this share of the other's rate.
_MAX_INTENSITY_RATIO, _MAX_CLIFF_RATE = 1.5, 0.7


@dataclass(frozen=True)
class OperatorPoint:
    """One operator of a table.

    Attributes:
        operator: Its name, which begins with its family.
        seconds: Its latency per batch.
        relative_width: Half the width of its 95 % interval over `seconds`; infinite where it is not known.
        macs: MACs per batch.
        bytes: Bytes that it moves per batch, weights once.
        channels: The number of channels of its narrowest convolution; 0 without one.
    """

    operator: str
    seconds: float
    relative_width: float
    macs: float
    bytes: float
    channels: int

    @property
    def family(self) -> str:
        """The first word of the name."""
        return self.operator.split(" ")[0]

    @property
    def fills_blocks(self) -> bool:
        """Whether the channels are a multiple of what hardware takes at once."""
        return self.channels % _BLOCK == 0

    @property
    def intensity(self) -> float:
        """MACs per byte."""
        return self.macs / self.bytes

    @property
    def rate(self) -> float:
        """MACs per second."""
        return self.macs / self.seconds


@dataclass(frozen=True)
class Cliff:
    """An operator whose channels do not fill a block, and a similar one whose channels do and that is much faster.

    Attributes:
        slow: The operator.
        fast: The fastest similar one.
    """

    slow: OperatorPoint
    fast: OperatorPoint


def find_cliffs(points: Sequence[OperatorPoint]) -> list[Cliff]:
    """Return operators that are slow because their channels do not fill a block, the slowest first.

    An operator is compared with those of its family whose channels fill blocks and whose intensity is within a factor
    of 1.5. It is a cliff if it does less than 70 % of the MACs per second of the fastest of them.
    """
    cliffs = []
    for point in points:
        if point.channels == 0 or point.fills_blocks:
            continue
        similar = [
            other
            for other in points
            if other.channels
            and other.fills_blocks
            and other.family == point.family
            and 1 / _MAX_INTENSITY_RATIO < other.intensity / point.intensity < _MAX_INTENSITY_RATIO
        ]
        if similar:
            fastest = max(similar, key=lambda other: other.rate)
            if point.rate < _MAX_CLIFF_RATE * fastest.rate:
                cliffs.append(Cliff(point, fastest))
    return sorted(cliffs, key=lambda cliff: cliff.slow.rate / cliff.fast.rate)


def roofline_chart(points: Sequence[OperatorPoint]) -> str:
    """Draw MACs per second over MACs per byte, both logarithmic, and the highest that was measured of each.

    Args:
        points: Operators with MACs and bytes, at least one.
    """
    marks: list[Point] = [
        (
            math.log10(point.intensity),
            math.log10(point.rate),
            f"{point.operator}: {format_seconds(point.seconds)}, {format_count(point.rate)} MACs a second",
        )
        for point in points
    ]
    peak = max(point.rate for point in points)
    bandwidth = max(point.rate / point.intensity for point in points)
    ridge = math.log10(peak / bandwidth)
    low, high = min(x for x, _, _ in marks), max(x for x, _, _ in marks)
    roof = [
        (low, math.log10(bandwidth) + low, ""),
        (ridge, math.log10(peak), ""),
        (high, math.log10(peak), ""),
    ]
    return chart(
        "roofline",
        ChartAxis("MACs per byte", _format_power),
        ChartAxis("MACs a second", _format_power),
        [
            Series(marks, "meas"),
            Series([corner for corner in roof if low <= corner[0] <= high], "line", line=True),
        ],
    )


def _format_power(exponent: float) -> str:
    return f"{10**exponent:.3g}" if exponent < 4 else format_count(10**exponent)


def render_table(setup: str, digest: str, points: Sequence[OperatorPoint]) -> str:
    """Return the page of a table.

    Args:
        setup: Device, runtime, batch, and so on, on one line.
        digest: The digest of the table.
        points: The operators, at least one.

    Returns:
        HTML that loads nothing from elsewhere; all text from outside is escaped.
    """
    ordered = sorted(points, key=lambda point: -point.seconds)
    computing = [point for point in points if point.macs > 0 and point.bytes > 0]
    cliffs = find_cliffs(computing)
    slowest, fastest = ordered[0].seconds, ordered[-1].seconds
    return page_of(
        "table_page",
        headline=f"{len(points)} operators, {format_seconds(fastest)} to {format_seconds(slowest)}",
        setup=setup,
        digest=digest,
        facts=_facts(points, computing, cliffs),
        roofline=picture(roofline_chart(computing)) if computing else "",
        cliffs=[_cliff_row(cliff) for cliff in cliffs[:_MAX_CLIFFS]],
        block=_BLOCK,
        more=max(0, len(ordered) - _MAX_OPERATORS),
        rows=[_operator_row(point, slowest) for point in ordered[:_MAX_OPERATORS]],
    )


def _facts(
    points: Sequence[OperatorPoint], computing: Sequence[OperatorPoint], cliffs: Sequence[Cliff]
) -> list[dict[str, str]]:
    """Return the figures below the headline, each with its name."""
    mean = sum(point.seconds for point in points) / len(points)
    facts = [(format_seconds(mean), "an operator on average")]
    if computing:
        facts.append((format_count(max(point.rate for point in computing)), "MACs a second at best"))
    facts += [
        (_median_width(points), "half the 95 % interval, median"),
        (str(len(cliffs)), "cliffs"),
    ]
    return [{"value": value, "name": name} for value, name in facts]


def _median_width(points: Sequence[OperatorPoint]) -> str:
    widths = sorted(point.relative_width for point in points if math.isfinite(point.relative_width))
    return f"{widths[len(widths) // 2]:.1%}" if widths else "unknown"


def _cliff_row(cliff: Cliff) -> dict[str, str]:
    return {
        "operator": cliff.slow.operator,
        "channels": str(cliff.slow.channels),
        "rate": format_count(cliff.slow.rate),
        "other": cliff.fast.operator,
        "other_rate": format_count(cliff.fast.rate),
    }


def _operator_row(point: OperatorPoint, slowest: float) -> dict[str, str]:
    is_known = math.isfinite(point.relative_width)
    return {
        "operator": point.operator,
        "latency": format_seconds(point.seconds),
        "interval": f"±{point.relative_width:.1%}" if is_known else "unknown",
        "macs": format_count(point.macs),
        "rate": format_count(point.rate) if point.macs else "-",
        "width": f"{100 * point.seconds / slowest:.1f}",
    }
