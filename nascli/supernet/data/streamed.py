"""A part of a data set that need not fit in memory."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from nascli.spaces.primitives import Shape
from nascli.supernet.data.augmentation import cover_rectangles, move_images, shift_own_images
from nascli.supernet.data.cache import free_memory
from nascli.supernet.data.pictures import JoinedPictures
from nascli.supernet.data.reader import WORKER_IMAGES, ImageReader, Request
from nascli.supernet.data.rows import Batch, Rows, TrainingRows
from nascli.supernet.data.splits import ImageSplit, PixelNormalisation
from nascli.supernet.data.views import TrainingView
from nascli.supernet.training.recipe import Recipe

# Largest size, in bytes and as a share of the free memory, of the evaluation views that a process keeps of a split.
_KEPT_BYTES, _KEPT_SHARE = 2e9, 1 / 8


class _EvaluationViews:
    """The evaluation views of a split, kept in memory once they were read if all of them are few enough.

    A search evaluates the same images again and again, and recipes that only move and mirror images start from these
    views.

    Args:
        reader: Reads the images of the split.
    """

    def __init__(self, reader: ImageReader) -> None:
        self._reader = reader
        size, channels, count = reader.resolution, reader.pictures.channels, len(reader.rows)
        ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        self._keeps = count * channels * size**2 <= min(_KEPT_BYTES, free_memory() * _KEPT_SHARE / ranks)
        self._known = np.zeros(count, bool)
        # Pages are taken as views are written to them.
        shape = (count if self._keeps else 0, size, size, channels)
        self._pixels = torch.empty(shape, dtype=torch.uint8).permute(0, 3, 1, 2)

    def batches(self, batches: Iterable[Rows], pin: bool) -> Iterator[Tensor]:
        """Yield batches of views, bytes `(batch, channels, resolution, resolution)`.

        Args:
            batches: Rows of each batch; there may be endlessly many.
            pin: Whether batches are read into pinned memory.
        """
        few = isinstance(batches, list) and len(batches) < 2
        if not self._keeps:
            yield from self._reader.batches(map(Request, batches), few=few, pin=pin)
            return
        rest = iter(batches)
        if not self._known.all():
            few = few or len(self._known) - int(self._known.sum()) < WORKER_IMAGES
            yield from self._read_missing(rest, few)
        for rows in rest:
            yield self._pixels[torch.from_numpy(rows)]

    def _read_missing(self, batches: Iterator[Rows], few: bool) -> Iterator[Tensor]:
        """Yield batches, and read what is missing for them ahead, until every view was read."""
        asked_for = self._known.copy()
        pending: deque[tuple[Rows, Rows]] = deque()

        def requests() -> Iterator[Request]:
            while not asked_for.all() and (rows := next(batches, None)) is not None:
                missing = rows[~asked_for[rows]]
                asked_for[missing] = True
                pending.append((rows, missing))
                yield Request(missing)

        for pixels in self._reader.batches(requests(), few=few):
            rows, missing = pending.popleft()
            self._pixels[torch.from_numpy(missing)] = pixels
            self._known[missing] = True
            yield self._pixels[torch.from_numpy(rows)]


@dataclass(frozen=True, eq=False)
class StreamedSplit(ImageSplit):
    """A part of a data set whose images are read, and augmented, when they are needed.

    Attributes:
        reader: Reads the images.
        labels: Class of each image, `(n,)` int64, on the CPU.
        normalisation: How pixels become the input of a network, on the device.
        target: Device to which images and labels are delivered.
    """

    reader: ImageReader
    labels: Tensor
    normalisation: PixelNormalisation
    target: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @classmethod
    def of(cls, reader: ImageReader, normalisation: PixelNormalisation) -> StreamedSplit:
        """Return the split of a reader, on the CPU."""
        labels = torch.from_numpy(reader.pictures.labels[reader.rows])
        return cls(reader, labels, normalisation)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> Shape:
        """Shape of one image as it is delivered."""
        return Shape(self.reader.pictures.channels, self.reader.resolution, self.reader.resolution)

    @property
    def device(self) -> torch.device:
        """Device to which images and labels are delivered."""
        return self.target

    def to(self, device: torch.device | str) -> StreamedSplit:
        """Return a split of the same images that delivers to a device."""
        device = torch.device(device)
        moved = replace(self, target=device, normalisation=self.normalisation.to(device))
        # Views that were read are the same for every device.
        moved.__dict__["_views"] = self._views
        return moved

    def subset(self, rows: Rows) -> StreamedSplit:
        """Return a split of some of the images."""
        reader = replace(self.reader, rows=self.reader.rows[rows])
        return replace(self, reader=reader, labels=self.labels[torch.from_numpy(rows)])

    def joined(self, other: ImageSplit) -> StreamedSplit:
        """Return a split of these images and, after them, those of another streamed split."""
        assert isinstance(other, StreamedSplit)
        pictures, rows = self.reader.pictures, other.reader.rows
        if other.reader.pictures is not pictures:
            rows = rows + len(pictures)
            pictures = JoinedPictures(pictures, other.reader.pictures)
        reader = replace(self.reader, pictures=pictures, rows=np.concatenate([self.reader.rows, rows]))
        return replace(self, reader=reader, labels=torch.cat([self.labels, other.labels]))

    @property
    def content(self) -> Iterable[bytes]:
        """What identifies the images: the digest of their source, and how they are read."""
        reader = self.reader
        view = " whole" if reader.pictures.whole else ""
        yield f"streamed {reader.pictures.digest} {reader.resolution} {reader.skip_bad}{view}".encode()
        yield reader.rows.tobytes()
        yield self.labels.numpy().tobytes()
        yield self.normalisation.mean.cpu().numpy().tobytes()
        yield self.normalisation.deviation.cpu().numpy().tobytes()

    @cached_property
    def _views(self) -> _EvaluationViews:
        return _EvaluationViews(self.reader)

    @cached_property
    def _labels_on_device(self) -> Tensor:
        return self.labels.to(self.target)

    def _deliver(self, pixels: Tensor, rows: Rows) -> Batch:
        """Normalise a batch on the device."""
        images = self.normalisation.apply(pixels.to(self.target, non_blocking=True))
        return images, self._labels_on_device[torch.from_numpy(rows).to(self.target, non_blocking=True)]

    def evaluated(self, batches: Iterable[Rows]) -> Iterator[Batch]:
        """Deliver batches of images as they are evaluated, and read the next ones ahead."""
        delivered, read = itertools.tee(batches) if not isinstance(batches, list) else (batches, batches)
        for rows, pixels in zip(delivered, self._views.batches(read, self._pins), strict=False):
            yield self._deliver(pixels, rows)

    def augmented(self, batches: Iterable[TrainingRows], recipe: Recipe, seed: int) -> Iterator[Batch]:
        """Deliver the rows of this process in batches for training, and read the next ones ahead."""
        view = TrainingView.of(recipe, self.shape.height, seed, whole=self.reader.pictures.whole)
        steps, read = itertools.tee(batches)
        if view.changes_colours_or_scale:
            requests = (Request(batch.rows[batch.own], batch.epoch) for batch in read)
            pixels = self.reader.batches(requests, training=view, pin=self._pins)
        else:
            pixels = self._views.batches((batch.rows[batch.own] for batch in read), self._pins)
        black = self.normalisation.black(self.shape.channels)
        for batch, part in zip(steps, pixels, strict=False):
            images, labels = self._deliver(part, batch.rows[batch.own])
            if view.changes_colours_or_scale:
                images = shift_own_images(images, batch, recipe, seed)
            else:
                images = move_images(images, batch, recipe, seed, black)
            images = cover_rectangles(images, batch, recipe, seed)
            yield images.contiguous(memory_format=torch.channels_last), labels

    @property
    def _pins(self) -> bool:
        return self.target.type == "cuda"
