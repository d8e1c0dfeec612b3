"""Where the time of a network goes as a page: a strip of all pieces, tables, and a roofline.

Two networks are shown side by side on one scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from nascli.report.breakdown_summary import (
    NetworkFigures,
    PieceMatch,
    PieceRow,
    format_signed_seconds,
    match_kinds,
    match_pieces,
)
from nascli.report.html import page_of, picture
from nascli.report.svg import ChartAxis, Point, Series, chart, nice_ticks
from nascli.units import format_bytes, format_count, format_seconds

# Kinds that a sentence names.
_NAMED_KINDS = 3
# Nodes of the runtime's profile that are listed for a piece, and rows of a comparison.
_MAX_NODES, _MAX_MATCHES = 12, 40
# Pieces below so many MACs per byte are not drawn in the roofline.
_LEAST_INTENSITY = 0.02
# Per cent of the strip that a letter takes; longer names than this many letters are cut.
_LETTER, _LETTERS = 0.62, 14


def render_breakdown(network: NetworkFigures) -> str:
    """Return the page of one network.

    Args:
        network: Where its time goes.

    Returns:
        HTML that loads nothing from elsewhere; all text from outside is escaped.
    """
    return page_of(
        "breakdown",
        headline=network.headline,
        findings=network.findings,
        strips=[_strip(network, network.seconds, "a")],
        ticks=_ticks(max(network.seconds, _together(network))),
        networks=[_network(network, "a")],
        kinds=[],
        equal=[],
        others=0,
    )


def render_comparison_of_two(first: NetworkFigures, second: NetworkFigures) -> str:
    """Return the page of two networks on one scale.

    Args:
        first: Where the time of the first network goes.
        second: The same of the second, on the same device.
    """
    longest = max(max(network.seconds, _together(network)) for network in (first, second))
    difference = second.seconds - first.seconds
    faster = "longer" if difference > 0 else "less"
    matches, kinds = match_pieces(first, second), match_kinds(first, second)
    return page_of(
        "breakdown",
        headline=(
            f"{second.name} takes {format_seconds(abs(difference))} ({abs(difference) / first.seconds:.0%}) {faster} "
            f"than {first.name}"
        ),
        findings=[
            *(f"{network.headline}." for network in (first, second)),
            _difference_text(kinds),
            _equal_text(matches, first, second),
        ],
        strips=[_strip(first, longest, "a"), _strip(second, longest, "b")],
        ticks=_ticks(longest),
        networks=[_network(first, "a"), _network(second, "b")],
        kinds=[_match_row(match, kind=True) for match in kinds],
        equal=[_match_row(match) for match in matches[:_MAX_MATCHES]],
        others=max(0, len(matches) - _MAX_MATCHES),
    )


def _difference_text(kinds: Sequence[PieceMatch]) -> str:
    """Return which kinds of pieces make the greatest difference."""
    named = [
        f"{match.row.first.kind} {format_signed_seconds(match.difference)}" for match in kinds[:_NAMED_KINDS]
    ]
    return f"The greatest differences: {', '.join(named)}."


def _equal_text(matches: Sequence[PieceMatch], first: NetworkFigures, second: NetworkFigures) -> str:
    """Return how much of the two networks is equal."""
    parts = []
    for network, rows in ((first, [m.first for m in matches]), (second, [m.second for m in matches])):
        known = [row for row in rows if row is not None]
        pieces = sum(len(row.pieces) for row in known)
        share = network.share(sum(row.seconds for row in known))
        parts.append(f"{pieces} of {len(network.pieces)} pieces of {network.name} ({share:.0%} of its time)")
    return f"Both networks have: {' and '.join(parts)}."


def _together(network: NetworkFigures) -> float:
    return sum(piece.seconds for piece in network.pieces)


def _strip(network: NetworkFigures, longest: float, prefix: str) -> dict[str, Any]:
    """Return all pieces as segments of a strip, with widths in per cent of the longest network."""
    segments = []
    for row in network.in_order:
        piece = row.first
        width = 100 * piece.seconds / longest
        segments.append(
            {
                "width": f"{width:.3f}",
                "filled": f"{100 * min(1.0, row.attained or 0.0):.1f}",
                "style": _style(row),
                "name": piece.kind if width >= _LETTER * min(len(piece.kind), _LETTERS) else "",
                "title": f"{piece.number + 1}. {piece.name}",
                "detail": _detail(network, row),
            }
        )
    if network.outside > 0:
        segments.append(
            {
                "width": f"{100 * network.outside / longest:.3f}",
                "filled": "0",
                "style": "outside",
                "name": "",
                "title": "Outside of pieces",
                "detail": f"{format_seconds(network.outside)} that the network takes longer than its pieces in a chain",
            }
        )
    return {
        "name": network.name,
        "latency": format_seconds(network.seconds),
        "prefix": prefix,
        "segments": segments,
    }


def _detail(network: NetworkFigures, row: PieceRow) -> str:
    """Return everything about one piece on one line."""
    piece = row.first
    parts = [
        f"{format_seconds(piece.seconds)} {_interval(row)}, {network.share(piece.seconds):.1%}",
        f"output {piece.output}",
        f"{format_count(piece.macs)} MACs, {format_bytes(piece.bytes)} moved",
        f"{format_count(row.macs_per_second)} MACs/s, {format_bytes(row.bytes_per_second)}/s",
    ]
    if row.attained is not None:
        parts.append(
            f"{row.attained:.0%} of the roofline, {'compute' if piece.is_compute_bound else 'memory'}-bound"
        )
    if piece.runtime_seconds is not None:
        parts.append(f"{format_seconds(piece.runtime_seconds)} by {network.runtime} itself")
    return "; ".join(parts)


def _style(row: PieceRow) -> str:
    return "compute" if row.first.is_compute_bound else "memory"


def _interval(row: PieceRow) -> str:
    return f"±{format_seconds(row.half_width)}" if math.isfinite(row.half_width) else "± unknown"


def _ticks(longest: float) -> list[dict[str, str]]:
    """Return marks of time below the strips."""
    return [
        {"at": f"{100 * value / longest:.2f}", "label": format_seconds(value) if value else "0"}
        for value in nice_ticks(0.0, longest, 6)
        if value <= longest * 0.97
    ]


def _network(network: NetworkFigures, prefix: str) -> dict[str, Any]:
    """Return the sections of one network."""
    longest = network.by_time[0].seconds
    longest_alone = max(piece.seconds for piece in network.pieces)
    is_drawn = any(_is_drawn(row) for row in network.by_time)
    return {
        "name": network.name,
        "prefix": prefix,
        "facts": _facts(network),
        "runtime": network.runtime,
        "by_time": [_row(network, row, longest) for row in network.by_time],
        "in_order": [_row(network, row, longest_alone) for row in network.in_order],
        "by_kind": [_kind_row(network, row) for row in network.by_kind],
        "is_repeating": len(network.by_time) < len(network.pieces),
        "outside": {
            "latency": format_signed_seconds(network.outside),
            "interval": f"±{format_seconds(network.outside_half_width)}",
            "share": f"{network.share(network.outside):.1%}",
        },
        "total": format_seconds(network.seconds),
        "total_runtime": "-" if network.runtime_total is None else format_seconds(network.runtime_total),
        "roofline": picture(_roofline(network)) if is_drawn else "",
        "roofline_text": _roofline_text(network),
        "runtime_note": network.runtime_note,
        "provenance": network.provenance,
    }


def _facts(network: NetworkFigures) -> list[dict[str, str]]:
    """Return the figures below the headline, each with its name."""
    facts = [
        (
            format_seconds(network.seconds),
            f"measured, batch {network.batch} [{format_seconds(network.low)}, {format_seconds(network.high)}]",
        ),
        (format_seconds(network.least_seconds), "at the device's best"),
        (f"{network.least_seconds / network.seconds:.0%}", "of the roofline attained"),
        (format_count(network.macs), f"MACs, {format_count(network.macs / network.seconds)} a second"),
    ]
    if network.runtime_total is not None:
        facts.append((format_seconds(network.runtime_total), f"by the profile of {network.runtime}"))
    return [{"value": value, "name": name} for value, name in facts]


def _row(network: NetworkFigures, row: PieceRow, longest: float) -> dict[str, Any]:
    """Return one row of a table, with values to sort by."""
    piece = row.first
    attained = row.attained
    runtime = row.runtime_seconds
    nodes = sorted(piece.nodes, key=lambda node: -node[2])
    return {
        "number": row.numbers,
        "place": piece.number,
        "name": row.name,
        "operator": piece.operator,
        "output": piece.output,
        "latency": format_seconds(row.seconds),
        "interval": _interval(row),
        "seconds": row.seconds,
        "share": f"{network.share(row.seconds):.1%}",
        "width": f"{100 * row.seconds / longest:.2f}",
        "filled": f"{100 * min(1.0, attained or 0.0):.1f}",
        "style": _style(row),
        "macs": format_count(row.macs) if row.macs else "-",
        "macs_value": row.macs,
        "bytes": format_bytes(row.bytes),
        "bytes_value": row.bytes,
        "rate": f"{row.macs_per_second / 1e9:.1f}" if row.macs else "-",
        "rate_value": row.macs_per_second,
        "bandwidth": f"{row.bytes_per_second / 1e9:.1f}",
        "bandwidth_value": row.bytes_per_second,
        "attained": "-" if attained is None else f"{attained:.0%}",
        "attained_value": attained or 0.0,
        "bound": _style(row),
        "runtime": "-" if runtime is None else format_seconds(runtime),
        "runtime_value": runtime or 0.0,
        "nodes": [
            {"name": name, "kind": kind, "latency": format_seconds(seconds)}
            for name, kind, seconds in nodes[:_MAX_NODES]
        ],
        "more_nodes": max(0, len(nodes) - _MAX_NODES),
        "summary": _summary(network, len(nodes)),
    }


def _kind_row(network: NetworkFigures, row: PieceRow) -> dict[str, Any]:
    """Return one row of the table of kinds."""
    attained = row.attained or 0.0
    return {
        "name": row.first.kind,
        "count": len(row.pieces),
        "latency": format_seconds(row.seconds),
        "share": f"{network.share(row.seconds):.1%}",
        "width": f"{100 * row.seconds / network.by_kind[0].seconds:.2f}",
        "filled": f"{100 * min(1.0, attained):.1f}",
        "attained": f"{attained:.0%}",
        "style": _style(row),
    }


def _summary(network: NetworkFigures, nodes: int) -> str:
    """Return what a piece's details are called."""
    if not nodes:
        return "operator"
    return f"{nodes} node{'s' if nodes > 1 else ''} in {network.runtime}"


