"""Small charts as SVG: axes, points, and lines. Colours come from the style sheet of the page."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

# In pixels: the size of a chart, and its margins.
WIDTH, HEIGHT = 560, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 18, 30, 48
# The number of characters that fit on the line above a chart.
_MAX_TIP_LENGTH = 74
# x, y, and the tooltip; an empty tooltip is none.
Point = tuple[float, float, str]


@dataclass(frozen=True)
class Series:
    """Points or a line of one style.

    Attributes:
        points: The points, each as (x, y, tooltip).
        style: The CSS class: 'dot', 'best', 'line', 'front', 'guide', ...
        line: Whether a line connects the points, instead of a mark at each.
        radius: The radius of a mark in pixels.
        stop: Whether the keyboard reaches each mark, which then shows its tooltip.
    """

    points: Sequence[Point]
    style: str
    line: bool = False
    radius: float = 3.5
    stop: bool = False


@dataclass(frozen=True)
class ChartAxis:
    """An axis of a chart.

    Attributes:
        title: The title.
        format: Formats the number of a tick.
        include: Values that the axis must cover.
    """

    title: str
    format: Callable[[float], str]
    include: Sequence[float] = field(default_factory=tuple)


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round numbers within [low, high], in steps of 1, 2, or 5 times a power of ten.

    Args:
        low: The lower end.
        high: The upper end.
        count: About how many numbers.
    """
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
    """Return the range of values with a margin."""
    low, high = min(values), max(values)
    margin = (high - low) * 0.06 or abs(high) * 0.05 or 1.0
    return low - margin, high + margin


def _number(value: float) -> str:
    return f"{value:.1f}"


def chart(
    title: str, x: ChartAxis, y: ChartAxis, series: Sequence[Series], marks: Sequence[tuple[float, str]] = ()
) -> str:
    """Draw an XY chart.

    Args:
        title: What a screen reader says.
        x: The horizontal axis.
        y: The vertical axis.
        series: What to draw, in order.
        marks: Vertical lines as (x, label), such as a budget.

    Returns:
        An ``<svg>`` element; its text is escaped.
    """
    points = [point for each in series for point in each.points]
    x_low, x_high = _extent([p[0] for p in points] + list(x.include) + [value for value, _ in marks])
    y_low, y_high = _extent([p[1] for p in points] + list(y.include))

    def place_x(value: float) -> float:
        return _LEFT + (value - x_low) / (x_high - x_low) * (WIDTH - _LEFT - _RIGHT)

    def place_y(value: float) -> float:
        return HEIGHT - _BOTTOM - (value - y_low) / (y_high - y_low) * (HEIGHT - _TOP - _BOTTOM)

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        *_axes(x, y, (x_low, x_high), (y_low, y_high), place_x, place_y),
    ]
    for value, label in marks:
        parts += _vertical_line(place_x(value), label)
    for each in series:
        if each.line:
            path = " ".join(f"{_number(place_x(a))},{_number(place_y(b))}" for a, b, _ in each.points)
            parts.append(f'<polyline class="{each.style}" points="{path}"/>')
        else:
            parts += [_mark(each, place_x(a), place_y(b), tip) for a, b, tip in each.points]
    parts.append("</svg>")
    return "".join(parts)


def _vertical_line(x: float, label: str) -> list[str]:
    """Draw a line across the chart with a label at its foot, on the side that has more room."""
    side, shift = ("end", -6) if x > WIDTH / 2 else ("start", 6)
    position = _number(x)
    return [
        f'<line class="mark" x1="{position}" x2="{position}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>',
        f'<text class="mark" text-anchor="{side}" x="{_number(x + shift)}" '
        f'y="{HEIGHT - _BOTTOM - 8}">{escape(label)}</text>',
    ]


def _mark(series: Series, x: float, y: float, tip: str) -> str:
    """Draw a point; pointed at, touched, or reached by the keyboard, it shows its tooltip above the chart."""
    circle = f'<circle class="{series.style}" cx="{_number(x)}" cy="{_number(y)}" r="{series.radius}"/>'
    if not tip:
        return circle
    short = tip if len(tip) <= _MAX_TIP_LENGTH else tip[: _MAX_TIP_LENGTH - 1] + "…"
    focus = ' tabindex="0"' if series.stop else ""
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
    """Draw grid lines, ticks, and titles of both axes.

    Args:
        x: The horizontal axis.
        y: The vertical axis.
        x_range: The values at its ends.
        y_range: The values at its ends.
        place_x: Turns a value into pixels from the left.
        place_y: Turns a value into pixels from the top.
    """
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
    """Return the points (x, y) of which no other has a lower x and a higher y, in order of x."""
    front: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda p: (p[0], -p[1])):
        if not front or y > front[-1][1]:
            front.append((x, y))
    return front


# The colours of a chart without a page.
_STANDALONE_STYLE = (
    "svg{background:#fff;font:12px system-ui,sans-serif}.tip{visibility:hidden}"
    ".point:hover .tip{visibility:visible}.grid{stroke:#e3e6ea}.tick{fill:#5b6470}"
    ".title{fill:#2b3138}.dot{fill:#9aa4b0;fill-opacity:.7}.apart,.best{fill:#c2410c}.meas{fill:#2563eb;fill-opacity:.7}"
    ".base{fill:#0f9d76}.guide{stroke:#2b3138;stroke-dasharray:4 4}.front{stroke:#2563eb;stroke-width:2}"
    ".line{stroke:#c2410c;stroke-width:2}polyline{fill:none}.mark{stroke:#c2410c;stroke-dasharray:5 4}"
    "text.mark{fill:#c2410c;stroke:none}"
)


def standalone(drawing: str, title: str = "") -> str:
    """Return a chart as the text of an SVG file, with the colours that a page would give it.

    Args:
        drawing: What `chart` returned.
        title: A line above the chart; empty for none.
    """
    head, _, body = drawing.partition(">")
    style = f"<style>{_STANDALONE_STYLE}</style>"
    line = f'<text class="title" x="8" y="16">{escape(title)}</text>' if title else ""
    return f'{head} xmlns="http://www.w3.org/2000/svg" width="{WIDTH}">{style}{line}{body}\n'
