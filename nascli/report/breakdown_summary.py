"""Where the time of a network goes, in words and rows: what a terminal and a page both show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from nascli.units import format_seconds

# A piece is slow below this share of the device's best, and worth naming from this share of the time on.
SLOW, NOTABLE = 0.2, 0.01
# The number of pieces or kinds that a sentence names.
_NAMED = 3


@dataclass(frozen=True)
class PieceFigures:
    """One piece of a network.

    Attributes:
        number: Its place in the network, from 0.
        name: What it is in a few words.
        kind: Its name without channels, strides, and activations.
        operator: The label of its operator.
        key: The same for equal pieces only.
        output: The sizes of its output.
        seconds: Its latency inside of the network.
        half_width: Half the width of the 95 % interval; infinite where it is not known.
        macs: MACs of a run.
        bytes: Bytes that a run moves.
        least_seconds: Its latency at the device's best.
        is_compute_bound: Whether MACs take longer than moving the bytes at the device's best.
        runtime_seconds: Its time by the runtime's own profile; None without one.
        nodes: Names, kinds, and seconds of its nodes by the runtime's own profile.
    """

    number: int
    name: str
    kind: str
    operator: str
    key: str
    output: str
    seconds: float
    half_width: float
    macs: float
    bytes: float
    least_seconds: float
    is_compute_bound: bool
    runtime_seconds: float | None
    nodes: tuple[tuple[str, str, float], ...] = ()


@dataclass(frozen=True)
class PieceRow:
    """Equal pieces of a network together, or one piece.

    Attributes:
        pieces: The pieces, in the order of the network.
    """

    pieces: tuple[PieceFigures, ...]

    @property
    def first(self) -> PieceFigures:
        """The first of the pieces."""
        return self.pieces[0]

    @property
    def name(self) -> str:
        """Name and number of the pieces."""
        times = f" ×{len(self.pieces)}" if len(self.pieces) > 1 else ""
        return self.first.name + times

    @property
    def numbers(self) -> str:
        """Places in the network, from 1: '3', '3, 5, 7', or '3, 5, … 25'."""
        places = [str(piece.number + 1) for piece in self.pieces]
        return ", ".join(places if len(places) <= _NAMED else [*places[:2], f"… {places[-1]}"])

    @property
    def seconds(self) -> float:
        """The latency of all of them."""
        return sum(piece.seconds for piece in self.pieces)

    @property
    def half_width(self) -> float:
        """Half the width of the interval of all of them, whose errors are the same."""
        return sum(piece.half_width for piece in self.pieces)

    @property
    def macs(self) -> float:
        """The MACs of all of them."""
        return sum(piece.macs for piece in self.pieces)

    @property
    def bytes(self) -> float:
        """The bytes that all of them move."""
        return sum(piece.bytes for piece in self.pieces)

    @property
    def macs_per_second(self) -> float:
        """The MACs per second that they attain."""
        return self.macs / self.seconds if self.seconds > 0 else 0.0

    @property
    def bytes_per_second(self) -> float:
        """The bytes per second that they attain."""
        return self.bytes / self.seconds if self.seconds > 0 else 0.0

    @property
    def least_seconds(self) -> float:
        """The latency of all of them at the device's best."""
        return sum(piece.least_seconds for piece in self.pieces)

    @property
    def attained(self) -> float | None:
        """The share of the device's best that they attain; None where their latency is 0."""
        return self.least_seconds / self.seconds if self.seconds > 0 else None

    @property
    def runtime_seconds(self) -> float | None:
        """The time of all of them by the runtime's own profile; None without one."""
        known = [piece.runtime_seconds for piece in self.pieces if piece.runtime_seconds is not None]
        return sum(known) if len(known) == len(self.pieces) else None


