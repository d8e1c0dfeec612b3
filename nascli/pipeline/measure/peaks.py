"""What a device can do at best: multiply-accumulates and bytes per second, measured or from a data sheet.

On a card both come from its data sheet where that has the precision. Elsewhere three large products (two pointwise
convolutions and a 3x3 one) and copies of three sizes are measured beside the network. A copy that fits into a cache is
faster than one that does not, so a piece is compared with a copy of as many bytes as it moves itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nascli.lut.table import LatencyTable
from nascli.profiles.devices.data_sheets import data_sheets
from nascli.profiles.devices.device import Device
from nascli.spaces.counts import FLOAT_BYTES, count
from nascli.spaces.operators.basic import conv_block
from nascli.spaces.operators.definition import Operator
from nascli.spaces.primitives import Act, Shape
from nascli.spaces.programs import Builder, Program

_SOURCE = "the fastest of three large convolutions, and copies of three sizes, measured beside the network"
# Bytes that a copy reads and writes together.
_COPIED_BYTES = (1 << 20, 1 << 23, 1 << 27)
_PRODUCTS = ((Shape(512, 28, 28), 1), (Shape(128, 28, 28), 1), (Shape(256, 28, 28), 3))


@dataclass(frozen=True)
class Peaks:
    """The best that a device does.

    Attributes:
        macs_per_second: Multiply-accumulates per second.
        copies: Pairs of the bytes that a copy moves and its bytes per second, by ascending bytes.
        source: Where the figures come from, as a clause.
    """

    macs_per_second: float
    copies: tuple[tuple[float, float], ...]
    source: str

    def bytes_per_second(self, moved: float) -> float:
        """Return the bytes per second of a copy that moves so many bytes, between copies on a logarithmic scale."""
        sizes, rates = zip(*self.copies, strict=True)
        return float(np.exp(np.interp(np.log(max(moved, 1.0)), np.log(sizes), np.log(rates))))

    def least_seconds(self, macs: float, moved: float) -> float:
        """Return the seconds that MACs and moved bytes take at best, where the longer of both hides the other."""
        return max(macs / self.macs_per_second, moved / self.bytes_per_second(moved))

    def is_compute_bound(self, macs: float, moved: float) -> bool:
        """Return whether MACs take longer than moving the bytes, at best."""
        return macs / self.macs_per_second > moved / self.bytes_per_second(moved)


def from_data_sheet(device: Device, precision: str) -> Peaks | None:
    """Return the peaks of a card's data sheet; None without a sheet, or where it lacks the precision."""
    if device.card is None:
        return None
    sheet = data_sheets().get(device.key)
    if sheet is None or precision not in dict(sheet.peak):
        return None
    # A data sheet counts a multiply-add as two operations.
    return Peaks(
        dict(sheet.peak)[precision] / 2, ((1.0, sheet.bandwidth),), f"the data sheet: {sheet.source}"
    )


def peak_operators(batch: int) -> list[Operator]:
    """Return what is measured to find out the peaks.

    Args:
        batch: Samples per run.
    """
    return [*_products(), *(_copy(size, batch) for size in _COPIED_BYTES)]


def measured_peaks(table: LatencyTable) -> Peaks:
    """Return the peaks that a table's products and copies attain.

    Args:
        table: A table that has all of `peak_operators`.
    """
    batch = table.setup.batch
    rates = [count(o.program).macs * batch / _seconds(table, o.program) for o in _products()]
    copies = []
    for size in _COPIED_BYTES:
        operator = _copy(size, batch)
        moved = 2 * FLOAT_BYTES * operator.program.input.size * batch
        copies.append((float(moved), moved / _seconds(table, operator.program)))
    return Peaks(
        max(rates),
        tuple(copies),
        _SOURCE,
    )


def _products() -> Sequence[Operator]:
    return [
        Operator(f"peak product {k}x{k} {s}", (), conv_block(s, s.channels, kernel=k, act="none").program)
        for s, k in _PRODUCTS
    ]


def _copy(moved: int, batch: int) -> Operator:
    """Return a piece that copies values: an activation alone."""
    side = max(1, round((moved / (2 * FLOAT_BYTES * batch * 64)) ** 0.5))
    shape = Shape(64, side, side)
    builder = Builder(shape)
    return Operator(f"peak copy {shape}", (), builder.build(builder.append(Act("relu"), (0,))))


def _seconds(table: LatencyTable, program: Program) -> float:
    figure = table.lookup(program)
    assert figure is not None
    return figure.seconds
