"""Decoded images in one memory-mapped file, which all processes and later runs share.

The file has the pixels of all images one after the other (height, width, channels), then one row of four 64-bit
integers for each image (offset, height, width, CRC-32), then a JSON document with the digest of the data set, then the
length of that document (8 bytes) and the file's mark. An image that cannot be read has height 0.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock
from torch import Tensor

from nascli.errors import DataError
from nascli.paths import home
from nascli.progress import Progress
from nascli.supernet.data.pictures import Pictures

_MARK = b"NASCLI-IMAGES-1\n"
# Largest share of the free memory, and of the free space on the disk, that decoded images may take.
_SHARE = 0.5
# Images whose height and width are looked up to tell how much all of them take, and whose sums are checked.
_SAMPLED = 64
_COLUMNS = 4


class CachedPictures(Pictures):
    """Images out of a file of decoded ones; those that could not be decoded raise the error of the original.

    Args:
        pictures: The data set that the file belongs to.
        file: The file.

    Raises:
        DataError: The file is damaged, or belongs to another state of the data set.
    """

    def __init__(self, pictures: Pictures, file: Path) -> None:
        self._pictures, self._file = pictures, file
        self.labels, self.channels, self.digest = pictures.labels, pictures.channels, pictures.digest
        self.whole = pictures.whole
        self._index = _read_index(pictures, file)
        # Nothing is written: pages that are changed by mistake become the process's own.
        self._pixels = np.memmap(file, np.uint8, "c")
        self._check_sums()

    def __getstate__(self) -> dict[str, Any]:
        # A process that is not forked maps the file itself instead of receiving its content.
        return {**self.__dict__, "_pixels": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self._pixels = np.memmap(self._file, np.uint8, "c")

    def _check_sums(self) -> None:
        for index in _sample(len(self)):
            if self._index[index, 1] and zlib.crc32(self._bytes(index).tobytes()) != self._index[index, 3]:
                raise DataError(f"{self._file} is damaged: {self.name(index)} has another sum.")

    def _bytes(self, index: int) -> npt.NDArray[np.uint8]:
        offset, height, width, _ = self._index[index].tolist()
        return self._pixels[offset : offset + height * width * self.channels]

    def read(self, index: int) -> Tensor:
        """Return an image as bytes."""
        height, width = self.size(index)
        if height == 0:
            return self._pictures.read(index)
        pixels = torch.from_numpy(self._bytes(index)).view(height, width, self.channels)
        return pixels.permute(2, 0, 1)

    def name(self, index: int) -> str:
        """Return the name of an image."""
        return self._pictures.name(index)

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width of an image; 0 and 0 if it could not be decoded."""
        return int(self._index[index, 1]), int(self._index[index, 2])


def _sample(images: int) -> list[int]:
    """Return the numbers of some images from everywhere in a data set."""
    numbers: list[int] = np.unique(np.random.default_rng(0).integers(0, images, _SAMPLED)).tolist()
    return numbers


def _read_index(pictures: Pictures, file: Path) -> npt.NDArray[np.int64]:
    """Return the rows of the images, `(n, 4)`."""
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            stream.seek(max(0, size - 8 - len(_MARK)))
            tail = stream.read()
            length = int.from_bytes(tail[:8], "little")
            start = size - 8 - len(_MARK) - length
            if tail[8:] != _MARK or start < 0:
                raise ValueError("its end is missing")
            stream.seek(start)
            document = json.loads(stream.read(length))
            if document["digest"] != pictures.digest or document["channels"] != pictures.channels:
                raise ValueError("it belongs to another state of the data set")
            rows = len(pictures) * _COLUMNS * 8
            if start != document["pixels"] + rows:
                raise ValueError("it is too short")
            stream.seek(document["pixels"])
            content = stream.read(rows)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file} is damaged: {error}.") from error
    index = np.frombuffer(content, "<i8").reshape(-1, _COLUMNS)
    ends = index[:, 0] + index[:, 1] * index[:, 2] * pictures.channels
    if zlib.crc32(content) != document["sum"] or (index < 0).any() or (ends > document["pixels"]).any():
        raise DataError(f"{file} is damaged: its index is wrong.")
    return index