@dataclass(frozen=True)
class NetworkFigures:
    """Where the time of a network goes.

    Attributes:
        name: The network's name.
        seconds: Its latency as it is.
        low: The lower end of the 95 % interval.
        high: The upper end.
        outside: What it takes longer than its pieces in a chain; below 0 where it takes less.
        outside_half_width: Half the width of the interval of `outside`.
        pieces: The pieces in the order of the network.
        peak_macs: MACs per second at the device's best.
        copies: Bytes and bytes per second of copies at the device's best.
        peak_source: Where these come from.
        runtime: The runtime's name.
        runtime_total: The time of all nodes by its own profile; None without one.
        runtime_note: What is to be said about its own times; empty for nothing.
        batch: Samples per run.
        provenance: Names and values of what the figures depend on.
    """

    name: str
    seconds: float
    low: float
    high: float
    outside: float
    outside_half_width: float
    pieces: tuple[PieceFigures, ...]
    peak_macs: float
    copies: tuple[tuple[float, float], ...]
    peak_source: str
    runtime: str
    runtime_total: float | None
    runtime_note: str
    batch: int
    provenance: tuple[tuple[str, str], ...]

    def share(self, seconds: float) -> float:
        """Return a latency over that of the network."""
        return seconds / self.seconds

    @cached_property
    def by_time(self) -> list[PieceRow]:
        """Equal pieces together, those that take most of the time first."""
        return sorted(_grouped(self.pieces, lambda piece: piece.key), key=lambda row: -row.seconds)

    @cached_property
    def in_order(self) -> list[PieceRow]:
        """Each piece alone, in the order of the network."""
        return [PieceRow((piece,)) for piece in self.pieces]

    @cached_property
    def by_kind(self) -> list[PieceRow]:
        """Pieces of one kind together, whatever their sizes, those that take most of the time first."""
        return sorted(_grouped(self.pieces, lambda piece: piece.kind), key=lambda row: -row.seconds)

    @property
    def least_seconds(self) -> float:
        """The latency of all pieces at the device's best."""
        return sum(piece.least_seconds for piece in self.pieces)

    @property
    def macs(self) -> float:
        """The MACs of a run."""
        return sum(piece.macs for piece in self.pieces)

    @cached_property
    def headline(self) -> str:
        """How the time is distributed, as one sentence without a full stop."""
        count = len(self.pieces)
        if count == 1:
            return f"{self.name} takes {format_seconds(self.seconds)}, in one piece"
        total, taken = 0.0, 0
        for piece in sorted(self.pieces, key=lambda piece: -piece.seconds):
            total, taken = total + piece.seconds, taken + 1
            if total >= self.seconds / 2:
                break
        return (
            f"{total / self.seconds:.0%} of {self.name}'s {format_seconds(self.seconds)} "
            f"{'is' if taken == 1 else 'are'} in {taken} of {count} pieces"
        )

    @cached_property
    def findings(self) -> list[str]:
        """What is worth knowing, as sentences."""
        kinds = [
            f"{f'{len(row.pieces)} × ' if len(row.pieces) > 1 else ''}{row.first.kind} {self.share(row.seconds):.0%}"
            for row in self.by_kind[:_NAMED]
        ]
        sentences = [f"Most of the time is in: {', '.join(kinds)}." if len(self.pieces) > 1 else ""]
        sentences.append(_slow_pieces(self))
        sentences.append(
            f"At the best of the device, all pieces would take {format_seconds(self.least_seconds)}, "
            f"{self.share(self.least_seconds):.0%} of the time."
        )
        if abs(self.share(self.outside)) >= NOTABLE:
            more = "longer" if self.outside > 0 else "less"
            sentences.append(
                f"The network itself takes {format_seconds(abs(self.outside))} {more} than its pieces in a chain."
            )
        return [sentence for sentence in sentences if sentence]


def _slow_pieces(network: NetworkFigures) -> str:
    """Return which pieces are far below the device's best."""
    notable = [
        row for row in network.by_time if network.share(row.seconds) >= NOTABLE and row.attained is not None
    ]
    slow = [row for row in notable if (row.attained or 0.0) < SLOW]
    if not slow:
        lowest = min(notable, key=lambda row: row.attained or 0.0, default=None)
        if lowest is None:
            return ""
        return (
            f"No piece with {NOTABLE:.0%} or more of the time runs below {SLOW:.0%} of the roofline; the lowest is "
            f"{lowest.name} (piece {lowest.numbers}) at {lowest.attained:.0%}."
        )
    count = sum(len(row.pieces) for row in slow)
    names = [f"{row.name} (piece {row.numbers}, {row.attained:.0%})" for row in slow[:_NAMED]]
    others = f", and {len(slow) - _NAMED} more" if len(slow) > _NAMED else ""
    return (
        f"{count} {'piece runs' if count == 1 else 'pieces run'} at under {SLOW:.0%} of the roofline, and "
        f"{'takes' if count == 1 else 'take'} {network.share(sum(row.seconds for row in slow)):.0%} of the time: "
        f"{', '.join(names)}{others}."
    )


def _grouped(pieces: Sequence[PieceFigures], key: Callable[[PieceFigures], str]) -> list[PieceRow]:
    """Return the pieces of each key together."""
    groups: dict[str, list[PieceFigures]] = {}
    for piece in pieces:
        groups.setdefault(key(piece), []).append(piece)
    return [PieceRow(tuple(group)) for group in groups.values()]


def format_signed_seconds(seconds: float) -> str:
    """Return a difference of times with its sign."""
    return f"{'+' if seconds >= 0 else '-'}{format_seconds(abs(seconds))}"


@dataclass(frozen=True)
class PieceMatch:
    """Pieces that two networks have in common, or that one of them has.

    Attributes:
        first: Those of the first network; None if it has none.
        second: Those of the second; None if it has none.
    """

    first: PieceRow | None
    second: PieceRow | None

    @property
    def row(self) -> PieceRow:
        """Those of the first network that has any."""
        row = self.first or self.second
        assert row is not None
        return row

    @property
    def difference(self) -> float:
        """By how many seconds the second network's take longer."""
        return (self.second.seconds if self.second else 0.0) - (self.first.seconds if self.first else 0.0)


def match_pieces(first: NetworkFigures, second: NetworkFigures) -> list[PieceMatch]:
    """Return the pieces that both networks have, by their keys, the longest first."""
    others = {row.first.key: row for row in second.by_time}
    matches = [PieceMatch(row, others[row.first.key]) for row in first.by_time if row.first.key in others]
    return sorted(matches, key=lambda match: -max(r.seconds for r in (match.first, match.second) if r))


def match_kinds(first: NetworkFigures, second: NetworkFigures) -> list[PieceMatch]:
    """Return the kinds of pieces of both networks, those with the greatest difference first."""
    ours = {row.first.kind: row for row in first.by_kind}
    theirs = {row.first.kind: row for row in second.by_kind}
    matches = [PieceMatch(ours.get(name), theirs.get(name)) for name in dict.fromkeys([*ours, *theirs])]
    return sorted(matches, key=lambda match: -abs(match.difference))
