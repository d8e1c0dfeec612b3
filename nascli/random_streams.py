"""Named random streams: what is drawn from the seed of a run, and under which number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import IntEnum

import numpy as np


class RandomStream(IntEnum):
    """Random streams that all algorithms share.

    The streams of one algorithm are an enumeration of their own in the settings module of that algorithm. A number
    is part of every result that was drawn from its stream: it never changes, and no other stream takes it.

    Attributes:
        DATA_ORDER: Order of the training images. Index: epoch.
        AUGMENTATION: Augmentation of training batches. Index: step.
        SUPERNET_PATHS: Architectures that train a shared supernet. Index: step.
        MIXUP: Mixing of images within a batch, by mixup or cutmix. Indices: step, part of the batch.
        REGULARISATION: What dropout and drop path leave out. Indices: step, place in the network.
        IMAGE_AUGMENTATION: Augmentation of each image by itself. Indices: what is drawn, epoch, and, where an image
            has a generator of its own, its row.
        SEARCHER: Proposals of random search, evolution, and guided search.
        BASELINES: The random architecture that is trained beside the winner.
        PROJECTION: Initial weights of the projection onto a teacher's features.
        CALIBRATION: Networks that calibrate a sum of operators.
        TRANSFER_NETWORKS: Networks that are measured on a new device.
        TRANSFER_SAMPLES: Architectures that are ranked on a new device where none are given.
        FASTEST_RUNTIME: Networks that runtimes are compared by, and the order in which they are timed. Index: network.
        STAGED_CALIBRATION: Networks that the cost of a staged space is fitted to.
    """

    DATA_ORDER = 1
    AUGMENTATION = 2
    SUPERNET_PATHS = 3
    MIXUP = 4
    REGULARISATION = 9
    IMAGE_AUGMENTATION = 5
    SEARCHER = 11
    BASELINES = 12
    PROJECTION = 15
    CALIBRATION = 21
    TRANSFER_NETWORKS = 22
    TRANSFER_SAMPLES = 23
    FASTEST_RUNTIME = 24
    STAGED_CALIBRATION = 65


def generator(seed: int, stream: IntEnum, *indices: int) -> np.random.Generator:
    """Return the generator of a stream, which depends on nothing but the arguments.

    Args:
        seed: Seed of the run.
        stream: What the numbers are drawn for.
        *indices: Position within the stream, such as the step or the epoch. Because every position has a generator of
            its own, a run that was interrupted draws the same numbers after it resumes.
    """
    return np.random.default_rng([seed, stream, *indices])


def require_distinct_streams(enumerations: Iterable[type[IntEnum]]) -> None:
    """Check that no number stands for two streams.

    Args:
        enumerations: `RandomStream` and the streams of the algorithms.

    Raises:
        ValueError: Two streams, or two names of one enumeration, have the same number.
    """
    members = [
        (int(stream), f"{enumeration.__name__}.{name}")
        for enumeration in enumerations
        # Unlike iteration, `__members__` also has the names that repeat a number within one enumeration.
        for name, stream in enumeration.__members__.items()
    ]
    uses = Counter(number for number, _ in members)
    repeated = sorted((number, name) for number, name in members if uses[number] > 1)
    if repeated:
        names = ", ".join(f"{name} = {number}" for number, name in repeated)
        raise ValueError(f"every random stream needs a number of its own, got {names}; change one of them")
