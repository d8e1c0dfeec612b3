"""Images that cannot be read, and workers that die."""

import os
import signal

import numpy as np
import pytest
import torch
from image_files import write_images

from nascli.errors import DataError
from nascli.progress import Silent
from nascli.supernet.data.batches import evaluation_batches, training_batches
from nascli.supernet.data.images import load_images
from nascli.supernet.data.options import DataOptions
from nascli.supernet.data.reader import worker_count
from nascli.supernet.data.sources.folder import FilePictures
from nascli.supernet.training.recipe import Recipe


class Messages(Silent):
    def __init__(self):
        self.texts = []

    def message(self, text, *remedies):
        self.texts.append(text)


@pytest.fixture
def paths(tmp_path):
    return write_images(tmp_path / "images", suffix=".jpg", sizes=((60, 80),))


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("damage", ["truncated", "text", "empty", "gone"])
def test_an_image_that_is_damaged_in_mid_epoch_is_named(paths, workers, damage):
    images = load_images(
        f"folder:{paths[0].parents[1]}", 16, options=DataOptions(workers=workers, cache=False)
    )
    bad = images.train.reader.pictures.path(int(images.train.reader.rows[5]))
    if damage == "gone":
        bad.unlink()
    elif damage == "truncated":
        cut(bad)
    else:
        bad.write_bytes(b"no image" if damage == "text" else b"")
    batches = training_batches(images.train, Recipe(epochs=1, batch=2, crop=0.5), seed=0, start=0, stop=7)
    with pytest.raises(DataError, match=f"cannot read the image .*{bad.name}") as caught:
        list(batches)
    assert caught.value.hint == "Remove or repair it."


@pytest.mark.parametrize(
    "options",
    [DataOptions(workers=0, cache=False), DataOptions(workers=2, cache=False), DataOptions(workers=0)],
)
def test_bad_images_are_replaced_only_if_asked_and_reported_once(paths, options):
    for path in (paths[3], paths[4], paths[20]):
        cut(path)
    spec = f"folder:{paths[0].parents[1]}"
    with pytest.raises(DataError, match="cannot read the image"):
        for part in ("train", "validation", "test"):
            list(evaluation_batches(getattr(load_images(spec, 16, options=options), part)))
    progress = Messages()
    skipping = DataOptions(workers=options.workers, cache=options.cache, skip_bad_images=True)
    images = load_images(spec, 16, options=skipping, progress=progress)
    seen = {}
    for _ in range(2):
        for part in (images.train, images.validation, images.test):
            x = torch.cat([x for x, _ in evaluation_batches(part)])
            for row, number in enumerate(part.reader.rows.tolist()):
                seen[number] = x[row]
    reported = [text for text in progress.texts if "It is replaced by" in text]
    assert len(reported) == 3 and reported[-1].endswith("(3 so far).")
    for path in (paths[3], paths[4], paths[20]):
        assert any(str(path) in text for text in reported)
    # Each is the picture of another image of its class.
    for number in (3, 4, 20):
        others = range(12) if number < 12 else range(12, 24)
        assert any(torch.equal(seen[number], seen[other]) for other in others if other != number)


def test_a_replacement_does_not_depend_on_who_reads(paths):
    cut(paths[3])
    spec = f"folder:{paths[0].parents[1]}"
    first, second = (
        load_images(spec, 16, options=DataOptions(workers=w, cache=c, skip_bad_images=True))
        for w, c in ((0, False), (2, True))
    )
    recipe = Recipe(epochs=1, batch=4, crop=0.3, flip=True)
    for (a, _), (b, _) in zip(
        *(training_batches(images.train, recipe, seed=1, start=0, stop=3) for images in (first, second)),
        strict=True,
    ):
        assert torch.equal(a, b)


def test_a_class_of_which_nothing_can_be_read(paths):
    for path in paths[:12]:
        path.write_bytes(b"")
    with pytest.raises(DataError, match="no image of the class of"):
        load_images(
            f"folder:{paths[0].parents[1]}",
            16,
            options=DataOptions(workers=0, cache=False, skip_bad_images=True),
        )


def test_a_worker_that_dies_is_told(paths, monkeypatch):
    images = load_images(f"folder:{paths[0].parents[1]}", 16, options=DataOptions(workers=2, cache=False))
    here = os.getpid()

    def die(self, index):
        assert os.getpid() != here
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(FilePictures, "read", die)
    with pytest.raises(DataError, match=r"one of 2 processes that read images died") as caught:
        list(training_batches(images.train, Recipe(epochs=1, batch=2, crop=0.5), seed=0, start=0, stop=4))
    assert "fewer workers" in caught.value.hint


def test_few_images_need_no_workers(monkeypatch):
    assert worker_count(None, 100) == 0 and worker_count(3, 100) == 3
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
    assert worker_count(None, 10_000) == 8
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "16")
    assert worker_count(None, 10_000) == 4
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    assert worker_count(None, 10_000) == 1


def test_no_batches_of_an_empty_list(paths):
    images = load_images(f"folder:{paths[0].parents[1]}", 16, options=DataOptions(workers=0, cache=False))
    assert list(images.train.evaluated([])) == []
    assert [len(y) for _, y in images.train.evaluated([np.array([1, 1, 0])])] == [3]
