import numpy as np
import pytest
import torch

from nascli.supernet.data.batches import training_batches
from nascli.supernet.data.images import load_images
from nascli.supernet.data.options import DataOptions
from nascli.supernet.data.splits import PixelNormalisation
from nascli.supernet.training.recipe import Recipe


@pytest.fixture(scope="module")
def images():
    return load_images("digits", 8)


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(epochs=1, batch=32, shift=2),
        Recipe(epochs=1, batch=32, pad=2, flip=True, cutout=4),
        Recipe(epochs=1, batch=32, crop=0.3, flip=True, erasing=0.5, shift=1),
        Recipe(epochs=1, batch=32, jitter=0.4, policy="autoaugment", pad=1),
    ],
)
def test_images_in_memory_are_augmented_by_every_recipe(images, recipe):
    def batches(start, stop=4):
        return list(training_batches(images.train, recipe, seed=1, start=start, stop=stop))

    plain = list(training_batches(images.train, Recipe(epochs=1, batch=32), seed=1, start=0, stop=4))
    whole = batches(0)
    for (x, y), (original, labels) in zip(whole, plain, strict=True):
        assert x.shape == original.shape and x.dtype == torch.float32 and torch.equal(y, labels)
        assert not torch.equal(x, original) and bool(x.isfinite().all())
        assert x.is_contiguous(memory_format=torch.channels_last)
    for (x, _), (again, _) in zip(whole[2:], batches(2), strict=True):
        assert torch.equal(x, again)


def test_bytes_come_back_up_to_rounding(images):
    normalisation = images.train.normalisation
    x = images.train.images[:20]
    pixels = normalisation.to_bytes(x)
    assert pixels.dtype == torch.uint8 and int(pixels.max()) == 255
    step = float(normalisation.peak / 255 / normalisation.deviation)
    assert float((normalisation.from_bytes(pixels) - x).abs().max()) <= step / 2 + 1e-5


def test_black_is_what_a_black_pixel_becomes():
    normalisation = PixelNormalisation(
        torch.tensor([10.0, 20.0]).view(1, 2, 1, 1), torch.tensor([2.0, 4.0]).view(1, 2, 1, 1)
    )
    black = normalisation.apply(torch.zeros(1, 2, 1, 1, dtype=torch.uint8))
    assert torch.equal(normalisation.black(2), black)
    assert normalisation.by_white(2).mean == pytest.approx((10 / 255, 20 / 255))


def test_parts_of_a_split(images):
    split = images.validation
    rows = np.array([4, 0, 2])
    x, y = split.take(rows)
    assert torch.equal(x, split.images[rows]) and torch.equal(y, split.labels[rows])
    part = split.subset(rows)
    assert torch.equal(part.images, x) and part.digest != split.digest == split.to("cpu").digest
    both = part.joined(split)
    assert len(both) == 3 + len(split) and torch.equal(both.images[3:], split.images)
    assert split.shape == images.shape == (1, 8, 8) and split.device == torch.device("cpu")


def test_validation_of_images_in_memory(images):
    same = load_images("digits", 8, options=DataOptions(workers=4, cache=False))
    assert same.digest == images.digest
    half = load_images("digits", 8, options=DataOptions(validation=0.5))
    # The test part stays; the other 1,437 images are halved, class by class.
    assert torch.equal(half.test.images.sign(), images.test.images.sign())
    assert abs(len(half.train) - len(half.validation)) <= 10
    number = load_images("digits", 8, options=DataOptions(validation=200))
    assert number.validation.labels.bincount().tolist() == [20] * 10
