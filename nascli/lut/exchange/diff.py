"""How two tables differ: a new driver, another machine, another batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nascli.errors import StoreError
from nascli.lut.exchange.packs import Pack
from nascli.lut.statistics import Measurement, estimate, newest, reference_anchor


@dataclass(frozen=True)
class OperatorDifference:
    """One operator that two tables share.

    Attributes:
        label: The operator's label.
        first: Its measurement in the first table.
        second: Its measurement in the second table.
    """

    label: str
    first: Measurement
    second: Measurement

    @property
    def ratio(self) -> float:
        """Seconds in the second table, divided by those in the first."""
        return self.second.seconds / self.first.seconds

    @property
    def differs(self) -> bool:
        """Whether the 95 % intervals do not overlap."""
        return self.first.high < self.second.low or self.second.high < self.first.low


@dataclass(frozen=True)
class Comparison:
    """Two tables side by side.

    Attributes:
        setup: One line for each field in which the setups differ.
        rows: The operators that both tables have, largest change first.
        only_first: Labels of the operators that the second table lacks, sorted.
        only_second: Labels of the operators that the first table lacks, sorted.
    """

    setup: list[str]
    rows: list[OperatorDifference]
    only_first: list[str]
    only_second: list[str]

    @property
    def median_ratio(self) -> float:
        """Median of the ratios of `rows`."""
        return float(np.median([row.ratio for row in self.rows]))


def compare_packs(first: Pack, second: Pack) -> Comparison:
    """Compare the operators that two packs share.

    Raises:
        StoreError: They share no operator.
    """
    tables = []
    for pack in (first, second):
        current = {key: newest(rows) for key, rows in pack.samples.items()}
        reference = reference_anchor([s.anchor for rows in current.values() for s in rows])
        tables.append({key: estimate(rows, reference) for key, rows in current.items()})
    shared = sorted(set(tables[0]) & set(tables[1]))
    if not shared:
        raise StoreError("the two tables have no operator in common.")
    rows = [OperatorDifference(first.operators[key][0], tables[0][key], tables[1][key]) for key in shared]
    rows.sort(key=lambda row: -abs(np.log(row.ratio)))
    return Comparison(
        first.setup.differences(second.setup),
        rows,
        sorted(first.operators[key][0] for key in set(tables[0]) - set(tables[1])),
        sorted(second.operators[key][0] for key in set(tables[1]) - set(tables[0])),
    )
