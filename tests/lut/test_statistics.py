import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nascli.lut.statistics import (
    NOTHING,
    Bursts,
    Sample,
    burst_time,
    burst_times,
    estimate,
    estimates,
    newest,
)


def samples(ratios, anchor=1e-3):
    return [Sample(i, np.full(5, r * anchor), anchor, 0.0) for i, r in enumerate(ratios)]


def test_figure_is_the_median_ratio_times_the_reference():
    figure = estimate(samples([1.0, 2.0, 9.0]), 1e-3)
    assert figure.seconds == pytest.approx(2e-3)


def test_interval_by_hand():
    # Median 3, deviations 2 1 0 1 2: their median is 1.
    figure = estimate(samples([1.0, 2.0, 3.0, 4.0, 5.0]), 1.0)
    half = 1.96 * 1.2533 * 1.4826 / np.sqrt(5)
    assert figure.high - figure.seconds == pytest.approx(half)


def test_few_rounds_are_never_certain():
    assert estimate(samples([1.0, 1.0]), 1.0).high == float("inf")


def test_a_slow_machine_cancels():
    quick, slow = estimate(samples([2.0] * 6, 1e-3), 1e-3), estimate(samples([2.0] * 6, 3e-3), 1e-3)
    assert quick.seconds == pytest.approx(slow.seconds)


def test_interruptions_only_add():
    assert burst_time([1, 1, 1, 1, 50]) == 1
    assert NOTHING.seconds == 0 and NOTHING.relative_width == 0


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(500):
        figure = estimate(samples(1 + 0.02 * rng.standard_normal(20)), 1.0)
        hits += figure.low <= 1 <= figure.high
    assert 0.88 < hits / 500 < 0.99


@given(st.integers(0, 10_000))
def test_all_figures_at_once_are_those_of_one_after_the_other(seed):
    rng = np.random.default_rng(seed)
    history = {
        f"op{i}": [
            Sample(
                r, rng.uniform(1, 2, int(rng.integers(1, 4))), float(rng.uniform(1, 2)), 0.0, int(rng.integers(0, 2)),
                None, bool(rng.random() < 0.2),
            )
            for r in range(int(rng.integers(1, 9)))
        ]
        for i in range(int(rng.integers(1, 6)))
    }  # fmt: skip
    flat = [(key, sample) for key, rows in history.items() for sample in rows]
    order = rng.permutation(len(flat))
    flat = [flat[i] for i in sorted(order, key=lambda i: flat[i][0])]
    bursts = Bursts(
        np.array([key for key, _ in flat]),
        burst_times([s.seconds.astype("<f8").tobytes() for _, s in flat]),
        np.array([s.anchor for _, s in flat]),
        np.array([s.generation for _, s in flat]),
        np.array([s.throttled for _, s in flat]),
    )
    found = estimates(bursts, 3.0, "measured", 1)
    assert set(found) == set(history)
    for key, rows in history.items():
        one = estimate(newest(rows), 3.0)
        assert found[key].seconds == pytest.approx(one.seconds, rel=1e-12)
        assert (found[key].rounds, found[key].throttled, found[key].kind) == (
            one.rounds,
            one.throttled,
            one.kind,
        )
        assert found[key].low == pytest.approx(one.low, rel=1e-9) and found[key].high == pytest.approx(
            one.high, rel=1e-9
        )
    assert set(estimates(bursts, 3.0, "measured", 3)) == {
        k for k, rows in history.items() if len(newest(rows)) >= 3
    }
