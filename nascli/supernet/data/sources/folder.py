"""Image files in one folder per class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nascli.errors import DataError, missing_package
from nascli.supernet.data.sources.base import Labels, Pixels, RawImages, Source

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}
# Decoded images are kept in memory. A larger data set needs a reader of its own (an entry point).
_MAX_BYTES = 12e9


def read_folder(folder: Path | None, resolution: int) -> RawImages:
    """Read a folder with one folder per class, or with such a folder for each of train and val (or test).

    Classes are numbered in alphabetical order. Each image is cut to its central square.

    Args:
        folder: The folder; it has the class folders itself, or in train/ and in val/ or test/.
        resolution: Height and width of the decoded images, in pixels.

    Returns:
        Images `(n, 3, resolution, resolution)` uint8. They have a test part if the folder has val/ or test/.

    Raises:
        DataError: The folder is missing, has fewer than two classes or no images, does not fit in memory, or has an
            image that cannot be decoded.
        RuntimeUnavailableError: Pillow is not installed.
    """
    if folder is None or not folder.is_dir():
        raise DataError(
            f"there is no folder {folder}." if folder else "a folder is needed: folder:FOLDER",
            "It has one folder of images per class, or train/ and val/ that have.",
        )
    train = _train_folder(folder)
    test_folders = [folder / name for name in ("val", "test")] if train != folder else []
    test = next((candidate for candidate in test_folders if candidate.is_dir()), None)
    names = sorted(p.name for p in train.iterdir() if p.is_dir())
    if len(names) < 2:
        raise DataError(f"{train} has {len(names)} class folders; at least 2 are needed.")
    images, labels = _decode(train, names, resolution)
    if test is None:
        return RawImages(images, labels)
    return RawImages(images, labels, *_decode(test, names, resolution))


def _train_folder(folder: Path) -> Path:
    return folder / "train" if (folder / "train").is_dir() else folder


def _decode(folder: Path, classes: list[str], resolution: int) -> tuple[Pixels, Labels]:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise missing_package("pillow", "data", "a folder of images") from error
    files = [
        (path, number)
        for number, name in enumerate(classes)
        for path in sorted((folder / name).glob("*"))
        if path.suffix.lower() in _SUFFIXES
    ]
    if not files:
        raise DataError(f"{folder} has no images ({', '.join(sorted(_SUFFIXES))}) in its class folders.")
    if len(files) * 3 * resolution**2 > _MAX_BYTES:
        raise DataError(
            f"{len(files)} images at {resolution}x{resolution} do not fit {_MAX_BYTES / 1e9:.0f} GB of memory.",
            "Choose a smaller resolution, fewer images, or a reader of your own (nascli.datasets).",
        )
    pixels = np.empty((len(files), 3, resolution, resolution), np.uint8)
    for index, (path, _) in enumerate(files):
        try:
            with Image.open(path) as image:
                square = min(image.size)
                left, top = (image.width - square) // 2, (image.height - square) // 2
                resized = image.convert("RGB").resize(
                    (resolution, resolution), box=(left, top, left + square, top + square)
                )
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
            raise DataError(f"cannot read the image {path}: {error}.", "Remove or repair it.") from error
        pixels[index] = np.asarray(resized).transpose(2, 0, 1)
    return pixels, np.array([number for _, number in files], dtype=np.int64)


def count_class_folders(folder: Path) -> int:
    """Count the class folders of an image folder; a folder that does not exist has none."""
    train = _train_folder(folder)
    return sum(p.is_dir() for p in train.iterdir()) if train.is_dir() else 0


SOURCES: dict[str, Source] = {
    "folder": Source(None, 3, read_folder),
    "imagenet": Source(1000, 3, read_folder),
}
