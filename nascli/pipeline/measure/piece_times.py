"""How long each piece of a network takes inside of it, derived from short models.

Differences of a network's beginnings, T(first i pieces) - T(first i - 1 pieces), are as uncertain as a long model is,
however short the piece, and a beginning that ends in a large activation pays for leaving the runtime's layout. So
pieces are timed alone and in pairs, each with the neighbour that it has in the network. What a cut between two pieces
costs,

    cut(i) = T(i) + T(i + 1) - T(i and i + 1),

is shared by both, and so a piece between two others takes

    t(i) = T(i) - cut(i - 1) / 2 - cut(i) / 2 = (T(i - 1 and i) + T(i and i + 1) - T(i - 1) - T(i + 1)) / 2.

Against the runtime's own times of nodes this misplaces half of the time that differences of beginnings do.

The whole network takes longer than the sum, since its weights come from further away than those of a short model: by
some 0.05 ms per MB on a server's CPU. This rest is spread over the pieces by the bytes of their weights, so that the
pieces add up to the network exactly. Where the whole takes less than the sum, the difference is spread by time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nascli.lut.in_context.cold_weights import cold_matters, with_cold_weights
from nascli.lut.statistics import Measurement
from nascli.spaces.counts import count
from nascli.spaces.operators.definition import Operator
from nascli.spaces.primitives import Opaque
from nascli.spaces.programs import Program, chain

Find = Callable[[Program], Measurement | None]


@dataclass(frozen=True)
class PieceTime:
    """How long a piece takes inside of its network.

    Attributes:
        measurement: The seconds with a 95 % interval; not below 0.
        spread: The part of them that comes from the rest of the network by the bytes of its weights; below 0 where the
            whole takes less than its pieces.
    """

    measurement: Measurement
    spread: float


class PieceModels:
    """The models of which the times of pieces are derived.

    Args:
        name: The name of the network.
        pieces: The pieces, each of which takes what the one before gives.
        batch: Samples per run, on which depends whether a piece is measured in several copies with cold weights.

    Attributes:
        whole: The chain of all pieces; None if there is a piece with control flow, which stands alone.
    """

    def __init__(self, name: str, pieces: Sequence[Operator], batch: int) -> None:
        self.pieces = tuple(piece.program for piece in pieces)
        joins = [_can_join(program) for program in self.pieces]
        self._singles = tuple(
            _cold(program, batch) if can_join else program
            for program, can_join in zip(self.pieces, joins, strict=True)
        )
        self._pairs = tuple(
            _cold(chain(self.pieces[left : left + 2]), batch) if joins[left] and joins[left + 1] else None
            for left in range(len(pieces) - 1)
        )
        self.whole = chain(self.pieces) if len(pieces) == 1 or all(joins) else None
        self._operators = self._named(name, pieces)

    def _named(self, name: str, pieces: Sequence[Operator]) -> dict[Program, Operator]:
        known = {}
        if self.whole is not None:
            known[self.whole] = Operator(f"network {name}", (), self.whole)
        for pair, left, right in zip(self._pairs, pieces, pieces[1:], strict=False):
            if pair is not None:
                text = f"carrier of {left.short}, {right.short}{_copies(pair)}"
                known[pair] = Operator(text, (), pair)
        for single, piece in zip(self._singles, pieces, strict=True):
            text = f"carrier of {piece.short}{_copies(single)}"
            known[single] = piece if single.copies == 1 else Operator(text, (), single)
        return known

    def operators(self) -> list[Operator]:
        """Return what has to be measured, each distinct program once."""
        return list(self._operators.values())

    def times(self, find: Find, whole: Measurement) -> list[PieceTime]:
        """Return the time of each piece; together they take as long as the whole.

        Args:
            find: Returns the measurement of a program, which must be there for all of `operators`.
            whole: How long all of them take together.
        """
        shares = [self._share(number) for number in range(len(self.pieces))]
        alone = np.array([_weighted(share, find) for share in shares])
        alone = np.maximum(alone, 0.0)
        rest = whole.seconds - float(alone.sum())
        weights = np.array([count(piece).weight_bytes for piece in self.pieces], dtype=float)
        by = weights if rest > 0 and weights.sum() > 0 else alone
        spread = rest * by / by.sum() if by.sum() > 0 else np.full(len(by), rest / len(by))
        rounds = min([find_known(find, program).rounds for share in shares for program in share] or [0])
        times = []
        for number, share in enumerate(shares):
            half = _half_width(share, find)
            seconds = float(alone[number] + spread[number])
            interval = max(0.0, seconds - half), seconds + half
            times.append(
                PieceTime(
                    Measurement(seconds, *interval, min(rounds, whole.rounds), "in its network"),
                    float(spread[number]),
                )
            )
        return times

    def _share(self, number: int) -> Mapping[Program, float]:
        """Return with what factor each measured program enters the time of a piece."""
        factors: dict[Program, float] = {}

        def add(program: Program, factor: float) -> None:
            factors[program] = factors.get(program, 0.0) + factor / program.copies

        add(self._singles[number], 1.0)
        for left in (number - 1, number):
            if 0 <= left < len(self._pairs):
                pair = self._pairs[left]
                if pair is not None:
                    add(self._singles[left], -0.5)
                    add(self._singles[left + 1], -0.5)
                    add(pair, 0.5)
        return {program: factor for program, factor in factors.items() if factor}


def find_known(find: Find, program: Program) -> Measurement:
    """Return the measurement of a program that has been measured."""
    figure = find(program)
    assert figure is not None
    return figure


def _weighted(share: Mapping[Program, float], find: Find) -> float:
    return sum(factor * find_known(find, program).seconds for program, factor in share.items())


def _half_width(share: Mapping[Program, float], find: Find) -> float:
    """Return half the width of the interval of a weighted sum: variances of its models add up."""
    figures = [(find_known(find, program), factor) for program, factor in share.items()]
    return float(np.sqrt(sum(((m.high - m.low) / 2 * factor) ** 2 for m, factor in figures)))


def _cold(program: Program, batch: int) -> Program:
    return with_cold_weights(program) if cold_matters(program, batch) else program


def _can_join(program: Program) -> bool:
    """Return whether a program can stand between others: control flow knows its values by name and cannot."""
    return not any(
        isinstance(node.primitive, Opaque) and node.primitive.parsed.has_subgraphs for node in program.nodes
    )


def _copies(program: Program) -> str:
    return f", {program.copies} copies" if program.copies > 1 else ""
