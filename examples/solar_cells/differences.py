"""Differences between networks that were trained with several seeds, with intervals and the power of the comparison."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import nct
from scipy.stats import t as student_t

LEVEL, POWER = 0.95, 0.8
DRAWS = 4000


@dataclass(frozen=True)
class Difference:
    """A mean difference between two networks.

    Attributes:
        mean: Mean difference over seeds.
        low, high: Its 95 % interval by Student's t: how it would vary with other seeds, on these test images.
        image_low, image_high: The interval by a bootstrap of seeds and test images: how it would vary with other seeds
            and other photographs.
        deviation: Standard deviation of the difference over seeds.
        visible: Smallest true difference of which so many seeds find an interval without 0 four times out of five.
    """

    mean: float
    low: float
    high: float
    image_low: float
    image_high: float
    deviation: float
    visible: float


def smallest_visible(deviation, seeds, power=POWER):
    """Return the smallest true difference that a paired t-test at the 5 % level finds with a probability.

    Args:
        deviation: Standard deviation of the difference over seeds.
        seeds: Number of pairs, at least 2.
        power: That probability.
    """
    freedom = seeds - 1
    bound = student_t.ppf((1 + LEVEL) / 2, freedom)

    def missing(shift):
        # That the other tail is significant has no weight at such a power.
        return nct.sf(bound, freedom, shift) - power

    return float(deviation * brentq(missing, 0.0, 100.0) / np.sqrt(seeds))


def compare(ours, theirs, weights, strata, rng):
    """Compare two networks, paired by seed and by image.

    Args:
        ours, theirs: Whether each network of a seed is right about an image, `(seeds, images)`.
        weights: What an image counts, `(images,)`; the sum is 1.
        strata: Class of each image, `(images,)`; the bootstrap keeps their numbers.
        rng: Generator of the bootstrap.
    """
    parts = (np.asarray(ours, float) - np.asarray(theirs, float)) * weights
    by_seed = parts.sum(1)
    seeds = len(by_seed)
    mean, deviation = float(by_seed.mean()), float(by_seed.std(ddof=1))
    half = float(student_t.ppf((1 + LEVEL) / 2, seeds - 1)) * deviation / np.sqrt(seeds)
    counts = np.zeros((DRAWS, parts.shape[1]))
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        counts[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), DRAWS)
    drawn_seeds = rng.multinomial(seeds, np.full(seeds, 1 / seeds), DRAWS) / seeds
    drawn = np.einsum("ds,si,di->d", drawn_seeds, parts, counts, optimize=True)
    image_low, image_high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
    return Difference(
        mean, mean - half, mean + half, image_low, image_high, deviation, smallest_visible(deviation, seeds)
    )
