"""How two latency tables differ, as an SVG file of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nascli.report.svg import ChartAxis, Point, Series, chart, standalone
from nascli.units import format_seconds


@dataclass(frozen=True)
class RatioPoint:
    """One operator in both tables.

    Attributes:
        operator: Its name.
        seconds: Its latency in the first table.
        ratio: Its latency in the second table over that in the first.
        differs: Whether the intervals of both do not overlap.
    """

    operator: str
    seconds: float
    ratio: float
    differs: bool


def difference_picture(points: Sequence[RatioPoint], first: str, second: str) -> str:
    """Draw the ratio of each operator's latencies over its latency, which has a logarithmic axis.

    Args:
        points: The operators, at least one.
        first: The name of the first table.
        second: The name of the second table.

    Returns:
        The text of an SVG file.
    """

    def select(differs: bool) -> list[Point]:
        return [
            (math.log10(point.seconds), point.ratio, f"{point.operator}: {point.ratio:.3f}")
            for point in points
            if point.differs == differs
        ]

    logarithms = [math.log10(point.seconds) for point in points]
    drawing = chart(
        f"{second} over {first}",
        ChartAxis(f"latency in {first}", lambda value: format_seconds(10**value)),
        ChartAxis(f"{second} / {first}", lambda value: f"{value:.3g}", [1.0]),
        [
            Series([(min(logarithms), 1.0, ""), (max(logarithms), 1.0, "")], "guide", line=True),
            Series(select(False), "dot"),
            Series(select(True), "apart"),
        ],
    )
    return standalone(drawing)
