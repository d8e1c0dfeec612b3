import numpy as np
import pytest
from scipy.stats import spearmanr

from nascli.costmodel.transfer import transfer
from nascli.errors import ConstraintError


def devices(n=400, seed=0):
    """Latencies of networks whose time is compute plus memory, in a mix that each device has its own."""
    rng = np.random.default_rng(seed)
    compute, memory = rng.lognormal(0, 0.5, n), rng.lognormal(0, 0.5, n)
    shares = np.array([0.05, 0.3, 0.6, 0.9])
    known = compute[:, None] * shares + memory[:, None] * (1 - shares)
    target = 3.0 * (0.55 * compute + 0.45 * memory)
    return known, target, np.stack([compute, memory], axis=1)


def test_few_samples_find_the_device_s_mix():
    known, target, features = devices()
    measured = np.arange(10)
    found = transfer(known, features, measured, target[measured])
    rest = slice(10, None)
    ours = spearmanr(found.seconds[rest], target[rest]).statistic
    worst = min(spearmanr(known[rest, j], target[rest]).statistic for j in range(4))
    assert ours > 0.99 > worst
    assert found.weights.argmax() == 2 and found.weights.sum() == pytest.approx(1)
    assert np.median(np.abs(found.seconds[rest] / target[rest] - 1)) < 0.05


def test_intervals_hold_most_of_what_they_should():
    known, target, features = devices(seed=3)
    covered = []
    for seed in range(10):
        measured = np.random.default_rng(seed).choice(len(target), 12, replace=False)
        low, high = transfer(known, features, measured, target[measured]).interval()
        covered.append(np.mean((low <= target) & (target <= high)))
    assert np.mean(covered) > 0.85


def test_a_faster_copy_of_a_known_device_is_that_device():
    known, _, features = devices()
    found = transfer(known, features[:, :0], np.arange(8), known[:8, 1] / 5)
    assert spearmanr(found.seconds, known[:, 1]).statistic > 0.995
    assert np.median(found.seconds / known[:, 1]) == pytest.approx(0.2, rel=0.05)


@pytest.mark.parametrize(
    ("measured", "seconds"), [([0, 1], [1.0, 2.0]), ([0, 1, 2], [1.0, 2.0]), ([0, 1, 2], [1.0, 2.0, np.nan])]
)
def test_what_cannot_be_used_is_refused(measured, seconds):
    known, _, features = devices(20)
    with pytest.raises(ConstraintError):
        transfer(known, features, np.array(measured), np.array(seconds))
