import numpy as np
import pytest

from nascli.lut.statistics import EMPTY, Sample, estimate, low_quantile


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
    assert low_quantile([1, 1, 1, 1, 50]) == 1
    assert EMPTY.seconds == 0 and EMPTY.relative_width == 0


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(500):
        figure = estimate(samples(1 + 0.02 * rng.standard_normal(20)), 1.0)
        hits += figure.low <= 1 <= figure.high
    assert 0.88 < hits / 500 < 0.99