def _match_row(match: PieceMatch, *, kind: bool = False) -> dict[str, Any]:
    """Return one row of a comparison."""
    row = match.row
    return {
        "name": row.first.kind if kind else row.first.name,
        "operator": row.first.operator,
        "first": _match_cell(match.first),
        "second": _match_cell(match.second),
        "difference": format_signed_seconds(match.difference),
        "style": "bad" if match.difference > 0 else "ok",
    }


def _match_cell(row: PieceRow | None) -> dict[str, str]:
    if row is None:
        return {"count": "-", "latency": "-"}
    return {"count": f"{len(row.pieces)}", "latency": format_seconds(row.seconds)}


def _roofline(network: NetworkFigures) -> str:
    """Draw MACs per second over MACs per byte, both logarithmic, with the device's best as lines."""
    rows = [row for row in network.by_time if _is_drawn(row)]
    series = []
    for row in rows:
        tip = f"{row.name}: {format_seconds(row.seconds)}, {row.attained or 0.0:.0%} of the roofline"
        point: Point = (
            math.log10(row.macs / row.bytes),
            math.log10(max(row.macs_per_second, 1.0) / 1e9),
            tip,
        )
        radius = 3.5 + 14 * math.sqrt(min(1.0, network.share(row.seconds)))
        series.append(Series([point], f"{_style(row)} bubble", radius=round(radius, 1), stop=True))
    intensities = [each.points[0][0] for each in series]
    low, high = min(intensities) - 0.2, max(intensities) + 0.2
    rates = [rate for _, rate in network.copies]
    lines = [Series(_roof(network.peak_macs, rate, low, high), "guide", line=True) for rate in {*rates}]
    best = Series(_roof(network.peak_macs, max(rates), low, high), "line", line=True)
    return chart(
        "roofline",
        ChartAxis("MACs per byte moved", _power),
        ChartAxis("GMACs a second", _power),
        [*lines, best, *series],
    )


