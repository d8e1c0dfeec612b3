"""How a data set is split and read, in the words of a user."""

from __future__ import annotations

from nascli.supernet.data.options import DataOptions, parse_validation, parse_workers

__all__ = ["DataOptions", "parse_data_options"]


def parse_data_options(
    *, validation: str | None = None, workers: str = "auto", skip_bad_images: bool = False, cache: bool = True
) -> DataOptions:
    """Return how a data set is split and read.

    Args:
        validation: Held-out images: a number such as '50000', or a share such as '0.1' or '10%'; None for a fifth.
        workers: Number of processes that read images, or 'auto'.
        skip_bad_images: Whether an image that cannot be read is replaced by the next one of its class.
        cache: Whether decoded images are kept in a file that all processes share, where they fit.

    Raises:
        DataError: `validation` or `workers` is not a number of its kind.
    """
    return DataOptions(
        validation=parse_validation(validation),
        workers=parse_workers(workers),
        skip_bad_images=skip_bad_images,
        cache=cache,
    )
