"""Reading and augmenting images: nascli's batches compared with a plain loop of torchvision."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks._report import Target, spread
from nascli.progress import Silent
from nascli.supernet.data.batches import training_batches
from nascli.supernet.data.cache import CachedPictures, cached
from nascli.supernet.data.opened import estimate_statistics
from nascli.supernet.data.pictures import Pictures
from nascli.supernet.data.reader import BadImages, ImageReader, decode_all
from nascli.supernet.data.sources.folder import open_folder
from nascli.supernet.data.streamed import StreamedSplit
from nascli.supernet.training.recipe import Recipe

NOTES = """
Data: JPEG files of 500x375 pixels at quality 90 in ten class folders, with smooth random content; ImageNet's full
recipe (random resized crop of 8 to 100 % to 224 pixels, flip, colour jitter of 0.4, normalisation); one worker process
and batches of 64. nascli's `training_batches`, streamed from the files and out of its cache of decoded images, compared
with torchvision's ImageFolder, its transforms v2 on Pillow's images, and a DataLoader. One epoch each in turn, after
one that does not count; the start of the worker is part of it. Memory: what the worker process holds at the end of an
epoch, pages that it shares with others by halves (PSS of /proc/PID/smaps_rollup), without the pages of the cache's file;
and all that is resident (RSS). Both loops run in processes of their own.
"""
SIZE, BATCH = 224, 64
NORMALISATION = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
Epoch = Callable[[], Iterator[Any]]


def write_photographs(folder: Path, count: int, classes: int = 10, size: tuple[int, int] = (500, 375)) -> int:
    """Write JPEG files that are as large as photographs; return their mean size in bytes.

    Each one is a random part of one large picture, with random contrast and order of its channels. Noise of several
    scales makes up the picture, so that the spectrum falls with the frequency as that of photographs does.
    """
    rng = np.random.default_rng(0)
    width, height = size
    side = 4 * width
    picture = np.zeros((side, side, 3), np.float32)
    for cells, deviation in ((12, 60), (32, 40), (96, 25), (300, 16), (640, 11), (side, 8)):
        for channel in range(3):
            coarse = Image.fromarray(rng.normal(0, deviation, (cells, cells)).astype(np.float32))
            picture[..., channel] += np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))
    total = 0
    for number in range(count):
        top, left = rng.integers(0, [side - height, side - width])
        part = picture[top : top + height, left : left + width, rng.permutation(3)]
        pixels = (128 + part * rng.uniform(0.6, 1.2)).clip(0, 255).astype(np.uint8)
        path = folder / f"class{number % classes:04}" / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, quality=90)
        total += path.stat().st_size
    return total // count


def plain_loop(folder: Path) -> Epoch:
    """The loop as one writes it with torchvision."""
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    transform = v2.Compose(
        [
            v2.RandomResizedCrop(SIZE),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(0.4, 0.4, 0.4),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(*NORMALISATION),
        ]
    )
    dataset = ImageFolder(str(folder), transform)
    return lambda: iter(
        torch.utils.data.DataLoader(dataset, batch_size=BATCH, shuffle=True, num_workers=1, drop_last=True)
    )


def our_loop(folder: Path, cache: bool) -> Epoch:
    """nascli's batches of the same images, with one worker."""
    pictures: Pictures = open_folder(str(folder)).train
    if cache:
        pictures = cached(pictures, "images", Silent(), lambda all_of: decode_all(all_of, 2, False))
        assert isinstance(pictures, CachedPictures), "the decoded images do not fit"
    reader = ImageReader(pictures, np.arange(len(pictures)), SIZE, 1, False, BadImages(print))
    split = StreamedSplit.of(reader, estimate_statistics(reader))
    recipe = Recipe(epochs=1000, batch=BATCH, crop=0.08, flip=True, jitter=0.4)
    steps = len(pictures) // BATCH
    epochs = iter(range(1000))

    def epoch() -> Iterator[Any]:
        number = next(epochs)
        return training_batches(split, recipe, seed=0, start=number * steps, stop=(number + 1) * steps)

    return epoch


LOOPS: dict[str, Callable[[Path], Epoch]] = {
    "plain": plain_loop,
    "streamed": lambda folder: our_loop(folder, cache=False),
    "cached": lambda folder: our_loop(folder, cache=True),
}


