"""Reading images in batches, in this process or in worker processes that read ahead."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import signal
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from nascli.errors import DataError
from nascli.supernet.data.pictures import Pictures
from nascli.supernet.data.rows import Rows
from nascli.supernet.data.views import EvaluationView, TrainingView, load_transforms

_MOST_WORKERS = 8
# Fewer images are read by this process: starting workers would take longer.
WORKER_IMAGES = 256
# Parameters of glibc's mallopt with their values in bytes: from which size on a block is a mapping of its own, and how
# much free memory may lie at the end of the others before it is given back.
_MMAP_THRESHOLD, _TRIM_THRESHOLD = (-3, 4 * 2**20), (-1, 64 * 2**20)
# Batches that each worker has ready.
_READ_AHEAD = 2


class Request(NamedTuple):
    """A batch to read.

    Attributes:
        rows: Rows of the split, `(batch,)`.
        epoch: Number of the pass, for the training view; None for the evaluation view.
    """

    rows: Rows
    epoch: int | None = None


@dataclass
class BadImages:
    """Images that could not be read and were replaced, and who is told.

    Attributes:
        report: Called with a message for each of them, once.
        names: Their names.
    """

    report: Callable[[str], None]
    names: set[str] = field(default_factory=set)

    def add(self, replaced: list[tuple[str, str]]) -> None:
        """Count images that were replaced, by name, with the reason."""
        for name, reason in replaced:
            if name not in self.names:
                self.names.add(name)
                self.report(
                    f"{reason} It is replaced by another image of its class ({len(self.names)} so far)."
                )


class _Failure(NamedTuple):
    """An error of a worker: exceptions lose their attributes on the way to another process."""

    message: str
    hint: str | None


class _Read(NamedTuple):
    """What a worker returns: bytes `(batch, channels, resolution, resolution)`, and the images that were replaced."""

    pixels: Tensor
    replaced: list[tuple[str, str]]


class _Batches(Dataset[Any]):
    """The data set of the DataLoader, whose items are whole batches."""

    def __init__(self, reader: ImageReader, training: TrainingView | None) -> None:
        self._reader, self._training = reader, training
        self._transform: Callable[[Tensor], Tensor] | None = None

    def __getitem__(self, request: Request) -> _Read | _Failure:
        try:
            return self._read(request)
        except DataError as error:
            return _Failure(error.message, error.hint)

    def _read(self, request: Request) -> _Read:
        size, channels = self._reader.resolution, self._reader.pictures.channels
        # Height, width, channels: a view is copied as one piece.
        pixels = torch.empty((len(request.rows), size, size, channels), dtype=torch.uint8)
        replaced: list[tuple[str, str]] = []
        view = EvaluationView(size, self._reader.pictures.whole)
        if self._training is not None and self._transform is None:
            self._transform = self._training.transform()
        for number, row in enumerate(request.rows.tolist()):
            image = self._reader.read(row, replaced)
            if request.epoch is None:
                seen = view(image)
            else:
                assert self._training is not None and self._transform is not None
                seen = self._training.drawn(self._transform, image, request.epoch, row)
            pixels[number] = seen.permute(1, 2, 0)
        return _Read(pixels.permute(0, 3, 1, 2), replaced)


class _Requests(Sampler[Any]):
    """Hands requests to the DataLoader, which asks for them as its workers become free."""

    def __init__(self, requests: Iterable[Any]) -> None:
        self._requests = requests

    def __iter__(self) -> Iterator[Any]:
        return iter(self._requests)


@dataclass(frozen=True, eq=False)
class ImageReader:
    """Reads the images of a split.

    Attributes:
        pictures: Decoded images.
        rows: Number of each image of the split within `pictures`, `(n,)`.
        resolution: Height and width of the views, in pixels.
        workers: Number of worker processes; None chooses it.
        skip_bad: Whether an image that cannot be read is replaced by the next one of its class.
        bad: Images that were replaced.
    """

    pictures: Pictures
    rows: Rows
    resolution: int
    workers: int | None
    skip_bad: bool
    bad: BadImages

    def read(self, row: int, replaced: list[tuple[str, str]]) -> Tensor:
        """Return an image as bytes.

        Args:
            row: Row of the split.
            replaced: List to which an image that had to be replaced is added, with the reason.

        Raises:
            DataError: The image cannot be read, and is not to be replaced, or no image of its class can be read.
        """
        number = int(self.rows[row])
        try:
            return self.pictures.read(number)
        except DataError as error:
            if not self.skip_bad:
                raise
            replaced.append((self.pictures.name(number), error.message))
        labels = self.pictures.labels[self.rows]
        same = np.flatnonzero(labels == labels[row])
        place = int(np.searchsorted(same, row))
        for other in np.roll(same, -place)[1:].tolist():
            try:
                return self.pictures.read(int(self.rows[other]))
            except DataError:
                continue
        raise DataError(f"no image of the class of {self.pictures.name(number)} can be read.")

    def batches(
        self,
        requests: Iterable[Request],
        *,
        training: TrainingView | None = None,
        few: bool = False,
        pin: bool = False,
    ) -> Iterator[Tensor]:
        """Read batches, ahead of their use where there are workers.

        Args:
            requests: The batches; they may be endless.
            training: How images are seen in training; None if all requests are for evaluation.
            few: Whether the batches are not worth starting workers.
            pin: Whether the batches lie in pinned memory, from which they are copied to a card.

        Yields:
            Bytes, `(batch, channels, resolution, resolution)`, in the channels-last memory format.

        Raises:
            DataError: An image cannot be read, or a worker died.
        """
        load_transforms()
        dataset = _Batches(self, training)
        workers = 0 if few else self.worker_count
        if workers == 0:
            results: Generator[Any, None, None] = (dataset[request] for request in requests)
        else:
            results = _from_workers(dataset, requests, workers, pin)
        # Workers end at once here; where the collector of garbage finds them, each is waited for in vain for 5 s.
        with closing(results):
            for result in results:
                if isinstance(result, _Failure):
                    raise DataError(result.message, result.hint)
                if result.replaced:
                    self.bad.add(result.replaced)
                yield result.pixels

    @property
    def worker_count(self) -> int:
        """Number of worker processes that read batches."""
        return worker_count(self.workers, len(self.rows))


def _from_workers(
    dataset: Dataset[Any], requests: Iterable[Any], workers: int, pin: bool = False
) -> Generator[Any, None, None]:
    """Yield the items of a data set in the order of requests, which worker processes read ahead."""
    loader = DataLoader(
        dataset,
        batch_size=None,
        sampler=_Requests(requests),
        num_workers=workers,
        collate_fn=_same,
        prefetch_factor=_READ_AHEAD,
        pin_memory=pin,
        worker_init_fn=_begin_worker,
    )
    try:
        yield from loader
    except RuntimeError as error:
        # The DataLoader's words for a process that is gone; other errors come as a `_Failure`.
        if "DataLoader worker" not in str(error):
            raise
        raise DataError(
            f"one of {workers} processes that read images died ({_cause(str(error))}).",
            "It may have been out of memory, or of shared memory (/dev/shm): use fewer workers, or none.",
        ) from error


def _begin_worker(number: int) -> None:
    """Keep a worker's memory small."""
    # The collector of garbage would copy the pages of what a forked worker shares when it looks at them.
    gc.freeze()
    _limit_kept_memory()