def cache_file(pictures: Pictures) -> Path:
    """Return the file in which the decoded images of a data set are kept."""
    return home() / "images" / f"{pictures.digest[:32]}.images"


def cached(
    pictures: Pictures, title: str, progress: Progress, decode: Callable[[Pictures], Iterable[Tensor | None]]
) -> Pictures:
    """Return the images out of a file of decoded ones, which is written first if they fit.

    One process writes the file; the others wait for it. A file that is damaged is written anew.

    Args:
        pictures: The data set.
        title: Its name, for messages.
        progress: Says what is done.
        decode: Function from a data set to all of its images in order; None for one that cannot be read.

    Returns:
        The images from the file; `pictures` itself if they do not fit.

    Raises:
        DataError: An image cannot be read, and `decode` raises for it.
    """
    file = cache_file(pictures)
    needed, free = decoded_bytes(pictures), _free_bytes(file.parent)
    if needed > free and not file.exists():
        progress.message(
            f"{title}: {len(pictures):,} decoded images take about {_gigabytes(needed)}, more than the "
            f"{_gigabytes(free)} that may be used of memory and disk; they are decoded again in each epoch"
        )
        return pictures
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock")):
            if file.exists():
                try:
                    return CachedPictures(pictures, file)
                except DataError as error:
                    progress.message(f"{error.message} It is written anew.")
                    file.unlink()
            _write(pictures, file, title, progress, decode)
            return CachedPictures(pictures, file)
    except OSError as error:
        progress.message(
            f"{title}: decoded images cannot be kept in {file} ({error.strerror}); they are decoded again in each "
            "epoch"
        )
        return pictures


def _write(
    pictures: Pictures,
    file: Path,
    title: str,
    progress: Progress,
    decode: Callable[[Pictures], Iterable[Tensor | None]],
) -> None:
    temporary = file.with_suffix(f".{os.getpid()}.tmp")
    index = np.zeros((len(pictures), _COLUMNS), "<i8")
    offset = 0
    progress.start(f"decoding the images of {title}", len(pictures))
    try:
        with temporary.open("wb") as stream:
            for number, image in enumerate(decode(pictures)):
                if image is not None:
                    pixels = image.permute(1, 2, 0).contiguous().numpy().tobytes()
                    stream.write(pixels)
                    index[number] = offset, *image.shape[1:], zlib.crc32(pixels)
                    offset += len(pixels)
                progress.advance(1)
            content = index.tobytes()
            facts = {
                "digest": pictures.digest,
                "channels": pictures.channels,
                "pixels": offset,
                "sum": zlib.crc32(content),
            }
            document = json.dumps(facts).encode()
            stream.write(content + document + len(document).to_bytes(8, "little") + _MARK)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    progress.message(f"{title}: {len(pictures):,} decoded images are kept in {file} ({_gigabytes(offset)})")


def decoded_bytes(pictures: Pictures) -> int:
    """Estimate the bytes that all decoded images of a data set take, from the sizes of some of them."""
    sizes = []
    for index in _sample(len(pictures)):
        # An image that cannot be read takes nothing; whoever reads it says so.
        with contextlib.suppress(DataError):
            height, width = pictures.size(index)
            sizes.append(height * width * pictures.channels)
    return int(np.mean(sizes) * len(pictures)) if sizes else 0


def _free_bytes(folder: Path) -> float:
    """Return how many bytes decoded images may take."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return _SHARE * min(shutil.disk_usage(existing).free, free_memory())


def free_memory() -> int:
    """Return the bytes of memory that are available to this process, without swapping."""
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        available = 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    # A container may have less than the machine.
    with contextlib.suppress(OSError, ValueError):
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii"))
        used = int(Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii"))
        available = min(available, max(0, limit - used))
    return available


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"
