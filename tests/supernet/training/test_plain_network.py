import dataclasses

import pytest
import torch
from trainings import Killed

from nascli.errors import CheckpointError
from nascli.progress import Silent
from nascli.supernet.data.images import load_images
from nascli.supernet.evaluation.accuracy import wilson_interval
from nascli.supernet.training.epochs import EpochLog
from nascli.supernet.training.plain_network import train_network
from nascli.supernet.training.recipe import Recipe

RECIPE = Recipe(epochs=2, batch=128, ema=0.9)


@pytest.fixture(scope="module")
def images():
    return load_images("digits", 8)


def test_a_network_is_trained_once_and_then_loaded(tiny, images, tmp_path, monkeypatch):
    monkeypatch.setattr("nascli.supernet.training.trainer._SAVE_EVERY_SECONDS", 0.0)
    network = tiny.network([0, 0, 0, 0])

    def train(file, progress, recipe=RECIPE, log=None):
        return train_network(
            network, images, recipe, seed=0, file=tmp_path / file, progress=progress, title="t", log=log
        )

    whole = train("a", Silent())
    assert 0 < whole.top1 <= 1 and (whole.low, whole.high) == wilson_interval(whole.top1, len(images.test))
    assert not any(block.training for block in whole.blocks)
    # Nothing is trained again: the first step would interrupt it.
    again = train("a", Killed(1))
    with pytest.raises(KeyboardInterrupt):
        train("b", Killed(10))
    resumed = train("b", Silent())
    for other in (again, resumed):
        assert dataclasses.replace(other, blocks=[]) == dataclasses.replace(whole, blocks=[])
        for mine, theirs in zip(whole.blocks, other.blocks, strict=True):
            assert all(torch.equal(v, theirs.state_dict()[k]) for k, v in mine.state_dict().items())
    with pytest.raises(CheckpointError, match="belongs to another"):
        train("a", Silent(), dataclasses.replace(RECIPE, rate=0.2))


def test_every_epoch_is_recorded_with_averaged_weights(tiny, images, tmp_path):
    log = EpochLog(images.validation, tmp_path, tensorboard=False)
    trained = train_network(
        tiny.network([0, 0, 0, 0]), images, RECIPE,
        seed=0, file=tmp_path / "c", progress=Silent(), title="t", log=log,
    )  # fmt: skip
    assert len(log.history) == RECIPE.epochs and log.history[-1] == trained.validation_top1
