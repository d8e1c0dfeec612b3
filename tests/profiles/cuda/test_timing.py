import numpy as np
import pytest
from fakes import SimulatedCard

from nascli.errors import DeviceError, RuntimeUnavailableError, UnknownNameError
from nascli.lut.statistics import Sample, burst_time, estimate
from nascli.profiles.cuda import registry
from nascli.profiles.cuda.timing import time_queries
from nascli.profiles.devices.device import find_cards_here

TRUTH = 4e-4


def timed(card, runs, **values):
    return time_queries(card, card.stream(), card.work, runs, clock=card.clock, **values)


def test_a_steady_card_is_timed_without_launches_and_queue():
    card = SimulatedCard(lambda now: TRUTH)
    queries = timed(card, 50)
    assert queries.seconds[1:] == pytest.approx(TRUTH, rel=1e-6)
    # Only the first query's start event is passed before its work is queued.
    assert queries.seconds[0] == pytest.approx(TRUTH + card.enqueue_seconds, rel=0.01)
    assert not queries.host_bound


def test_two_queries_are_in_flight_and_never_more():
    card = SimulatedCard(lambda now: TRUTH)
    timed(card, 20)
    assert card.deepest == 2
    one = SimulatedCard(lambda now: TRUTH)
    timed(one, 20, in_flight=1)
    assert one.deepest == 1


@pytest.mark.parametrize("jitter", [0.0, 0.02, 0.1])
def test_bursts_of_a_jittering_card_find_the_truth_within_a_percent(jitter):
    card = SimulatedCard(lambda now: TRUTH, jitter=jitter)
    figures = [burst_time(timed(card, 40).seconds[1:]) for _ in range(12)]
    # Jitter only ever adds: the 20th percentile of |N| lies at a quarter of a standard deviation.
    assert np.median(figures) / (1 + 0.253 * jitter) == pytest.approx(TRUTH, rel=0.01)


def test_drift_cancels_against_the_anchor_and_throttled_bursts_do_not_count():
    # The clock of the card wanders by 20 %, and for a fifth of the time it is throttled to half.
    def pace(now):
        return (1 + 0.2 * np.sin(now / 0.05)) * (2.0 if 0.1 < now % 0.5 < 0.2 else 1.0)

    card = SimulatedCard(lambda now: pace(now))
    samples = []
    for number in range(60):

        def work(index, seconds):
            card.truth = lambda now: seconds * pace(now)
            card.work(index)

        def burst(seconds):
            return burst_time(
                time_queries(card, card, lambda i: work(i, seconds), 10, clock=card.clock).seconds[1:]
            )

        before = burst(1e-4)
        ratio = burst(TRUTH)
        throttled = 0.1 < card.host % 0.5 < 0.2
        after = burst(1e-4)
        samples.append(Sample(number, np.array([ratio]), (before + after) / 2, 0.0, throttled=throttled))
    assert 3 < sum(s.throttled for s in samples) < 40
    figure = estimate(samples, 1e-4)
    assert figure.seconds == pytest.approx(TRUTH, rel=0.01) and not figure.throttled
    # Where every burst was throttled the figure says so.
    assert estimate([Sample(i, np.array([1.0]), 1.0, 0.0, throttled=True) for i in range(9)], 1.0).throttled


def test_a_card_that_waits_for_the_host_is_noticed():
    card = SimulatedCard(lambda now: 4e-6, enqueue=1e-5)
    queries = timed(card, 30)
    assert queries.host_bound and np.median(queries.seconds) > 1.5 * 4e-6


def test_a_card_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr("nascli.profiles.cuda.timing._MAX_QUERY_SECONDS", 1e-3)
    with pytest.raises(DeviceError, match="the card hangs"):
        timed(SimulatedCard(lambda now: TRUTH, hangs=True), 3)


def test_the_package_for_cuda_is_the_first_that_is_installed_or_the_one_named(monkeypatch):
    here = {"pycuda", "torch"}
    monkeypatch.setattr(registry, "_installed", lambda module: module in here)
    assert registry.choose_driver() == "pycuda" and registry.choose_driver("torch") == "torch"
    with pytest.raises(RuntimeUnavailableError, match=r"cuda-core is not installed.\nInstall it: pip"):
        registry.choose_driver("cuda-core")
    with pytest.raises(UnknownNameError, match="CUDA driver 'cupy'"):
        registry.choose_driver("cupy")
    here.clear()
    with pytest.raises(RuntimeUnavailableError, match="none is installed"):
        registry.choose_driver()


def test_without_a_driver_a_card_cannot_be_opened():
    if find_cards_here()[0]:
        pytest.skip("there is a card here")
    with pytest.raises(DeviceError, match="cuda-core cannot open the card with the number 0"):
        registry.open_driver("cuda-core", 0)