def _roof(peak: float, bandwidth: float, low: float, high: float) -> list[Point]:
    """Return the corners of a roof between two intensities, in logarithms of MACs per byte and of GMACs per second."""
    ridge = math.log10(peak / bandwidth)
    inner = [ridge] if low < ridge < high else []
    return [
        (x, min(math.log10(bandwidth / 1e9) + x, math.log10(peak / 1e9)), "") for x in (low, *inner, high)
    ]


def _power(exponent: float) -> str:
    return f"{10**exponent:.3g}"


def _is_drawn(row: PieceRow) -> bool:
    return row.seconds > 0 and row.bytes > 0 and row.macs / row.bytes >= _LEAST_INTENSITY


def _roofline_text(network: NetworkFigures) -> str:
    rates = [rate for _, rate in network.copies]
    copies = (
        f"{min(rates) / 1e9:.0f} to {max(rates) / 1e9:.0f}" if len(rates) > 1 else f"{rates[0] / 1e9:.0f}"
    )
    count = sum(len(row.pieces) for row in network.by_time if not _is_drawn(row))
    left_out = f" Not drawn: {count} with fewer than {_LEAST_INTENSITY} MACs per byte." if count else ""
    return (
        f"Lines are the device's best: {network.peak_macs / 1e9:.1f} GMACs a second, and copies at {copies} GB a "
        f"second, by their size ({network.peak_source}). Areas of the circles grow with the share of the time."
        f"{left_out}"
    )
