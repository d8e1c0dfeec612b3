import numpy as np
import pytest
import torch

from nascli.random_streams import RandomStream
from nascli.supernet.data.augmentation import shift_images
from nascli.supernet.data.batches import EVALUATION_BATCH, EndlessBatches, evaluation_batches
from nascli.supernet.data.images import load_images
from nascli.supernet.data.splits import MemorySplit


@pytest.fixture(scope="module")
def images():
    return load_images("digits", 8)


def test_shifting_moves_and_repeats_the_border(images):
    batch = images.train.images[:50]
    assert torch.equal(shift_images(batch, np.random.default_rng(0), 0), batch)
    moved = shift_images(batch, np.random.default_rng(0), 1)
    assert moved.shape == batch.shape
    down, right = np.random.default_rng(0).integers(0, 3, (2, 50))
    still = int(np.flatnonzero((down == 1) & (right == 1))[0])
    assert torch.equal(moved[still], batch[still])
    lower = int(np.flatnonzero((down == 2) & (right == 1))[0])
    assert torch.equal(moved[lower, :, :-1], batch[lower, :, 1:])


def numbered(n):
    """Images that show their own number."""
    return MemorySplit(torch.arange(float(n)).view(n, 1, 1, 1), torch.arange(n))


def test_an_endless_pass_shows_every_image_once_per_epoch():
    split = numbered(10)
    given = {"seed": 1, "stream": RandomStream.DATA_ORDER}
    batches = [EndlessBatches(split, 5, **given).at(index) for index in range(4)]
    for images, labels in batches:
        assert images.flatten().tolist() == labels.tolist()
    epochs = [torch.cat([labels for _, labels in batches[i : i + 2]]).tolist() for i in (0, 2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(10)) and epochs[0] != epochs[1]
    again = EndlessBatches(split, 5, **given).at(3)[1]
    assert torch.equal(again, batches[3][1])
    assert not torch.equal(again, EndlessBatches(split, 5, indices=(2,), **given).at(3)[1])
    # A split smaller than a batch is one.
    assert sorted(EndlessBatches(split, 64, **given).at(7)[1].tolist()) == list(range(10))


def test_evaluation_goes_through_the_images_in_order():
    split = numbered(EVALUATION_BATCH + 3)
    sizes = [len(labels) for _, labels in evaluation_batches(split)]
    assert sizes == [EVALUATION_BATCH, 3]
    assert torch.cat([labels for _, labels in evaluation_batches(split)]).tolist() == list(range(len(split)))
    assert [len(labels) for _, labels in evaluation_batches(split, 7)] == [7]
    assert sum(len(labels) for _, labels in evaluation_batches(split, 10_000)) == len(split)