def workers_memory() -> tuple[float, float]:
    """PSS without mapped files, and RSS, of the largest child process, in MB."""
    found = [(0.0, 0.0)]
    for child in multiprocessing.active_children():
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{child.pid}/smaps_rollup").read_text().splitlines()[1:]
            sizes = {line.split(":")[0]: float(line.split()[1]) / 1e3 for line in lines}
            found.append((sizes["Pss_Anon"] + sizes["Pss_Shmem"], sizes["Rss"]))
    return max(found)


def serve_epochs(name: str, folder: Path, pipe: Any) -> None:
    """Run an epoch whenever asked, in a process of its own: report images, seconds, and memory of the worker."""
    torch.set_num_threads(1)
    epoch = LOOPS[name](folder)
    pipe.send("ready")
    while pipe.recv():
        gc.collect()
        images, memory = 0, (0.0, 0.0)
        start = time.perf_counter()
        for batch, _ in epoch():
            images += len(batch)
            # Looked at while the worker is busy; it ends with the last batch.
            if images % (8 * BATCH) == 2 * BATCH:
                memory = max(memory, workers_memory())
        pipe.send((images, time.perf_counter() - start, *memory))


def measure(
    folder: Path, turns: int, quick: bool = False
) -> dict[str, list[tuple[int, float, float, float]]]:
    """Epochs of all loops in turn."""
    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Any] = {}
    processes: list[Any] = []
    for name in LOOPS:
        pipes[name], theirs = context.Pipe()
        start = threading.Thread if quick else context.Process
        processes.append(start(target=serve_epochs, args=(name, folder, theirs)))
        processes[-1].start()
        if not quick:
            # Without it, a process that dies would not be noticed.
            theirs.close()
        pipes[name].recv()
    found: dict[str, list[tuple[int, float, float, float]]] = {name: [] for name in LOOPS}
    for turn in range(turns + 1):
        for name, pipe in pipes.items():
            pipe.send(True)
            result = pipe.recv()
            if turn:
                found[name].append(result)
    for pipe in pipes.values():
        pipe.send(False)
    for process in processes:
        process.join()
    return found


def run(quick: bool) -> tuple[list[list[str]], list[Target]]:
    """Rows and targets of this part."""
    count, turns = (192, 1) if quick else (2000, 7)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "photographs"
        size = write_photographs(folder, count)
        before = os.environ.get("NASCLI_HOME")
        os.environ["NASCLI_HOME"] = str(Path(temporary) / "home")
        try:
            found = measure(folder, turns, quick)
        finally:
            if before is None:
                del os.environ["NASCLI_HOME"]
            else:
                os.environ["NASCLI_HOME"] = before
    speeds = {name: [images / seconds for images, seconds, _, _ in rows] for name, rows in found.items()}
    memory = {name: max(row[2] for row in rows) for name, rows in found.items()}
    resident = {name: max(row[3] for row in rows) for name, rows in found.items()}
    rows = [["JPEG files", f"{count:,}", f"{size / 1e3:.0f} kB each"]]
    targets = []
    titles = {"streamed": "streamed", "cached": "out of the cache"}
    for name, title in titles.items():
        ratios = [a / b for a, b in zip(speeds[name], speeds["plain"], strict=True)]
        ratio = statistics.median(speeds[name]) / statistics.median(speeds["plain"])
        rows.append([f"images a second of one worker, {title} / plain loop", f"{ratio:.3g} [{min(ratios):.3g}, {max(ratios):.3g}]", f"{spread(speeds[name])} against {spread(speeds['plain'])}"])  # fmt: skip
        targets.append(Target(f"images a second of one worker, {title} / plain loop", ratio, 1.0, True))
    for name, title in titles.items():
        ratio = memory[name] / memory["plain"]
        rows.append([f"memory of the worker, {title} / plain loop", f"{ratio:.3g}", f"PSS {memory[name]:.0f} against {memory['plain']:.0f} MB, RSS {resident[name]:.0f} against {resident['plain']:.0f} MB"])  # fmt: skip
        targets.append(Target(f"memory of the worker, {title} / plain loop", ratio, 1.2, False))
    return rows, targets
