"""Data sets of the user's own: a Python file with a torch Dataset, or a function that returns one."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from nascli.errors import DataError, NascliError, UnknownNameError
from nascli.plugins import load_python_file
from nascli.supernet.data.dataset_pictures import parts_of
from nascli.supernet.data.pictures import PictureParts
from nascli.supernet.data.sources.base import Source


def source_of_file(file: str) -> Source:
    """Return the source of a Python file; the text after its name names an object of the file.

    The object is a map-style torch Dataset, a pair (train, test) or a triple (train, validation, test) of them, or a
    function or class without arguments that makes one of these. The items of a data set are pairs of an image
    (a PIL image, a tensor of bytes, or an array of bytes) and the number of its class.

    Args:
        file: Path of the file.
    """

    def open_object(name: str) -> PictureParts:
        return _open(file, name)

    def properties(name: str) -> tuple[int, int]:
        parts = _open(file, name)
        return len(parts.class_names), parts.train.channels

    return Source(None, None, open=open_object, properties=properties)


def _open(file: str, name: str) -> PictureParts:
    """Return the data sets that an object of a file stands for."""
    found = _object(Path(file).expanduser(), name)
    title = f"{file}:{name}"
    # A class has the methods of its instances.
    if isinstance(found, type) or (callable(found) and not hasattr(found, "__getitem__")):
        try:
            found = found()
        except NascliError:
            raise
        except Exception as error:
            raise DataError(f"{title} failed: {type(error).__name__}: {error}.") from error
    return parts_of(found, title)


def _object(path: Path, name: str) -> Any:
    module = _load(path)
    public = [key for key in vars(module) if not key.startswith("_")]
    if not name:
        raise DataError(f"name a data set of the file: {path}:NAME; it has {', '.join(public) or 'none'}.")
    if not hasattr(module, name):
        raise UnknownNameError(f"object of {path}", name, public)
    return getattr(module, name)


def _load(path: Path) -> ModuleType:
    if not path.is_file():
        raise DataError(f"there is no file {path}.", "Name a Python file and an object in it: FILE.py:NAME.")
    # Worker processes that are not forked find the classes of the file under this name.
    return load_python_file(path, f"nascli_data_{path.stem}", DataError, str(path))
