"""What the studies of searches share: data, supernets, networks trained alone, and correlations with intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import torch
from scipy.stats import kendalltau, pearsonr
from scipy.stats import t as student_t

from nascli.progress import Silent
from nascli.spaces import Space
from nascli.supernet.data.images import Images, load_images
from nascli.supernet.data.splits import ImageSplit
from nascli.supernet.evaluation.accuracy import SupernetEvaluator, accuracy
from nascli.supernet.modules import network_module
from nascli.supernet.separate import Supernet, sample_branches
from nascli.supernet.training.recipe import Recipe
from nascli.supernet.training.trainer import Trainer

RESOLUTION = 14


def images(most: int, quick: bool) -> Images:
    """Fashion-MNIST at 14x14, its first images; for a smoke test a few of the digits, which are everywhere."""
    if quick:
        data = load_images("digits", RESOLUTION)
        train, validation, test = (first(split, 128) for split in (data.train, data.validation, data.test))
        return Images(data.name, data.classes, train, validation, test)
    data = load_images("fashion-mnist", RESOLUTION, max_images=most)
    return Images(data.name, data.classes, data.train, data.validation, first(data.test, 4000))


def first(split: ImageSplit, count: int) -> ImageSplit:
    return split.subset(np.arange(count))


def uniform_path(space: Space, seed: int) -> Callable[[int], Sequence[int]]:
    alive = [np.ones(len(layer.candidates), dtype=bool) for layer in space.layers]

    def path(step: int) -> Sequence[int]:
        rng = np.random.default_rng([seed, 3, step])
        if space.multi_branch:
            return sample_branches(space.layers, alive, rng)
        return space.sample(1, rng)[0].tolist()

    return path


def one_shot(space: Space, data: Images, recipe: Recipe, seed: int, path=None) -> Supernet:
    """A supernet trained on uniform paths, or on the paths given."""
    torch.manual_seed(seed)
    supernet = Supernet(space)
    trainer = Trainer(supernet, data.train, recipe, seed=seed, path_of_step=path or uniform_path(space, seed))
    trainer.run(None, "study", Silent(), "")
    return supernet


def alone(space: Space, code: Sequence[int], data: Images, recipe: Recipe, seed: int) -> float:
    """Test top-1 of an architecture trained from scratch."""
    torch.manual_seed(seed)
    module = network_module([o.program for o in space.network(code).operators])
    trainer = Trainer(module, data.train, recipe, seed=seed)
    trainer.run(None, "study", Silent(), "")
    trainer.use_average()
    module.eval()
    return accuracy(module, data.test).top1


def in_processes(work: Callable[[int, bool], dict], seeds: int, quick: bool) -> list[dict]:
    """The results of a study's seeds, two at a time where there are several, each on one thread."""
    if seeds == 1:
        return [work(0, quick)]
    with ProcessPoolExecutor(
        2, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        return list(pool.map(work, range(seeds), [quick] * seeds))


def paired(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Mean difference in points over seeds, with a 95 % interval (Student's t)."""
    difference = (np.array(ours) - np.array(theirs)) * 100
    if len(difference) < 2:
        return f"{difference.mean():+.1f} (one seed)"
    half = float(
        student_t.ppf(0.975, len(difference) - 1) * difference.std(ddof=1) / np.sqrt(len(difference))
    )
    return f"{difference.mean():+.1f} ± {half:.1f}"


def inherited(supernet: Supernet, data: Images, codes: np.ndarray, calibration: int = 256) -> np.ndarray:
    evaluate = SupernetEvaluator(supernet, data, calibration=calibration)
    return np.array([evaluate(code.tolist()).top1 for code in codes])


def correlation(a: np.ndarray, b: np.ndarray, kind: str = "kendall") -> tuple[float, float, float]:
    """A correlation with its 95 % bootstrap interval over architectures."""
    measure = kendalltau if kind == "kendall" else pearsonr
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(1000):
        rows = rng.integers(0, len(a), len(a))
        if len(set(a[rows])) > 1 and len(set(b[rows])) > 1:
            drawn.append(measure(a[rows], b[rows]).statistic)
    low, high = np.quantile(drawn, [0.025, 0.975]) if drawn else (np.nan, np.nan)
    return float(measure(a, b).statistic), float(low), float(high)


def of(values: Sequence[float], digits: int = 1) -> str:
    """Mean and spread of percentages."""
    v = np.array(values) * 100
    return f"{v.mean():.{digits}f} [{v.min():.{digits}f}, {v.max():.{digits}f}]"
