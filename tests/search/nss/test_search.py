import numpy as np
import pytest

from benchmarks.nss import samples_until
from nascli.costmodel import counted
from nascli.costmodel.staged_costs import StagedCost, fit_staged_cost, staged_macs
from nascli.errors import InfeasibleError, NascliError, SpaceError
from nascli.search.nss.search import (
    Bins,
    choose_elite_space,
    describe_elite_space,
    mean_cost,
    require_reachable,
)
from nascli.search.nss.settings import NssSettings
from nascli.spaces.builtin.network_spaces import format_ranges, parse_ranges
from nascli.spaces.catalog import load_space, load_space_of_any_kind

SPACE = load_space_of_any_kind("nss-expanded-mini")
BINS = Bins(SPACE, 2, 8)
CHOSEN = ((0, 1), (1, 0), (1, 3))
MACS = staged_macs(SPACE)


def test_the_published_number_of_spaces():
    paper = load_space_of_any_kind("nss-expanded")
    depths, widths = Bins(paper, 4, 32).counts
    assert (depths * widths) ** 3 == 2**18 == Bins(paper, 4, 32).spaces
    assert paper.size == 8192**3


def test_the_message_counts_the_networks_of_an_elite_space():
    macs = SPACE.macs(BINS.enumerate(CHOSEN))
    target = float(np.quantile(macs, 0.3))
    within = int((macs <= target).sum())
    assert describe_elite_space(BINS, CHOSEN, MACS, target) == (
        f"Elite Space {format_ranges(BINS.ranges(CHOSEN))}, one of 512: 4,096 networks, of which {within:,} have at most "
        f"{target:,.0f} MACs"
    )
    latency = StagedCost("latency", SPACE, 1e-4, ((1e-9, 0.0, 0.0),) * 4)
    assert describe_elite_space(BINS, CHOSEN, latency, 1e-3).endswith("one of 512: 4,096 networks")


def test_a_drawn_space_by_hand():
    codes = BINS.enumerate(CHOSEN)
    assert len(codes) == (2 * 8) ** 3 == len(np.unique(codes, axis=0))
    assert BINS.ranges(CHOSEN) == ((1, 2, 9, 16), (3, 4, 1, 8), (3, 4, 25, 32))
    drawn = BINS.sample(CHOSEN, 2000, np.random.default_rng(0))
    inside = {tuple(c) for c in codes.tolist()}
    assert all(tuple(c) in inside for c in drawn.tolist())
    assert mean_cost(MACS, BINS, CHOSEN, np.random.default_rng(0)) == pytest.approx(SPACE.macs(codes).mean())
    assert SPACE.macs(drawn).mean() == pytest.approx(SPACE.macs(codes).mean(), rel=0.05)


def test_the_nearest_of_the_drawn_spaces_is_kept():
    uniform = [(np.ones(2) / 2, np.ones(4) / 4)] * 3
    target = mean_cost(MACS, BINS, CHOSEN, np.random.default_rng(0))
    many = choose_elite_space(BINS, uniform, target, 200, np.random.default_rng(0))
    few = choose_elite_space(BINS, uniform, target, 1, np.random.default_rng(0))
    off = [abs(mean_cost(MACS, BINS, c, np.random.default_rng(0)) / target - 1) for c in (many, few)]
    assert off[0] <= off[1] and off[0] < 0.1
    sure = [(np.eye(2)[d], np.eye(4)[w]) for d, w in CHOSEN]
    assert choose_elite_space(BINS, sure, target, 5, np.random.default_rng(0)) == CHOSEN


def test_samples_until_by_hand():
    codes = np.array([[0, 0] * 3, [3, 31] * 3, [1, 9] * 3])
    target = float(SPACE.macs(codes)[2])
    assert samples_until(codes, SPACE, target) == 3
    assert samples_until(codes[:2], SPACE, target) is None


def test_targets_and_settings_that_cannot_be():
    with pytest.raises(InfeasibleError, match="networks of"):
        require_reachable(MACS, 1e12)
    with pytest.raises(NascliError, match="do not divide"):
        Bins(SPACE, 3, 8)
    with pytest.raises(NascliError):
        NssSettings(warmup=1.0)
    for text in ("", "1to2", "2to1x1to4", "1to2x0to4", "1to2x4to3." * 60):
        with pytest.raises(SpaceError):
            parse_ranges(text)


