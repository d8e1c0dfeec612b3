import numpy as np
import pytest
import torch

from nascli.supernet.data.augmentation import cover_rectangles, move_images, shift_images, shift_own_images
from nascli.supernet.data.rows import TrainingRows
from nascli.supernet.training.recipe import Recipe

RECIPE = Recipe(epochs=1, batch=8)
BLACK = torch.full((1, 1, 1, 1), -1.0)


def rows(numbers, own=slice(None), epoch=0, step=0):
    return TrainingRows(step, epoch, np.array(numbers), own)


def numbered(n, size=6):
    """Images whose pixels all differ."""
    return torch.arange(float(n * size * size)).view(n, 1, size, size)


def recipe(**fields):
    return Recipe(epochs=1, batch=8, **fields)


@pytest.mark.parametrize(
    "fields", [{"pad": 2}, {"flip": True}, {"flip_vertical": True}, {"pad": 1, "flip": True}]
)
def test_an_image_is_moved_alike_in_whatever_batch_it_is(fields):
    images, given = numbered(8), recipe(**fields)
    together = move_images(images, rows(range(8)), given, 3, BLACK)
    assert not torch.equal(together, images)
    for chosen in ([5, 2], [7]):
        alone = move_images(images[chosen], rows(chosen), given, 3, BLACK)
        assert torch.equal(alone, together[chosen])
    half = move_images(images[1::2], rows(range(8), slice(1, 8, 2)), given, 3, BLACK)
    assert torch.equal(half, together[1::2])
    assert not torch.equal(move_images(images, rows(range(8), epoch=1), given, 3, BLACK), together)
    assert not torch.equal(move_images(images, rows(range(8)), given, 4, BLACK), together)


@pytest.mark.parametrize(("field", "axis"), [("flip", 3), ("flip_vertical", 2)])
def test_half_of_the_images_are_mirrored(field, axis):
    images = numbered(400, 2)
    moved = move_images(images, rows(range(400)), recipe(**{field: True}), 0, BLACK)
    mirrored = (moved == images.flip(axis)).all((1, 2, 3))
    assert 160 < int(mirrored.sum()) < 240
    assert torch.equal(moved[~mirrored], images[~mirrored])


def test_images_are_mirrored_in_both_directions_independently():
    images = numbered(400, 2)
    moved = move_images(images, rows(range(400)), recipe(flip=True, flip_vertical=True), 0, BLACK)
    for axes in ((), (2,), (3,), (2, 3)):
        expected = images.flip(axes) if axes else images
        assert 60 < int((moved == expected).all((1, 2, 3)).sum()) < 140


def test_a_padded_crop_is_a_window_of_the_image_with_a_black_border():
    images = numbered(50, 4)
    moved = move_images(images, rows(range(50)), recipe(pad=1), 0, BLACK)
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1), value=-1.0)
    windows = {(y, x): padded[:, :, y : y + 4, x : x + 4] for y in range(3) for x in range(3)}
    seen = set()
    for i in range(50):
        places = {place for place, window in windows.items() if torch.equal(window[i], moved[i])}
        assert len(places) == 1
        seen |= places
    assert len(seen) == 9


def test_shifts_of_the_own_rows_are_those_of_the_whole_batch():
    from nascli.random_streams import RandomStream, generator

    images = numbered(8)
    whole = shift_images(images, generator(5, RandomStream.AUGMENTATION, 7), 2)
    own = shift_own_images(images[1::3], rows(range(8), slice(1, 8, 3), step=7), recipe(shift=2), 5)
    assert torch.equal(own, whole[1::3])
    assert shift_own_images(images, rows(range(8)), RECIPE, 5) is images


def test_cutout_covers_a_square_around_its_centre():
    images = torch.ones(200, 1, 8, 8)
    covered = cover_rectangles(images, rows(range(200)), recipe(cutout=4), 0)
    areas = set()
    for image in covered[:, 0]:
        y, x = torch.nonzero(image == 0, as_tuple=True)
        height, width = int(y.max() - y.min()) + 1, int(x.max() - x.min()) + 1
        # A rectangle without holes, cut at the border; the centre is always inside.
        assert len(y) == height * width and 2 <= height <= 4 and 2 <= width <= 4
        areas.add((height, width))
    assert (4, 4) in areas and (2, 2) in areas
    assert torch.equal(images, torch.ones(200, 1, 8, 8))


def test_random_erasing_covers_some_images_by_2_to_33_percent():
    images = torch.ones(400, 1, 32, 32)
    covered = cover_rectangles(images, rows(range(400)), recipe(erasing=0.25), 0)
    shares = (covered == 0).float().mean((1, 2, 3))
    erased = shares[shares > 0]
    assert 70 < len(erased) < 130
    assert float(erased.min()) > 0.01 and float(erased.max()) < 0.36
    assert torch.equal(cover_rectangles(images, rows(range(400)), RECIPE, 0), images)
