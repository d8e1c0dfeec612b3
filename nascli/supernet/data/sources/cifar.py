"""CIFAR-10 and CIFAR-100."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from nascli.errors import DataError, Remedy
from nascli.supernet.data.sources.base import Labels, Pixels, Raw, Source

_CIFAR_ROW = {10: 1 + 3072, 100: 2 + 3072}


def cifar_reader(classes: int) -> Callable[[Path | None, int], Raw]:
    """A reader of the binary version of CIFAR-10 or CIFAR-100."""
    train, test = (
        ([f"data_batch_{i}.bin" for i in range(1, 6)], "test_batch.bin")
        if classes == 10
        else (["train.bin"], "test.bin")
    )

    def read(folder: Path | None, resolution: int) -> Raw:
        inner = "cifar-10-batches-bin" if classes == 10 else "cifar-100-binary"
        if folder is None:
            raise DataError(
                f"CIFAR-{classes} needs its folder. The binary version (not the pickled one) is at "
                f"https://www.cs.toronto.edu/~kriz/cifar-{classes}-binary.tar.gz",
                "Name the folder.",
                Remedy(arguments={"data": f"cifar{classes}:FOLDER"}),
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


SOURCES: dict[str, Source] = {
    "cifar10": Source(10, 3, cifar_reader(10)),
    "cifar100": Source(100, 3, cifar_reader(100)),
}
