"""Small charts as SVG text: axes, points, lines. Colours come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

from nascli.units import format_seconds

WIDTH, HEIGHT = 560, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 18, 30, 48
# What fits on the line above a chart.
_TIP = 74


@dataclass(frozen=True)
class Series:
    """Points or a line of one style.

    Attributes:
        points: (x, y, tooltip).
        style: the CSS class: 'dot', 'best', 'line', 'front', 'guide', ...
        line: draw a line through the points instead of a mark at each.
        radius: of a mark.
        stop: whether the keyboard stops at each mark, which then tells what it is.
    """

    points: Sequence[tuple[float, float, str]]
    style: str
    line: bool = False
    radius: float = 3.5
    stop: bool = False


@dataclass(frozen=True)
class ChartAxis:
    """An axis: its title, how numbers are printed, and values that it must show."""

    title: str
    format: Callable[[float], str]
    include: Sequence[float] = field(default_factory=tuple)


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers that cover [low, high]: steps of 1, 2 or 5 times a power of ten."""
    span = high - low
    if span <= 0:
        return [low]
    raw = span / max(1, count)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def _extent(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = (high - low) * 0.06 or abs(high) * 0.05 or 1.0
    return low - margin, high + margin


def _number(value: float) -> str:
    return f"{value:.1f}"


def chart(
    title: str, x: ChartAxis, y: ChartAxis, series: Sequence[Series], marks: Sequence[tuple[float, str]] = ()
) -> str:
    """An XY chart.

    Args:
        title: what a screen reader says.
        x: the horizontal axis.
        y: the vertical axis.
        series: what is drawn, in order.
        marks: vertical lines (x, label), such as a budget.

    Returns:
        an ``<svg>`` element; its text is escaped.
    """
    points = [point for one in series for point in one.points]
    x_low, x_high = _extent([p[0] for p in points] + list(x.include) + [at for at, _ in marks])
    y_low, y_high = _extent([p[1] for p in points] + list(y.include))

    def place_x(value: float) -> float:
        return _LEFT + (value - x_low) / (x_high - x_low) * (WIDTH - _LEFT - _RIGHT)

    def place_y(value: float) -> float:
        return HEIGHT - _BOTTOM - (value - y_low) / (y_high - y_low) * (HEIGHT - _TOP - _BOTTOM)

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        *_axes(x, y, (x_low, x_high), (y_low, y_high), place_x, place_y),
    ]
    for at, label in marks:
        position = _number(place_x(at))
        parts.append(
            f'<line class="mark" x1="{position}" x2="{position}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>'
        )
        side = "end" if place_x(at) > WIDTH / 2 else "start"
        shift = -6 if side == "end" else 6
        parts.append(
            f'<text class="mark" text-anchor="{side}" x="{_number(place_x(at) + shift)}" '
            f'y="{HEIGHT - _BOTTOM - 8}">{escape(label)}</text>'
        )
    for one in series:
        if one.line:
            path = " ".join(f"{_number(place_x(a))},{_number(place_y(b))}" for a, b, _ in one.points)
            parts.append(f'<polyline class="{one.style}" points="{path}"/>')
            continue
        parts += [
            _mark(one.style, place_x(a), place_y(b), one.radius, tip, one.stop) for a, b, tip in one.points
        ]
    parts.append("</svg>")
    return "".join(parts)


def _mark(style: str, x: float, y: float, radius: float, tip: str, stop: bool) -> str:
    """A point; pointed at, touched or stopped at, it says what it is on the line above the chart."""
    circle = f'<circle class="{style}" cx="{_number(x)}" cy="{_number(y)}" r="{radius}"/>'
    if not tip:
        return circle
    short = tip if len(tip) <= _TIP else tip[: _TIP - 1] + "…"
    focus = ' tabindex="0"' if stop else ""
    return (
        f'<g class="point"{focus}><title>{escape(tip)}</title>{circle}'
        f'<text class="tip" x="8" y="{_TOP - 12}">{escape(short)}</text></g>'
    )


