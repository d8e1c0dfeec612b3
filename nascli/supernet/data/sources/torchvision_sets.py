"""The data sets of torchvision, from a folder that has their files."""

from __future__ import annotations

import inspect
from typing import Any

from nascli.errors import DataError, Remedy, UnknownNameError, missing_package
from nascli.supernet.data.dataset_pictures import parts_of
from nascli.supernet.data.pictures import PictureParts
from nascli.supernet.data.sources.base import Source

# What torchvision's data sets call their parts.
_TRAIN, _VALIDATION, _TEST = ("train", "trainval", "train-standard"), ("val", "valid"), ("test",)


def open_torchvision(text: str) -> PictureParts:
    """Open a data set of torchvision; nothing is downloaded.

    A validation part is the test part where there is no other.

    Args:
        text: Name of the class and folder, such as 'Flowers102:FOLDER'.

    Raises:
        UnknownNameError: torchvision has no data set of that name.
        DataError: Files are missing, or the items are not images with a class.
        RuntimeUnavailableError: torchvision is not installed.
    """
    try:
        from torchvision import datasets
    except ImportError as error:
        raise missing_package("torchvision", "search", "a data set of torchvision") from error
    name, _, folder = text.partition(":")
    if name not in datasets.__all__:
        raise UnknownNameError("data set of torchvision", name, sorted(datasets.__all__))
    kind = getattr(datasets, name)
    accepted = inspect.signature(kind.__init__).parameters
    common: dict[str, Any] = {}
    if "root" in accepted:
        if not folder:
            raise DataError(
                f"torchvision's {name} needs the folder of its files.",
                None,
                Remedy(arguments={"data": f"torchvision:{name}:FOLDER"}),
            )
        common["root"] = folder
    if "train" in accepted:
        members = [_make(kind, {**common, "train": True}), _make(kind, {**common, "train": False})]
    elif "split" in accepted:
        found = [_first_split(kind, common, names) for names in (_TRAIN, _VALIDATION, _TEST)]
        if found[0] is None:
            raise DataError(
                f"torchvision's {name} has no part called {' or '.join(_TRAIN)}.",
                "Open it in a Python file of your own.",
                Remedy(arguments={"data": "FILE.py:NAME"}),
            )
        members = [member for member in found if member is not None]
    else:
        members = [_make(kind, common)]
    return parts_of(tuple(members), f"torchvision:{name}")


def _first_split(kind: Any, common: dict[str, Any], names: tuple[str, ...]) -> Any:
    """Return the part with the first of some names that the data set knows; None if it knows none."""
    for name in names:
        try:
            return _make(kind, {**common, "split": name})
        except ValueError:
            # torchvision's answer to a part that it does not know.
            continue
    return None


def _make(kind: Any, arguments: dict[str, Any]) -> Any:
    try:
        return kind(**arguments)
    except ValueError:
        raise
    except (OSError, RuntimeError, TypeError, ImportError) as error:
        reason = str(error).replace("You can use download=True to download it", "nothing is downloaded")
        raise DataError(f"torchvision's {kind.__name__} cannot be opened: {reason.rstrip('.')}.") from error


def _properties(text: str) -> tuple[int, int]:
    parts = open_torchvision(text)
    return len(parts.class_names), parts.train.channels


SOURCES: dict[str, Source] = {
    "torchvision": Source(None, None, open=open_torchvision, properties=_properties),
}
