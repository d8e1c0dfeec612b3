"""CIFAR-10 and CIFAR-100 in their binary version."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from nascli.errors import DataError
from nascli.supernet.data.sources.base import Labels, Pixels, RawImages, Source

# Bytes of one image with its labels. CIFAR-100 has a coarse label before the fine one.
_ROW_BYTES = {10: 1 + 3072, 100: 2 + 3072}


def cifar_reader(classes: int) -> Callable[[Path | None, int], RawImages]:
    """Return the reader of CIFAR-10 or CIFAR-100.

    The reader takes the folder of the binary version, or the folder above it, and returns images
    `(50000, 3, 32, 32)` uint8 with a test part of 10,000. It raises `DataError` if no folder is named, or if a file is
    missing or damaged.

    Args:
        classes: 10 or 100.
    """
    train_files, test_file = (
        ([f"data_batch_{i}.bin" for i in range(1, 6)], "test_batch.bin")
        if classes == 10
        else (["train.bin"], "test.bin")
    )
    archive_folder = "cifar-10-batches-bin" if classes == 10 else "cifar-100-binary"

    def read(folder: Path | None, resolution: int) -> RawImages:
        if folder is None:
            raise DataError(
                f"CIFAR-{classes} needs its folder: cifar{classes}:FOLDER.",
                f"The binary version (not the pickled one) is at "
                f"https://www.cs.toronto.edu/~kriz/cifar-{classes}-binary.tar.gz",
            )
        inner = folder / archive_folder
        location = inner if inner.is_dir() else folder
        parts = [_read_file(location / name, classes) for name in (*train_files, test_file)]
        images = np.concatenate([part[0] for part in parts[:-1]])
        labels = np.concatenate([part[1] for part in parts[:-1]])
        return RawImages(images, labels, *parts[-1])

    return read


def _read_file(path: Path, classes: int) -> tuple[Pixels, Labels]:
    row_bytes = _ROW_BYTES[classes]
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise DataError(
            f"cannot read {path}: {error.strerror}.", "CIFAR's binary version is needed, not the pickled one."
        ) from error
    if len(data) == 0 or len(data) % row_bytes:
        raise DataError(f"{path} is damaged: its {len(data)} bytes are not a multiple of {row_bytes}.")
    rows = data.reshape(-1, row_bytes)
    labels = rows[:, row_bytes - 3073].astype(np.int64)
    if labels.max() >= classes:
        raise DataError(f"{path} is damaged: it has class {labels.max()}, but classes are 0..{classes - 1}.")
    return rows[:, row_bytes - 3072 :].reshape(-1, 3, 32, 32), labels


SOURCES: dict[str, Source] = {
    "cifar10": Source(10, 3, cifar_reader(10)),
    "cifar100": Source(100, 3, cifar_reader(100)),
}
