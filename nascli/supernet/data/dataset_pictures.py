"""Any map-style torch Dataset as a source of images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from nascli.errors import DataError, NascliError
from nascli.supernet.data.pictures import PictureParts, Pictures, channels_of, image_bytes
from nascli.supernet.data.sources.base import Labels

# Under these names data sets keep the label of each item, or pairs of a file and its label.
_LABEL_NAMES = ("targets", "labels", "_labels", "samples", "_samples", "y")
# Images that the digest of a data set takes in; its length and its labels are part of it too.
_DIGEST_IMAGES = 16


class DatasetPictures(Pictures):
    """The images of a map-style torch Dataset, whose items are pairs of an image and a class.

    Labels are taken from the data set's list of them (`targets`, `labels`, `samples`), or else from its items, all of
    which are then read once.

    Args:
        dataset: The data set.
        title: Its name, for messages.
        channels: Number of channels; None for those of the first image.

    Raises:
        DataError: The data set has no length, an item is not a pair of an image and a class, or an image is of an
            unknown kind.
    """

    def __init__(self, dataset: Any, title: str, channels: int | None = None) -> None:
        self._dataset, self._title = dataset, title
        if not hasattr(dataset, "__getitem__"):
            raise DataError(
                f"{title} is a {type(dataset).__name__} without __getitem__, not a map-style torch Dataset.",
                "Images are read by their numbers, in a new order in each epoch.",
            )
        try:
            count = len(dataset)
        except (TypeError, NotImplementedError, AttributeError) as error:
            raise DataError(
                f"{title} is a {type(dataset).__name__} without a length, so it cannot be split and shuffled.",
                "Define __len__.",
            ) from error
        if count == 0:
            raise DataError(f"{title} is empty.")
        image, _ = self._item(0)
        self.channels = channels_of(image) if channels is None else channels
        listed = listed_labels(dataset)
        self.labels = np.array([self._item(i)[1] for i in range(count)]) if listed is None else listed
        if self.labels.dtype.kind not in "iu" or self.labels.shape != (count,):
            raise DataError(f"{title}: a label must be an integer, the number of a class.")
        self.labels = self.labels.astype(np.int64)
        state = hashlib.sha256(f"{type(dataset).__qualname__} {count} {self.channels}".encode())
        state.update(self.labels.tobytes())
        for index in np.unique(np.linspace(0, count - 1, _DIGEST_IMAGES).astype(int)).tolist():
            state.update(self.read(index).contiguous().numpy().tobytes())
        self.digest = state.hexdigest()

    def _item(self, index: int) -> tuple[Any, Any]:
        try:
            item = self._dataset[index]
        except NascliError:
            raise
        except Exception as error:
            raise DataError(f"cannot read {self.name(index)}: {type(error).__name__}: {error}.") from error
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise DataError(
                f"{self.name(index)} is a {type(item).__name__}, not a pair of an image and the number of its class."
            )
        return item[0], item[1]

    def read(self, index: int) -> Tensor:
        """Return an image as bytes."""
        try:
            return image_bytes(self._item(index)[0], self.channels)
        except DataError as error:
            if self._title in error.message:
                raise
            raise DataError(f"{self.name(index)}: {error.message}", error.hint) from error

    def name(self, index: int) -> str:
        """Return the number of an image within its data set, for messages."""
        return f"item {index} of {self._title}"


def listed_labels(dataset: Any) -> Labels | None:
    """Return the labels that a data set lists, `(n,)`; None if it lists none that can be understood.

    Args:
        dataset: A map-style torch Dataset; of a Subset or ConcatDataset, those of the data sets inside are returned.
    """
    inner, chosen = getattr(dataset, "dataset", None), getattr(dataset, "indices", None)
    if inner is not None and chosen is not None:
        labels = listed_labels(inner)
        return None if labels is None else labels[np.asarray(chosen)]
    members = getattr(dataset, "datasets", None)
    if isinstance(members, Sequence) and members:
        parts = [listed_labels(member) for member in members]
        known = [part for part in parts if part is not None]
        return np.concatenate(known) if len(known) == len(parts) else None
    # A function that changes labels makes those of the list wrong.
    if getattr(dataset, "target_transform", None) is not None:
        return None
    for name in _LABEL_NAMES:
        values = getattr(dataset, name, None)
        if name.endswith("samples") and isinstance(values, Sequence):
            if not all(isinstance(value, tuple | list) and len(value) == 2 for value in values):
                continue
            values = [value[1] for value in values]
        if not isinstance(values, Sequence | np.ndarray | Tensor) or len(values) != len(dataset):
            continue
        labels = np.asarray(values)
        if labels.ndim == 1 and labels.dtype.kind in "iu":
            return labels.astype(np.int64)
    return None


def parts_of(datasets: Any, title: str) -> PictureParts:
    """Return the parts that a data set, a pair (train, test), or a triple (train, validation, test) of them makes.

    Args:
        datasets: What the user's function returned.
        title: Its name, for messages.

    Raises:
        DataError: It is neither of these, or as `DatasetPictures` and `PictureParts`.
    """
    members = list(datasets) if isinstance(datasets, tuple | list) else [datasets]
    if not 1 <= len(members) <= 3:
        raise DataError(
            f"{title} gives {len(members)} data sets, not one, a pair (train, test), or a triple (train, validation, "
            "test)."
        )
    names = {1: (title,), 2: (f"{title}, train", f"{title}, test")}.get(
        len(members), (f"{title}, train", f"{title}, validation", f"{title}, test")
    )
    train = DatasetPictures(members[0], names[0])
    others = [
        DatasetPictures(member, name, train.channels)
        for member, name in zip(members[1:], names[1:], strict=True)
    ]
    listed = getattr(members[0], "classes", None)
    count = int(train.labels.max()) + 1
    if isinstance(listed, Sequence) and not isinstance(listed, str) and len(listed) >= count:
        class_names = tuple(str(name) for name in listed)
    else:
        class_names = tuple(str(number) for number in range(count))
    validation = others[0] if len(others) == 2 else None
    return PictureParts(train, class_names, validation, others[-1] if others else None)
