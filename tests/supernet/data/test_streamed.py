"""Streamed images: whatever the workers, ranks, caches, and steps at which a training resumes, they are the same."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from image_files import write_images

from nascli.errors import DataError
from nascli.random_streams import RandomStream
from nascli.supernet.data import streamed
from nascli.supernet.data.batches import EndlessBatches, evaluation_batches, training_batches
from nascli.supernet.data.images import load_images
from nascli.supernet.data.options import DataOptions
from nascli.supernet.data.sources.folder import FilePictures
from nascli.supernet.data.views import EvaluationView
from nascli.supernet.training import distributed
from nascli.supernet.training.recipe import Recipe

PLAIN = DataOptions(workers=0, cache=False)
RECIPES = {
    "as they are": Recipe(epochs=2, batch=4),
    "moved": Recipe(epochs=2, batch=4, shift=1, pad=2, flip=True, cutout=4, erasing=0.5),
    "imagenet": Recipe(
        epochs=2, batch=4, crop=0.08, flip=True, jitter=0.4, policy="randaugment", erasing=0.3, shift=1
    ),
}


@pytest.fixture
def folder(tmp_path):
    write_images(tmp_path / "images")
    return f"folder:{tmp_path / 'images'}"


def train(images, recipe, start=0, stop=6):
    return list(training_batches(images.train, recipe, seed=3, start=start, stop=stop))


def same(first, second):
    return len(first) == len(second) and all(
        torch.equal(a, b) and torch.equal(x, y) for (a, x), (b, y) in zip(first, second, strict=True)
    )


def test_parts_are_balanced_and_the_same_for_everybody(folder):
    images = load_images(folder, 16, options=PLAIN)
    parts = (images.train, images.validation, images.test)
    # Of 12 images of each class 2.4 are for the test, 5 together; of the other 9 and 10 a quarter for the validation.
    assert [torch.bincount(part.labels).tolist() for part in parts] == [[7, 7], [2, 3], [3, 2]]
    names = {part.reader.pictures.name(i) for part in parts for i in part.reader.rows.tolist()}
    assert len(names) == 24
    assert images.shape == (3, 16, 16) and images.classes == 2
    again = load_images(folder, 16, options=PLAIN)
    assert again.digest == images.digest != load_images(folder, 24, options=PLAIN).digest


@pytest.mark.parametrize("name", RECIPES)
def test_batches_do_not_depend_on_workers_or_cache(folder, name):
    recipe = RECIPES[name]
    plain = load_images(folder, 16, options=PLAIN)
    expected = train(plain, recipe)
    kept = load_images(folder, 16, options=DataOptions(workers=0))
    assert type(kept.train.reader.pictures).__name__ == "CachedPictures"
    assert same(train(kept, recipe), expected) and kept.digest == plain.digest
    working = load_images(folder, 16, options=DataOptions(workers=2, cache=False))
    assert same(train(working, recipe), expected)
    for images in (kept, working):
        assert same(list(evaluation_batches(images.test)), list(evaluation_batches(plain.test)))
    assert expected[0][0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", RECIPES)
def test_a_training_that_resumes_sees_the_same_batches(folder, name):
    images = load_images(folder, 16, options=PLAIN)
    expected = train(images, RECIPES[name])
    again = load_images(folder, 16, options=PLAIN)
    for start in (1, 3, 5):
        assert same(train(again, RECIPES[name], start), expected[start:])
    assert not same(expected[:3], expected[3:])


@pytest.mark.parametrize("name", RECIPES)
def test_ranks_share_what_one_process_sees(folder, name, monkeypatch):
    expected = train(load_images(folder, 16, options=PLAIN), RECIPES[name])
    real = FilePictures.read
    for rank in range(2):
        monkeypatch.setattr(
            distributed, "rows_of_this_process", lambda batch, rank=rank: slice(rank, batch, 2)
        )
        images = load_images(folder, 16, options=PLAIN)
        read = []
        monkeypatch.setattr(FilePictures, "read", lambda self, i, read=read: read.append(i) or real(self, i))
        own = train(images, RECIPES[name], stop=3)
        monkeypatch.setattr(FilePictures, "read", real)
        assert same(own, [(x[rank::2], y[rank::2]) for x, y in expected[:3]])
        # Each reads only its share.
        assert len(read) == 6


def test_the_evaluation_view_is_normalised_by_the_training_part(folder):
    images = load_images(folder, 16, options=PLAIN)
    reader = images.train.reader
    views = torch.stack([EvaluationView(16)(reader.pictures.read(i)) for i in reader.rows.tolist()]).double()
    mean, deviation = views.mean((0, 2, 3)), views.std((0, 2, 3), correction=0)
    x, labels = images.train.take(np.array([2, 0]))
    expected = (views[[2, 0]] - mean.view(1, 3, 1, 1)) / deviation.view(1, 3, 1, 1)
    assert torch.allclose(x.double(), expected, atol=1e-5)
    assert labels.tolist() == images.train.labels[[2, 0]].tolist()
    assert images.normalisation.mean == pytest.approx((mean / 255).tolist())


def test_evaluation_views_are_read_once(folder, monkeypatch):
    images = load_images(folder, 16, options=PLAIN)
    first = list(evaluation_batches(images.validation))
    monkeypatch.setattr(FilePictures, "read", lambda self, i: pytest.fail("read again"))
    assert same(list(evaluation_batches(images.validation)), first)
    moved = images.to("cpu")
    assert same(list(evaluation_batches(moved.validation)), first)


def test_evaluation_without_room_for_the_views(folder, monkeypatch):
    expected = list(evaluation_batches(load_images(folder, 16, options=PLAIN).train))
    monkeypatch.setattr(streamed, "_KEPT_BYTES", 0)
    images = load_images(folder, 16, options=PLAIN)
    for _ in range(2):
        assert same(list(evaluation_batches(images.train)), expected)
    assert same(
        train(images, RECIPES["moved"]), train(load_images(folder, 16, options=PLAIN), RECIPES["moved"])
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_endless_batches_can_start_anywhere(folder, workers):
    split = load_images(folder, 16, options=DataOptions(workers=workers)).validation
    given = {"seed": 1, "stream": RandomStream.DATA_ORDER}
    together = EndlessBatches(split, 2, **given)
    expected = [together.at(i) for i in range(7)]
    assert same([EndlessBatches(split, 2, **given).at(i) for i in (5, 2)], [expected[5], expected[2]])
    # Out of order, and in order again.
    assert same([together.at(i) for i in (3, 4, 0)], [expected[3], expected[4], expected[0]])


def test_endless_batches_are_shared_out_where_asked(folder, monkeypatch):
    split = load_images(folder, 16, options=PLAIN).validation
    given = {"seed": 1, "stream": RandomStream.DATA_ORDER}
    x, y = EndlessBatches(split, 4, **given).at(0)
    monkeypatch.setattr(distributed, "rows_of_this_process", lambda batch: slice(1, batch, 2))
    own_x, own_y = EndlessBatches(split, 4, share=True, **given).at(0)
    assert torch.equal(own_x, x[1::2]) and torch.equal(own_y, y[1::2])
    assert len(EndlessBatches(split, 4, **given).at(0)[1]) == 4


def test_everything_has_the_training_and_the_validation_part(folder):
    images = load_images(folder, 16, options=PLAIN)
    both = images.everything
    assert len(both) == len(images.train) + len(images.validation)
    assert torch.equal(both.labels, torch.cat([images.train.labels, images.validation.labels]))
    last = len(both) - 1
    assert torch.equal(
        both.take(np.array([last]))[0], images.validation.take(np.array([len(images.validation) - 1]))[0]
    )
    final = images.trained_on("all")
    assert final.digest != images.digest and images.trained_on("train") is images
    assert (
        len(
            list(
                itertools.islice(
                    training_batches(final.train, RECIPES["imagenet"], seed=0, start=0, stop=4), 9
                )
            )
        )
        == 4
    )
    with pytest.raises(DataError, match="train or all, not 'test'"):
        images.trained_on("test")


def test_parts_of_different_sources_are_joined(tmp_path):
    write_images(tmp_path / "train", images=8)
    write_images(tmp_path / "val", images=3, seed=1)
    images = load_images(f"folder:{tmp_path}", 16, options=PLAIN)
    assert len(images.test) == 6
    both = images.train.joined(images.test)
    x, y = both.take(np.arange(len(both)))
    assert torch.equal(x[len(images.train) :], images.test.take(np.arange(6))[0])
    assert y.tolist() == both.labels.tolist()


def test_a_split_delivers_what_a_part_of_it_delivers(folder):
    split = load_images(folder, 16, options=PLAIN).train
    rows = np.array([3, 1, 2])
    part = split.subset(rows)
    assert torch.equal(part.take(np.arange(3))[0], split.take(rows)[0])
    assert part.digest != split.digest == dataclasses.replace(split).digest
