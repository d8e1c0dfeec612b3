"""How two tables differ: a new driver, another machine, another batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nascli.errors import StoreError
from nascli.lut.exchange.packs import Pack
from nascli.lut.statistics import Measurement, estimate, newest, reference_anchor


@dataclass(frozen=True)
class OperatorDifference:
    """One operator in both tables: seconds in each, and whether the intervals overlap."""

    label: str
    first: Measurement
    second: Measurement

    @property
    def ratio(self) -> float:
        """Second over first."""
        return self.second.seconds / self.first.seconds

    @property
    def differs(self) -> bool:
        """Whether the 95 % intervals are apart."""
        return self.first.high < self.second.low or self.second.high < self.first.low


@dataclass(frozen=True)
class Comparison:
    """Two tables side by side.

    Attributes:
        setup: which fields of the setups differ.
        rows: operators in both, largest change first.
        only_first: labels that the second lacks.
        only_second: labels that the first lacks.
    """

    setup: list[str]
    rows: list[OperatorDifference]
    only_first: list[str]
    only_second: list[str]

    @property
    def median_ratio(self) -> float:
        """The typical change."""
        return float(np.median([row.ratio for row in self.rows]))


def compare_packs(first: Pack, second: Pack) -> Comparison:
    """Compare the operators that two packs share.

    Raises:
        StoreError: they share none.
    """
    tables = []
    for pack in (first, second):
        counting = {key: newest(rows) for key, rows in pack.samples.items()}
        reference = reference_anchor([s.anchor for rows in counting.values() for s in rows])
        tables.append({key: estimate(rows, reference) for key, rows in counting.items()})
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