def _limit_kept_memory() -> None:
    """Limit the memory that glibc keeps after it was freed.

    By default it keeps blocks of up to 32 MB once such blocks were freed. So batches and decoded images of many sizes
    leave gaps among each other, by which a worker grows all the time. With batches apart, and images kept, a worker is
    faster too.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        for parameter, value in (_MMAP_THRESHOLD, _TRIM_THRESHOLD):
            library.mallopt(parameter, value)


def _same(batch: Any) -> Any:
    """Leave a batch as the worker made it."""
    return batch


def _cause(text: str) -> str:
    """Return why a worker died, out of the words of the DataLoader."""
    for name in ("SIGKILL", "SIGBUS", "SIGSEGV", "SIGTERM"):
        if f"signal: {signal.strsignal(getattr(signal, name))}" in text:
            return name
    return text.splitlines()[0].rstrip(".")


def worker_count(workers: int | None, images: int) -> int:
    """Return how many processes read images.

    Args:
        workers: The number that was asked for; None for one for each core of this process, at most 8.
        images: Number of images; without a wish, few of them are read by this process.
    """
    if workers is not None:
        return workers
    if images < WORKER_IMAGES:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(_MOST_WORKERS, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


class _Decoded(Dataset[Any]):
    """The data set of the DataLoader that decodes whole images."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures

    def __getitem__(self, index: int) -> Tensor | _Failure:
        try:
            return self._pictures.read(index)
        except DataError as error:
            return _Failure(error.message, error.hint)


def decode_all(pictures: Pictures, workers: int | None, skip_bad: bool) -> Iterator[Tensor | None]:
    """Decode all images of a data set in their order.

    Args:
        pictures: The images.
        workers: Number of worker processes; None chooses it.
        skip_bad: Whether images that cannot be read are left out.

    Yields:
        Bytes, `(channels, height, width)`; None for an image that cannot be read.

    Raises:
        DataError: An image cannot be read and is not left out, or a worker died.
    """
    dataset = _Decoded(pictures)
    count, numbers = worker_count(workers, len(pictures)), range(len(pictures))
    images = _from_workers(dataset, numbers, count) if count else (dataset[number] for number in numbers)
    # As in `ImageReader.batches`.
    with closing(images):
        for image in images:
            if not isinstance(image, _Failure):
                yield image
            elif skip_bad:
                yield None
            else:
                raise DataError(image.message, image.hint)
