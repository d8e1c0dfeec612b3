"""Folders of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nascli.errors import DataError, Remedy, missing_package
from nascli.supernet.data.sources.base import Labels, Pixels, Raw, Source

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}
# Decoded images are kept in memory; more than this belongs on a loader of one's own (an entry point).
_MOST_BYTES = 12e9


def read_folder(folder: Path | None, resolution: int) -> Raw:
    """One folder per class; or train/ and val/ (or test/) with one folder per class each."""
    if folder is None or not folder.is_dir():
        raise DataError(
            f"there is no folder {folder}." if folder else "a folder of images is needed.",
            "Name one that has a folder of images per class, or train/ and val/ that have.",
            Remedy(arguments={"data": "folder:FOLDER"}),
        )
    train = folder / "train" if (folder / "train").is_dir() else folder
    others = [folder / name for name in ("val", "test")] if train != folder else []
    test = next((other for other in others if other.is_dir()), None)
    names = sorted(p.name for p in train.iterdir() if p.is_dir())
    if len(names) < 2:
        raise DataError(f"{train} has {len(names)} class folders; at least 2 are needed.")
    images, labels = _decode(train, names, resolution)
    return Raw(images, labels) if test is None else Raw(images, labels, *_decode(test, names, resolution))


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
        raise DataError(f"{folder} holds no images ({', '.join(sorted(_SUFFIXES))}).")
    if len(files) * 3 * resolution**2 > _MOST_BYTES:
        raise DataError(
            f"{len(files)} images at {resolution}x{resolution} do not fit {_MOST_BYTES / 1e9:.0f} GB of memory.",
            "Choose a smaller resolution, a part of the images, or a reader of your own (nascli.datasets).",
        )
    pixels = np.empty((len(files), 3, resolution, resolution), np.uint8)
    for index, (path, _) in enumerate(files):
        try:
            with Image.open(path) as image:
                square = min(image.size)
                left, top = (image.width - square) // 2, (image.height - square) // 2
                cut = image.convert("RGB").resize(
                    (resolution, resolution), box=(left, top, left + square, top + square)
                )
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
            raise DataError(f"cannot read the image {path}: {error}.", "Remove or repair it.") from error
        pixels[index] = np.asarray(cut).transpose(2, 0, 1)
    return pixels, np.array([number for _, number in files], dtype=np.int64)


def classes_in(folder: Path) -> int:
    """How many class folders an image folder has."""
    train = folder / "train" if (folder / "train").is_dir() else folder
    return sum(p.is_dir() for p in train.iterdir()) if train.is_dir() else 0


SOURCES: dict[str, Source] = {
    "folder": Source(None, 3, read_folder),
    "imagenet": Source(1000, 3, read_folder),
}
