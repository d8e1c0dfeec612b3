"""A breakdown as what a terminal and a page show."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from nascli.errors import StoreError
from nascli.files import write_atomically
from nascli.pipeline.measure.breakdown_result import Breakdown, BreakdownPiece
from nascli.report.breakdown_page import render_breakdown, render_comparison_of_two
from nascli.report.breakdown_summary import (
    NetworkFigures,
    PieceFigures,
    PieceMatch,
    PieceRow,
    format_signed_seconds,
    match_kinds,
    match_pieces,
)
from nascli.spaces.piece_names import kind_of
from nascli.units import format_seconds

__all__ = ["NetworkFigures", "PieceRow", "compared", "comparison_rows", "figures_of", "write_breakdown_page"]


def write_breakdown_page(breakdowns: Sequence[Breakdown], out: Path) -> None:
    """Write the page of a network, or of two beside each other.

    Args:
        breakdowns: One or two.
        out: The file.

    Raises:
        StoreError: The page cannot be written.
    """
    figures = [figures_of(breakdown) for breakdown in breakdowns]
    page = (
        render_breakdown(figures[0])
        if len(figures) == 1
        else render_comparison_of_two(figures[0], figures[1])
    )
    try:
        write_atomically(out, page.encode())
    except OSError as error:
        raise StoreError(f"cannot write {out}: {error.strerror}") from error


def compared(first: Breakdown, second: Breakdown) -> dict[str, object]:
    """Return two breakdowns and what they have in common as a document."""
    figures = figures_of(first), figures_of(second)
    return {
        "first": first.to_json(),
        "second": second.to_json(),
        "difference_s": second.seconds - first.seconds,
        "equal_pieces": [
            {"key": match.row.first.key, "name": match.row.first.name, **_match(match)}
            for match in match_pieces(*figures)
        ],
        "kinds": [{"name": match.row.first.kind, **_match(match)} for match in match_kinds(*figures)],
    }


def _match(match: PieceMatch) -> dict[str, object]:
    document: dict[str, object] = {"difference_s": match.difference}
    for name, row in (("first", match.first), ("second", match.second)):
        document[f"{name}_pieces"] = 0 if row is None else len(row.pieces)
        document[f"{name}_s"] = 0.0 if row is None else row.seconds
    return document


def comparison_rows(first: NetworkFigures, second: NetworkFigures) -> list[list[str]]:
    """Return a row for each kind of pieces: its name, number and time in both networks, and the difference."""
    rows = []
    for match in match_kinds(first, second):
        cells = [match.row.first.kind]
        for row in (match.first, match.second):
            cells += ["-", "-"] if row is None else [f"{len(row.pieces)} ×", format_seconds(row.seconds)]
        rows.append([*cells, format_signed_seconds(match.difference)])
    return rows


def figures_of(breakdown: Breakdown) -> NetworkFigures:
    """Return what is shown of a breakdown."""
    outside, opinion = breakdown.outside, breakdown.opinion
    setup = breakdown.setup
    return NetworkFigures(
        name=breakdown.name,
        seconds=breakdown.seconds,
        low=breakdown.measurement.low,
        high=breakdown.measurement.high,
        outside=outside.seconds,
        outside_half_width=(outside.high - outside.low) / 2,
        pieces=tuple(_piece(piece) for piece in breakdown.pieces),
        peak_macs=breakdown.peaks.macs_per_second,
        copies=breakdown.peaks.copies,
        peak_source=breakdown.peaks.source,
        runtime=setup.runtime,
        runtime_total=None if opinion is None else sum(opinion.seconds) + opinion.unattributed,
        runtime_note=_runtime_note(breakdown),
        batch=setup.batch,
        provenance=tuple(_provenance(breakdown)),
    )


def _piece(piece: BreakdownPiece) -> PieceFigures:
    return PieceFigures(
        number=piece.number,
        name=piece.name,
        kind=kind_of(piece.name),
        operator=piece.operator,
        key=piece.key,
        output="x".join(map(str, piece.output)),
        seconds=piece.seconds,
        half_width=(piece.measurement.high - piece.measurement.low) / 2,
        macs=float(piece.macs),
        bytes=piece.bytes,
        least_seconds=piece.least_seconds,
        is_compute_bound=piece.is_compute_bound,
        runtime_seconds=piece.runtime_seconds,
        nodes=tuple((node.name, node.kind, node.seconds) for node in piece.nodes),
    )


def _runtime_note(breakdown: Breakdown) -> str:
    """Return what is to be said about the runtime's own times."""
    name, opinion = breakdown.setup.runtime, breakdown.opinion
    if opinion is None:
        return f"{name} gives no times of its own: {breakdown.no_opinion}."
    note = f"The last column is the profile of {name} itself, a second opinion that leaves out what lies between nodes."
    if opinion.shared:
        note += f" {format_seconds(opinion.shared)} of it lie between two pieces, and count half for either."
    if opinion.unattributed:
        note += f" {format_seconds(opinion.unattributed)} of it could not be attributed to a piece."
    return note


def _provenance(breakdown: Breakdown) -> list[tuple[str, str]]:
    """Return what the figures depend on, and what they are."""
    setup = breakdown.setup
    rest = sum(piece.spread for piece in breakdown.pieces)
    rows = [
        ("device", setup.device),
        ("runtime", f"{setup.runtime} {setup.runtime_version}, {setup.precision}"),
        ("batch, threads", f"{setup.batch}, {setup.threads}{f', {setup.mode}' if setup.mode else ''}"),
        ("measured on", time.strftime("%Y-%m-%d %H:%M", time.localtime(breakdown.measured_at))),
        (
            "the network",
            f"{format_seconds(breakdown.seconds)} end to end over {breakdown.measurement.rounds} interleaved rounds",
        ),
        (
            "pieces",
            "each timed alone and in pairs with the neighbours that it has in the network; what a cut costs is shared",
        ),
        (
            "the rest",
            f"together the pieces add up to {format_seconds(breakdown.together.seconds)}, which is that of a chain of "
            f"all: {format_seconds(rest)} of it, which the short models lack, are spread by "
            f"{'the bytes of weights' if rest > 0 else 'time'}",
        ),
        (
            "outside of pieces",
            "what the network itself takes longer than this chain, which has other weights and names",
        ),
        (
            "intervals",
            "95 %, of what was measured; they do not contain the choice of how the rest is spread",
        ),
        ("the device's best", breakdown.peaks.source),
    ]
    if breakdown.unsettled:
        rows.append(("did not settle within 1 %", f"{breakdown.unsettled} models"))
    return rows
