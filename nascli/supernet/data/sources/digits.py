"""The handwritten digits that scikit-learn includes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nascli.errors import missing_package
from nascli.supernet.data.sources.base import RawImages, Source


def read_digits(folder: Path | None, resolution: int) -> RawImages:
    """Read scikit-learn's 1,797 digits, `(1797, 1, 8, 8)` float32.

    Args:
        folder: Not used; the images are part of the package.
        resolution: Not used.

    Raises:
        RuntimeUnavailableError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise missing_package("scikit-learn", "search", "the data set digits") from error
    bunch = load_digits()
    return RawImages(bunch.images.astype(np.float32)[:, None], bunch.target.astype(np.int64))


SOURCES: dict[str, Source] = {
    "digits": Source(10, 1, read_digits),
}
