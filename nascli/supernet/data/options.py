"""How a data set is split and read, as data. This module does not import torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from nascli.errors import DataError

# What a final training may use: the training part, or the validation part too.
TRAINING_PARTS = ("train", "all")


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """How a data set is split and read.

    Attributes:
        validation: Held-out images: a number of at least 1, equally many of each class, or a share of each class below
            1; None for a fifth of all images.
        skip_bad_images: Whether an image that cannot be read is replaced by the next one of its class, instead of being
            an error.
        workers: Number of processes that read images; None for one for each core of this process, at most 8, and
            none for a few images. It does not change what is read.
        cache: Whether decoded images are kept in a file that all processes share, where they fit.

    Raises:
        DataError: `validation` is not above 0, or neither a whole number nor below 1; or `workers` is negative.
    """

    validation: float | None = None
    skip_bad_images: bool = False
    workers: int | None = None
    cache: bool = True

    def __post_init__(self) -> None:
        v = self.validation
        if v is not None and not (0 < v < math.inf and (v < 1 or v == int(v))):
            raise DataError(
                f"the validation part is a number of images or a share below 1, such as 50000 or 0.1, not {v:g}."
            )
        if self.workers is not None and self.workers < 0:
            raise DataError(f"workers >= 0 must hold, got {self.workers}.")

    def to_json(self) -> dict[str, Any]:
        """Return what changes a result, as a JSON document; what is at its default is left out."""
        document: dict[str, Any] = {}
        if self.validation is not None:
            document["validation"] = self.validation
        if self.skip_bad_images:
            document["skip_bad_images"] = True
        return document


def parse_validation(text: str | None) -> float | None:
    """Return the size of the validation part from a user's words.

    Args:
        text: A number such as '50000', or a share such as '0.1' or '10%'; None for the default.

    Raises:
        DataError: It is neither.
    """
    if text is None:
        return None
    try:
        size = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError as error:
        raise DataError(
            f"the validation part is a number of images or a share, such as 50000 or 0.1, not {text!r}."
        ) from error
    return DataOptions(validation=size).validation


def parse_workers(text: str) -> int | None:
    """Return the number of workers from a user's words; None for 'auto'.

    Args:
        text: 'auto', or a number of at least 0.

    Raises:
        DataError: It is neither.
    """
    if text == "auto":
        return None
    if not text.isdecimal():
        raise DataError(f"the number of workers is 'auto' or a number, not {text!r}.")
    return int(text)
