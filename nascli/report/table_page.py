"""A latency table as a page: what is slow on this device, how near to its limits, and where it falls off a cliff."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nascli.report.html import page_of, picture
from nascli.report.svg import ChartAxis, Series, chart
from nascli.units import format_count, format_seconds

_SLOWEST = 40
# Channels that vector units and tensor cores take at once, of which a fast convolution has a multiple.
_BLOCK = 8


@dataclass(frozen=True)
class OperatorPoint:
    """One operator of a table.

    Attributes:
        operator: its name.
        seconds: per batch.
        relative_width: half its 95 % interval over `seconds`; infinite where nothing is known.
        macs: per batch.
        bytes: moved per batch, weights once.
        channels: of its narrowest convolution; 0 without one.
    """

    operator: str
    seconds: float
    relative_width: float
    macs: float
    bytes: float
    channels: int

    @property
    def intensity(self) -> float:
        """MACs per byte."""
        return self.macs / self.bytes

    @property
    def rate(self) -> float:
        """MACs a second."""
        return self.macs / self.seconds


@dataclass(frozen=True)
class Cliff:
    """Operators whose channels do not fill a block, against those that do and are otherwise alike."""

    operator: str
    channels: int
    rate: float
    other: str
    other_rate: float


def roofline_chart(rows: Sequence[OperatorPoint]) -> str:
    """MACs a second against MACs per byte, both logarithmic, under the best that was seen of each."""
    points = [
        (
            math.log10(row.intensity),
            math.log10(row.rate),
            f"{row.operator}: {format_seconds(row.seconds)}, {format_count(row.rate)} MACs a second",
        )
        for row in rows
    ]
    peak = max(row.rate for row in rows)
    bandwidth = max(row.rate / row.intensity for row in rows)
    knee = math.log10(peak / bandwidth)
    low, high = min(p[0] for p in points), max(p[0] for p in points)
    roof = [
        (low, math.log10(bandwidth) + low, ""),
        (knee, math.log10(peak), ""),
        (high, math.log10(peak), ""),
    ]
    roof = [point for point in roof if low <= point[0] <= high]
    return chart(
        "roofline",
        ChartAxis("MACs per byte", _power),
        ChartAxis("MACs a second", _power),
        [Series(points, "meas"), Series(roof, "line", line=True)],
    )


def _power(value: float) -> str:
    return f"{10**value:.3g}" if value < 4 else format_count(10**value)


def cliffs(rows: Sequence[OperatorPoint]) -> list[Cliff]:
    """Operators that are slower than wider ones of their kind, for channels that fill no block.

    Compared are operators of one family (the first word of the name) and an intensity within a factor of 1.5, where
    the one with ragged channels does less than 70 % of the MACs a second.
    """
    found = []
    for row in rows:
        if row.channels == 0 or row.channels % _BLOCK == 0:
            continue
        kind = row.operator.split(" ")[0]
        alike = [
            other
            for other in rows
            if other.channels
            and other.channels % _BLOCK == 0
            and other.operator.split(" ")[0] == kind
            and 1 / 1.5 < other.intensity / row.intensity < 1.5
        ]
        if alike:
            best = max(alike, key=lambda other: other.rate)
            if row.rate < 0.7 * best.rate:
                found.append(Cliff(row.operator, row.channels, row.rate, best.operator, best.rate))
    return sorted(found, key=lambda cliff: cliff.rate / cliff.other_rate)


def render_table(setup: str, digest: str, rows: Sequence[OperatorPoint]) -> str:
    """The page of one table.

    Args:
        setup: device, runtime, batch and so on.
        digest: the table's.
        rows: its operators, at least one.
    """
    ordered = sorted(rows, key=lambda row: -row.seconds)
    working = [row for row in rows if row.macs > 0 and row.bytes > 0]
    total = sum(row.seconds for row in rows)
    steep = cliffs(working)
    fastest, slowest = format_seconds(ordered[-1].seconds), format_seconds(ordered[0].seconds)
    return page_of(
        "table_page",
        headline=f"{len(rows)} operators, {fastest} to {slowest}",
        setup=setup,
        digest=digest,
        facts=[
            {"value": format_seconds(total / len(rows)), "name": "an operator on average"},
            *(
                [
                    {
                        "value": format_count(max(row.rate for row in working)),
                        "name": "MACs a second at best",
                    }
                ]
                if working
                else []
            ),
            {"value": _typical_width(rows), "name": "half the 95 % interval, median"},
            {"value": str(len(steep)), "name": "cliffs"},
        ],
        roofline=picture(roofline_chart(working)) if working else "",
        cliffs=[
            {
                "operator": cliff.operator,
                "channels": cliff.channels,
                "rate": format_count(cliff.rate),
                "other": cliff.other,
                "other_rate": format_count(cliff.other_rate),
            }
            for cliff in steep[:20]
        ],
        block=_BLOCK,
        more=max(0, len(ordered) - _SLOWEST),
        rows=[
            {
                "operator": row.operator,
                "latency": format_seconds(row.seconds),
                "interval": f"±{row.relative_width:.1%}" if math.isfinite(row.relative_width) else "unknown",
                "macs": format_count(row.macs),
                "rate": format_count(row.rate) if row.macs else "-",
                "width": f"{100 * row.seconds / ordered[0].seconds:.1f}",
            }
            for row in ordered[:_SLOWEST]
        ],
    )


def _typical_width(rows: Sequence[OperatorPoint]) -> str:
    widths = sorted(row.relative_width for row in rows if math.isfinite(row.relative_width))
    return f"{widths[len(widths) // 2]:.1%}" if widths else "unknown"