def test_an_elite_space_is_a_space_like_any_other():
    text = format_ranges(BINS.ranges(CHOSEN))
    assert parse_ranges(text) == BINS.ranges(CHOSEN)
    space = load_space(f"nss-elite:ranges={text}")
    assert len(space.layers) == 2 + 4 + 4
    again = load_space(space.spec)
    assert again.digest == space.digest
    network = space.network(space.sample(1, np.random.default_rng(0))[0])
    assert network.output == (10, 1, 1)
    # Ranges of one depth and one width are that network.
    one = load_space("nss-elite:ranges=2to2x16to16.4to4x8to8.4to4x32to32")
    assert one.size == 1
    assert one.network([0] * 10).counts.macs == SPACE.network([1, 15, 3, 7, 3, 31]).counts.macs
    # On average the chain costs what the networks of the ranges do.
    macs = counted(space, "macs")(space.sample(4000, np.random.default_rng(1)))
    assert macs.mean() == pytest.approx(SPACE.macs(BINS.enumerate(CHOSEN)).mean(), rel=0.25)
    # What draws nothing within the target says so, and what draws something keeps within.
    everywhere = [(np.ones(n) / n, np.ones(m) / m) for n, m in [BINS.counts] * 3]
    small = float(np.quantile(SPACE.macs(SPACE.sample(4000, np.random.default_rng(0))), 0.03))
    for seed in range(5):
        chosen = choose_elite_space(BINS, everywhere, small, 1, np.random.default_rng(seed))
        assert MACS(BINS.shallowest(chosen))[0] <= small
    with pytest.raises(InfeasibleError, match="none of"):
        choose_elite_space(BINS, everywhere, MACS.minimum * 1.01, 1, np.random.default_rng(0))


def test_macs_as_a_staged_cost_are_exact():
    codes = SPACE.sample(50, np.random.default_rng(0))
    assert MACS(codes).tolist() == SPACE.macs(codes).tolist()
    assert [SPACE.network(c).counts.macs for c in codes[:5]] == SPACE.macs(codes[:5]).tolist()
    low, high = SPACE.macs(codes).min(), SPACE.macs(codes).max()
    assert MACS.minimum <= low and high <= MACS.maximum


def test_a_latency_of_known_parts_is_found_again():
    true = StagedCost(
        "latency",
        SPACE,
        2e-5,
        ((1e-11, 3e-6, 0.0), (2e-11, 1e-6, 1e-10), (0.0, 2e-6, 3e-10), (0.0, 0.0, 0.0)),
    )
    codes = SPACE.sample(40, np.random.default_rng(1))
    found, error = fit_staged_cost(SPACE, codes, true(codes))
    fresh = SPACE.sample(200, np.random.default_rng(2))
    assert found(fresh) == pytest.approx(true(fresh), rel=1e-3) and error < 1e-3
    noisy = true(codes) * (1 + 0.02 * np.random.default_rng(3).standard_normal(40))
    found, error = fit_staged_cost(SPACE, codes, noisy)
    assert 0.005 < error < 0.08
    assert np.abs(found(fresh) / true(fresh) - 1).mean() < 0.03
    assert all(weight >= 0 for row in found.weights for weight in row) and found.constant >= 0
    with pytest.raises(NascliError, match="at least 8"):
        fit_staged_cost(SPACE, codes[:5], noisy[:5])


def test_an_elite_space_by_latency_is_the_nearest_by_latency():
    cost = StagedCost("latency", SPACE, 0.0, ((0.0, 1e-3, 0.0),) * 3 + ((0.0, 0.0, 0.0),))
    even = [(np.ones(n) / n, np.ones(m) / m) for n, m in [BINS.counts] * 3]
    chosen = choose_elite_space(BINS, even, 4.5e-3, 300, np.random.default_rng(0), cost)
    # Bins of two depths: 1 or 2, or 3 or 4, thus 1.5 or 3.5 blocks on average; three times 1.5 make 4.5.
    assert [d for d, _ in chosen] == [0, 0, 0]
    with pytest.raises(InfeasibleError, match=r"3.00 ms to 12.0 ms, none of 1.00 s"):
        require_reachable(cost, 1.0)
