"""Image files in one folder per class, which are decoded when they are needed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from nascli.errors import DataError, Remedy, missing_package
from nascli.supernet.data.pictures import PictureParts, Pictures, image_bytes
from nascli.supernet.data.sources.base import Source

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
_IMAGENET_CLASSES = 1000


class FilePictures(Pictures):
    """Image files below a folder.

    Args:
        root: Folder of the files.
        names: Path of each file, relative to the folder.
        labels: Class of each file.
        channels: 3 to read colour images, 1 to read grey ones.

    Raises:
        DataError: A file is missing.
        RuntimeUnavailableError: Pillow is not installed.
    """

    def __init__(self, root: Path, names: list[str], labels: list[int], channels: int = 3) -> None:
        _image_module()
        self._root = root
        # One array of bytes for all names: workers share it, and would copy a list.
        encoded = [os.fsencode(name) for name in names]
        self._ends = np.cumsum([len(name) for name in encoded], dtype=np.int64)
        self._names = np.frombuffer(b"".join(encoded), np.uint8)
        self.labels = np.array(labels, np.int64)
        self.channels = channels
        state = hashlib.sha256(f"files {channels}".encode())
        try:
            for name, label in zip(names, labels, strict=True):
                state.update(
                    f"{name}\0{(root / name).stat().st_size}\0{label}\0".encode(errors="surrogateescape")
                )
        except OSError as error:
            raise DataError(f"cannot read {error.filename}: {error.strerror}.") from error
        self.digest = state.hexdigest()

    def path(self, index: int) -> Path:
        """Return the path of a file."""
        start = int(self._ends[index - 1]) if index else 0
        return self._root / os.fsdecode(self._names[start : int(self._ends[index])].tobytes())

    def name(self, index: int) -> str:
        """Return the path of a file, for messages."""
        return str(self.path(index))

    def read(self, index: int) -> Tensor:
        """Decode a file."""
        path, module = self.path(index), _image_module()
        try:
            with module.open(path) as image:
                return image_bytes(image, self.channels)
        # Pillow's readers raise all of these for damaged files.
        except (OSError, SyntaxError, ValueError, module.DecompressionBombError) as error:
            raise DataError(f"cannot read the image {path}: {error}.", "Remove or repair it.") from error

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width of an image, from the head of its file."""
        path, module = self.path(index), _image_module()
        try:
            with module.open(path) as image:
                width, height = image.size
        except (OSError, SyntaxError, ValueError, module.DecompressionBombError) as error:
            raise DataError(f"cannot read the image {path}: {error}.", "Remove or repair it.") from error
        return height, width


def _image_module() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise missing_package("pillow", "data", "reading image files") from error
    return Image


def open_folder(text: str) -> PictureParts:
    """Open a folder with one folder per class, or with such a folder for each of train and val (or test).

    Classes are numbered in alphabetical order. The part in val/ or test/ is the test part.

    Args:
        text: The folder; it has the class folders itself, or in train/ and in val/ or test/.

    Raises:
        DataError: The folder is missing, has fewer than two classes, a class without images, or a test part with
            other classes.
        RuntimeUnavailableError: Pillow is not installed.
    """
    folder = Path(text).expanduser() if text else None
    if folder is None or not folder.is_dir():
        raise DataError(
            f"there is no folder {folder}." if folder else "a folder is needed: folder:FOLDER",
            "It has one folder of images per class, or train/ and val/ that have.",
        )
    train = _train_folder(folder)
    test_folders = [folder / name for name in ("val", "test")] if train != folder else []
    test = next((candidate for candidate in test_folders if candidate.is_dir()), None)
    names = _class_folders(train)
    if len(names) < 2:
        raise DataError(f"{train} has {len(names)} class folders; at least 2 are needed.")
    if test is not None:
        unknown = [name for name in _class_folders(test) if name not in set(names)]
        if unknown:
            raise DataError(
                f"{test} has class folders that {train} does not have: {', '.join(unknown[:5])}.",
                "Both need the same classes.",
            )
    return PictureParts(
        _list_files(train, names), tuple(names), test=None if test is None else _list_files(test, names)
    )


def open_imagenet(text: str) -> PictureParts:
    """Open ImageNet's folders: train/ and val/, each with a folder for each of the 1,000 classes.

    Args:
        text: The folder that has train/ and val/.

    Raises:
        DataError: There are not 1,000 classes, or as `open_folder`.
        RuntimeUnavailableError: Pillow is not installed.
    """
    parts = open_folder(text)
    if len(parts.class_names) != _IMAGENET_CLASSES:
        raise DataError(
            f"{text} has {len(parts.class_names)} class folders, but ImageNet has {_IMAGENET_CLASSES} classes.",
            "Open it as a folder of images instead.",
            Remedy(arguments={"data": f"folder:{text}"}),
        )
    return parts


def _train_folder(folder: Path) -> Path:
    return folder / "train" if (folder / "train").is_dir() else folder


def _class_folders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir())


def _list_files(folder: Path, classes: list[str]) -> FilePictures:
    names, labels = [], []
    for number, name in enumerate(classes):
        if not (folder / name).is_dir():
            continue
        files = sorted(
            f"{name}/{file}"
            for file in os.listdir(folder / name)  # noqa: PTH208  (a million files: no objects for them)
            if file.lower().endswith(_SUFFIXES)
        )
        names += files
        labels += [number] * len(files)
    if not names:
        raise DataError(f"{folder} has no images ({', '.join(sorted(_SUFFIXES))}) in its class folders.")
    return FilePictures(folder, names, labels)


def count_class_folders(folder: Path) -> int:
    """Count the class folders of an image folder; a folder that does not exist has none."""
    train = _train_folder(folder)
    return len(_class_folders(train)) if train.is_dir() else 0


def _folder_properties(text: str) -> tuple[int, int]:
    classes = count_class_folders(Path(text).expanduser()) if text else 0
    if classes < 2:
        raise DataError(
            f"folder{':' + text if text else ''}: there is no folder with at least 2 class folders.",
            "Name the data set with its folder.",
            Remedy(arguments={"data": "folder:FOLDER"}),
        )
    return classes, 3


SOURCES: dict[str, Source] = {
    "folder": Source(None, 3, open=open_folder, properties=_folder_properties),
    "imagenet": Source(_IMAGENET_CLASSES, 3, open=open_imagenet),
}