def _axes(
    x: ChartAxis,
    y: ChartAxis,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    place_x: Callable[[float], float],
    place_y: Callable[[float], float],
) -> list[str]:
    bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    parts = []
    for value in nice_ticks(*x_range):
        at = _number(place_x(value))
        label = escape(x.format(value))
        parts.append(f'<line class="grid" x1="{at}" x2="{at}" y1="{_TOP}" y2="{bottom}"/>')
        parts.append(f'<text class="tick" text-anchor="middle" x="{at}" y="{bottom + 17}">{label}</text>')
    for value in nice_ticks(*y_range):
        at = _number(place_y(value))
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{at}" y2="{at}"/>')
        parts.append(
            f'<text class="tick" text-anchor="end" x="{_LEFT - 7}" y="{float(at) + 4:.1f}">'
            f"{escape(y.format(value))}</text>"
        )
    middle_x, middle_y = (_LEFT + right) / 2, (_TOP + bottom) / 2
    parts.append(
        f'<text class="title" text-anchor="middle" x="{middle_x}" y="{HEIGHT - 8}">{escape(x.title)}</text>'
    )
    parts.append(
        f'<text class="title" text-anchor="middle" transform="translate(14 {middle_y}) rotate(-90)">'
        f"{escape(y.title)}</text>"
    )
    return parts


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points that no other beats: lower x and higher y, in order of x."""
    front: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda p: (p[0], -p[1])):
        if not front or y > front[-1][1]:
            front.append((x, y))
    return front


_ALONE_STYLE = (
    "svg{background:#fff;font:12px system-ui,sans-serif}.tip{visibility:hidden}"
    ".point:hover .tip{visibility:visible}.grid{stroke:#e3e6ea}.tick{fill:#5b6470}"
    ".title{fill:#2b3138}.dot{fill:#9aa4b0;fill-opacity:.7}.apart,.best{fill:#c2410c}.meas{fill:#2563eb;fill-opacity:.7}"
    ".base{fill:#0f9d76}.guide{stroke:#2b3138;stroke-dasharray:4 4}.front{stroke:#2563eb;stroke-width:2}"
    ".line{stroke:#c2410c;stroke-width:2}polyline{fill:none}.mark{stroke:#c2410c;stroke-dasharray:5 4}"
    "text.mark{fill:#c2410c;stroke:none}"
)


def difference_picture(points: Sequence[tuple[float, float, str, bool]], first: str, second: str) -> str:
    """How two tables differ, as an SVG file of its own: the ratio of each operator over its latency.

    Args:
        points: (seconds in the first, second over first, operator, whether the intervals are apart).
        first: name of the first table.
        second: name of the second.
    """

    def place(apart: bool) -> list[tuple[float, float, str]]:
        return [
            (math.log10(seconds), ratio, f"{name}: {ratio:.3f}")
            for seconds, ratio, name, is_apart in points
            if is_apart == apart
        ]

    ends = [math.log10(p[0]) for p in points]
    drawing = chart(
        f"{second} over {first}",
        ChartAxis(f"latency in {first}", lambda value: format_seconds(10**value)),
        ChartAxis(f"{second} / {first}", lambda value: f"{value:.3g}", [1.0]),
        [
            Series([(min(ends), 1.0, ""), (max(ends), 1.0, "")], "guide", line=True),
            Series(place(False), "dot"),
            Series(place(True), "apart"),
        ],
    )
    return standalone(drawing)


def standalone(drawing: str, title: str = "") -> str:
    """A chart as an SVG file of its own, with the colours that a page would give it, and a line above it."""
    head, _, body = drawing.partition(">")
    style = f"<style>{_ALONE_STYLE}</style>"
    said = f'<text class="title" x="8" y="16">{escape(title)}</text>' if title else ""
    return f'{head} xmlns="http://www.w3.org/2000/svg" width="{WIDTH}">{style}{said}{body}\n'
