import numpy as np
import pytest
import torch
from trainings import Killed

from nascli.costmodel import counted, parse_constraint
from nascli.errors import CheckpointError, ConstraintError
from nascli.progress import Silent
from nascli.spaces import make_space
from nascli.supernet.data.images import load_images
from nascli.supernet.training.one_shot import _random_paths, supernet_identity, train_shared_supernet
from nascli.supernet.training.recipe import Recipe

RECIPE = Recipe(epochs=1, batch=128)


@pytest.fixture(scope="module")
def images():
    return load_images("digits", 8)


def test_a_supernet_is_trained_once_and_shared(tiny, images, tmp_path, own_home, monkeypatch):
    monkeypatch.setattr("nascli.supernet.training.trainer._SAVE_EVERY_SECONDS", 0.0)

    def train(progress, **given):
        return train_shared_supernet(tiny, images, RECIPE, seed=0, progress=progress, **given)

    with pytest.raises(KeyboardInterrupt):
        train(Killed(3))
    file = own_home / "supernets" / f"{supernet_identity(tiny, images, RECIPE, 0)}.safetensors"
    with pytest.raises(CheckpointError, match=r"is at step 2 of 8"):
        train(Silent(), given=str(file))
    first = train(Silent())
    assert not first.reused and first.identity == file.stem
    # Nothing is trained again: the first step would interrupt it.
    for again in (train(Killed(1)), train(Killed(1), given=str(file))):
        assert again.reused and again.identity == first.identity
        weights = again.supernet.state_dict()
        assert all(torch.equal(value, weights[name]) for name, value in first.supernet.state_dict().items())
    with pytest.raises(CheckpointError, match="does not fit"):
        train_shared_supernet(
            make_space("proxyless-mini", resolution=8, width=0.5, depth=1), images, RECIPE,
            seed=0, progress=Silent(), given=str(file),
        )  # fmt: skip


def test_an_identity_is_of_all_that_the_weights_depend_on(tiny, images):
    within = parse_constraint("100k<=macs<=150k")
    identities = [
        supernet_identity(tiny, images, RECIPE, 0),
        supernet_identity(tiny, images, RECIPE, 1),
        supernet_identity(tiny, images, Recipe(epochs=2, batch=128), 0),
        supernet_identity(tiny, load_images("digits", 16), RECIPE, 0),
        supernet_identity(make_space("proxyless-mini", resolution=8, width=0.5, depth=1), images, RECIPE, 0),
        supernet_identity(tiny, images, RECIPE, 0, within),
    ]
    assert len(set(identities)) == len(identities)


def test_paths_follow_from_seed_and_step(tiny):
    path = _random_paths(tiny, 5, None)
    assert path(3) == _random_paths(tiny, 5, None)(3) != _random_paths(tiny, 6, None)(3)
    multi = make_space("nse-19-mini", resolution=8, width=0.1)
    drawn = _random_paths(multi, 0, None)(0)
    assert all(
        layer.min_branches <= int(choice).bit_count()
        for layer, choice in zip(multi.layers, drawn, strict=True)
    )


def test_paths_are_drawn_uniformly_over_bins_of_a_cost(tiny):
    macs = counted(tiny, "macs")
    low, high = macs.minimum, (macs.minimum + macs.maximum) / 2
    path = _random_paths(tiny, 0, parse_constraint(f"{low}<=macs<={high}"))
    costs = macs(np.array([path(step) for step in range(700)]))
    counts, _ = np.histogram(costs, bins=np.linspace(low, high, 8))
    assert counts.sum() == 700 and counts.min() > 60


@pytest.mark.parametrize("window", ["macs<=1M", "macs>=100k", "1ms<=latency<=8ms"])
def test_a_window_needs_both_ends_and_a_counted_cost(tiny, images, window):
    with pytest.raises(ConstraintError, match="within a window of a counted cost"):
        train_shared_supernet(
            tiny, images, RECIPE, seed=0, progress=Silent(), within=parse_constraint(window)
        )
