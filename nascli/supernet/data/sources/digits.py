"""The digits that come with scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nascli.errors import missing_package
from nascli.supernet.data.sources.base import Raw, Source


def read_digits(folder: Path | None, resolution: int) -> Raw:
    """The 1,797 digits of scikit-learn, `(n, 1, 8, 8)`."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise missing_package("scikit-learn", "search", "the data set digits") from error
    bunch = load_digits()
    return Raw(bunch.images.astype(np.float32)[:, None], bunch.target.astype(np.int64))


SOURCES: dict[str, Source] = {
    "digits": Source(10, 1, read_digits),
}
