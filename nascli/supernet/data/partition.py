"""Which images of a data set are held out, balanced by class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nascli.errors import DataError
from nascli.supernet.data.rows import Rows

# Seed of the split. It is the same for everybody, so that figures can be compared.
SPLIT_SEED = 20260


def split_order(images: int) -> Rows:
    """Return the order in which images are dealt out to parts, `(images,)`; it is the same for everybody."""
    return np.random.default_rng(SPLIT_SEED).permutation(images)


def hold_out(
    order: Rows, labels: npt.NDArray[np.int64], size: float, class_names: Sequence[str], part: str
) -> tuple[Rows, Rows]:
    """Hold out images of each class: the last ones in an order.

    Args:
        order: Rows of the images in the order in which they are dealt out, `(n,)`.
        labels: Class of each row.
        size: Number of held-out images, equally many of each class (they differ by one where it is not a multiple of
            the classes); or, below 1, a share of each class.
        class_names: Name of each class, for the message.
        part: Name of the held-out part, for the message.

    Returns:
        The rows that remain and the rows that are held out, each in the order of `order`.

    Raises:
        DataError: A class has too few images: at least one of each stays.
    """
    classes = len(class_names)
    counts = np.bincount(labels[order], minlength=classes)
    if size < 1:
        quotas = _shares(counts, size)
    else:
        quotas = np.full(classes, int(size) // classes)
        quotas[: int(size) % classes] += 1
    short = np.flatnonzero((quotas >= counts) & (quotas > 0))
    if len(short):
        number = int(short[0])
        raise DataError(
            f"class {class_names[number]} has {counts[number]} images, which is too few to hold {quotas[number]} of "
            f"them out for the {part} part.",
            "Hold out fewer images.",
        )
    # Position of each image among those of its class, counted from the end of the order.
    by_class = np.argsort(labels[order], kind="stable")
    starts = np.cumsum(counts) - counts
    from_start = np.empty(len(order), np.int64)
    from_start[by_class] = np.arange(len(order)) - np.repeat(starts, counts)
    own = labels[order]
    held = counts[own] - from_start <= quotas[own]
    return order[~held], order[held]


def _shares(counts: npt.NDArray[np.int64], share: float) -> npt.NDArray[np.int64]:
    """Return a share of each class in whole images, whose sum is that share of all (by the largest remainders)."""
    exact = counts * share
    quotas = np.floor(exact).astype(np.int64)
    missing = round(float(exact.sum())) - int(quotas.sum())
    largest = np.argsort(quotas - exact, kind="stable")
    quotas[largest[:missing]] += 1
    # A class of which everything would be held out keeps one image.
    kept: npt.NDArray[np.int64] = np.minimum(quotas, np.maximum(counts - 1, 0))
    return kept
