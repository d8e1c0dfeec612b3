import numpy as np
import pytest
import torch
from torch.nn import functional as F

from nascli.random_streams import RandomStream, generator
from nascli.supernet.training.loss import BatchLoss, cutmix_box
from nascli.supernet.training.recipe import Recipe

RNG = np.random.default_rng(0)
IMAGES = torch.from_numpy(RNG.standard_normal((6, 2, 8, 10)).astype(np.float32))
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def recipe(**changes):
    return Recipe(1, batch=6, **{"label_smoothing": 0.0, **changes})


def linear(images):
    """A network whose logits are means of parts of an image."""
    return images.mean(1)[:, :, :3].mean(1)


def test_without_mixing_it_is_the_cross_entropy_with_smoothed_labels():
    loss = BatchLoss(recipe(label_smoothing=0.3), 0)(linear, IMAGES, LABELS, 0)
    log = F.log_softmax(linear(IMAGES), dim=1)
    # Of three classes, 0.3 / 3 of the target is on each, and 0.7 more on the label.
    target = torch.full((6, 3), 0.1) + 0.7 * F.one_hot(LABELS, 3)
    assert torch.allclose(loss, -(target * log).sum(1).mean())


def test_mixup_draws_a_share_and_then_partners():
    loss = BatchLoss(recipe(mixup=0.4), 5)(linear, IMAGES, LABELS, 17, 2)
    rng = generator(5, RandomStream.MIXUP, 17, 2)
    share, partner = float(rng.beta(0.4, 0.4)), torch.from_numpy(rng.permutation(6))
    logits = linear(share * IMAGES + (1 - share) * IMAGES[partner])
    target = share * F.one_hot(LABELS, 3) + (1 - share) * F.one_hot(LABELS[partner], 3)
    assert torch.allclose(loss, -(target * F.log_softmax(logits, dim=1)).sum(1).mean())


def test_cutmix_replaces_a_box_and_counts_its_area():
    for step in range(20):
        batch = BatchLoss(recipe(cutmix=1.0), 5).mix(IMAGES, LABELS, step)
        partner = torch.from_numpy(_partner(step))
        assert torch.equal(batch.labels, LABELS) and torch.equal(batch.partners, LABELS[partner])
        own, other = batch.images == IMAGES, batch.images == IMAGES[partner]
        assert (own | other).all()
        moved = partner != torch.arange(6)
        kept = own[moved].double().mean() if moved.any() else 1.0
        assert kept == pytest.approx(batch.share, abs=1e-6)
        # One box, at the same place in every image and channel.
        place = ~own[moved].flatten(0, 1).all(0)
        rows, columns = place.any(1).nonzero().flatten(), place.any(0).nonzero().flatten()
        assert place.sum() == len(rows) * len(columns)


def _partner(step):
    rng = generator(5, RandomStream.MIXUP, step, 0)
    rng.beta(1.0, 1.0)
    return rng.permutation(6)


class Centre:
    """A generator whose integers are given."""

    def __init__(self, *values):
        self.values = list(values)

    def integers(self, end):
        value = self.values.pop(0)
        assert 0 <= value < end
        return value


@pytest.mark.parametrize(
    ("share", "centre", "rows", "columns", "kept"),
    [
        # The root of 1 - 0.75 is one half: 4 of 8 rows and 5 of 10 columns, of which the code of the paper takes 4.
        (0.75, (4, 5), (2, 6), (3, 7), 1 - 16 / 80),
        (0.75, (0, 9), (0, 2), (7, 10), 1 - 6 / 80),
        (1.0, (4, 5), (4, 4), (5, 5), 1.0),
        (0.0, (4, 5), (0, 8), (0, 10), 0.0),
    ],
)
def test_the_box_of_cutmix(share, centre, rows, columns, kept):
    row, column, area = cutmix_box(8, 10, share, Centre(*centre))
    assert (row.start, row.stop) == rows and (column.start, column.stop) == columns
    assert area == pytest.approx(kept)


def test_of_mixup_and_cutmix_each_batch_gets_one():
    both = BatchLoss(recipe(mixup=1.0, cutmix=1.0), 3)
    batches = [both.mix(IMAGES, LABELS, step).images for step in range(40)]
    # A patch only moves pixels; mixup gives values that were not there.
    patched = sum(bool(torch.isin(images, IMAGES).all()) for images in batches)
    assert 8 < patched < 32
    assert torch.equal(both.mix(IMAGES, LABELS, 7).images, batches[7])


def test_mixed_images_keep_their_layout():
    images = IMAGES.contiguous(memory_format=torch.channels_last)
    batch = BatchLoss(recipe(cutmix=1.0), 0).mix(images, LABELS, 0)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
