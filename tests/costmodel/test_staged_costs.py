import numpy as np
import pytest

from nascli.costmodel.staged_costs import count_within
from nascli.errors import NascliError
from nascli.search.nss.search import Bins
from nascli.spaces.catalog import load_space_of_any_kind

SMALL = load_space_of_any_kind("nss-expanded-mini:depths=3,widths=6")


def everything():
    sides = np.meshgrid(*[np.arange(n) for n in (3, 6) * 3], indexing="ij")
    return np.stack([side.ravel() for side in sides], axis=1)


@pytest.mark.parametrize("quantiles", [(0.0, 1.0), (0.2, 0.3), (0.9, 0.95)])
def test_counts_are_those_of_enumeration(quantiles):
    macs = SMALL.macs(everything())
    low, high = np.quantile(macs, quantiles)
    inside, total = count_within(SMALL, low, high)
    assert total == SMALL.size == len(macs)
    assert inside == int(((macs >= low) & (macs <= high)).sum())


def test_counts_within_ranges_are_those_of_an_elite_space():
    space = load_space_of_any_kind("nss-expanded-mini")
    bins = Bins(space, 2, 8)
    chosen = ((0, 1), (1, 0), (1, 3))
    macs = space.macs(bins.enumerate(chosen))
    low, high = np.quantile(macs, [0.3, 0.6])
    inside, total = count_within(space, low, high, bins.ranges(chosen))
    assert (inside, total) == (int(((macs >= low) & (macs <= high)).sum()), len(macs))


def test_the_paper_s_space_is_counted():
    """5.5e11 networks: far beyond enumeration, and no more than the sum of its parts."""
    space = load_space_of_any_kind("nss-expanded:widths=128")
    least, most = space.macs([[0] * 6])[0], space.macs([[15, 127] * 3])[0]
    assert count_within(space, least, most) == (space.size, space.size)
    half, _ = count_within(space, 0, float(most) / 2)
    rest, _ = count_within(space, float(most) / 2 + 1, float(most))
    assert half + rest == space.size and 0 < rest < half


def test_ranges_of_another_space_are_refused():
    with pytest.raises(NascliError, match="no ranges"):
        count_within(SMALL, 0, 1, [(1, 4, 1, 6)] * 3)
