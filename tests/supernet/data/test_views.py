import torch

from nascli.supernet.data.views import EvaluationView, TrainingView, image_seed
from nascli.supernet.training.recipe import Recipe


def image(height, width, seed=0):
    return torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(seed)).byte()


def test_the_evaluation_view_is_the_centre_of_a_slightly_larger_image():
    from torchvision.transforms.v2 import functional

    view = EvaluationView(28)
    given = image(60, 90)
    # 28 of 32, as 224 of 256; the other side keeps its ratio: 48.
    larger = functional.resize(given, [32, 48], antialias=True)
    assert torch.equal(view(given), larger[:, 2:30, 10:38])


def test_an_image_whose_subject_fills_it_is_seen_up_to_its_border():
    from torchvision.transforms.v2 import functional

    given = image(60, 90)
    seen = functional.resize(given[:, :, 15:75], [28, 28], antialias=True)
    assert torch.equal(EvaluationView(28, whole=True)(given), seen)
    assert torch.equal(TrainingView.of(Recipe(epochs=1), 28, 0, whole=True)(given, 0, 0), seen)


def test_an_image_that_is_not_larger_is_resized():
    given = image(8, 8)
    assert torch.equal(EvaluationView(8)(given), given)
    assert EvaluationView(16)(given).shape == (3, 16, 16)
    # The central square of a longer one.
    wide = torch.cat([image(8, 2, 1), given, image(8, 2, 2)], dim=2)
    assert torch.equal(EvaluationView(8)(wide), given)


def view(**fields):
    return TrainingView.of(Recipe(epochs=1, **fields), 16, seed=4)


def test_the_training_view_follows_from_seed_epoch_and_row():
    given = image(40, 30)
    full = view(crop=0.08, flip=True, jitter=0.4, policy="randaugment", pad=2)
    torch.manual_seed(7)
    first = full(given, 0, 5)
    drawn = torch.rand(1)
    torch.manual_seed(7)
    # torch's own generator goes on as if nothing had happened.
    assert torch.equal(torch.rand(1), drawn)
    assert first.shape == (3, 16, 16) and first.dtype == torch.uint8
    assert torch.equal(full(given, 0, 5), first)
    for other in ((1, 5), (0, 6)):
        assert not torch.equal(full(given, *other), first)
    assert len({image_seed(s, e, r) for s in range(3) for e in range(3) for r in range(3)}) == 27


def test_recipes_that_only_move_images_need_no_view_of_their_own():
    assert not view(shift=2, pad=4, flip=True, cutout=8, erasing=0.2).changes_colours_or_scale
    for fields in ({"crop": 0.2}, {"jitter": 0.4}, {"policy": "autoaugment"}):
        assert view(**fields).changes_colours_or_scale


def test_every_part_of_a_recipe_changes_the_view():
    given = image(40, 30)
    plain = EvaluationView(16)(given)
    for fields in (
        {"crop": 0.2},
        {"jitter": 0.4},
        {"policy": "autoaugment"},
        {"policy": "randaugment"},
        {"pad": 3},
        {"flip": True},
        {"flip_vertical": True},
    ):
        views = [view(**fields)(given, 0, row) for row in range(8)]
        assert any(not torch.equal(each, plain) for each in views), fields
    assert torch.equal(view()(given, 0, 0), plain)
