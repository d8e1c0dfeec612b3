import pytest
import torch
from torch import nn
from trainings import supernet_trainer

from nascli.progress import Silent
from nascli.supernet.data.images import load_images
from nascli.supernet.training.recipe import Recipe
from nascli.supernet.training.weight_average import WeightAverage


def test_the_average_by_hand():
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, 0.0)
    average = WeightAverage(module, 0.5)
    nn.init.constant_(module.weight, 1.0)
    # The decay of step s is (1 + s) / (10 + s) until it reaches the given one.
    average.update(0)
    assert float(average.tensors()["weight"]) == pytest.approx(0.9)
    average.update(98)
    assert float(average.tensors()["weight"]) == pytest.approx(0.95)
    with average.applied() as averaged:
        assert float(averaged.weight.detach()) == pytest.approx(0.95)
    assert float(module.weight.detach()) == 1.0
    average.apply()
    assert float(module.weight.detach()) == pytest.approx(0.95)
    average.load({"weight": torch.tensor([[7.0]])})
    assert float(average.tensors()["weight"]) == 7.0


def test_without_a_decay_nothing_is_kept():
    module = nn.Linear(1, 1)
    before = module.weight.detach().clone()
    average = WeightAverage(module, 0.0)
    average.update(0)
    average.apply()
    assert average.tensors() == {} and torch.equal(module.weight, before)


def test_the_average_follows_the_weights(tiny):
    run = supernet_trainer(tiny, load_images("digits", 8), Recipe(epochs=1, batch=64, ema=0.5))
    run.run(None, "x", Silent(), "t", until=3)
    raw = {k: v.clone() for k, v in run.module.state_dict().items()}
    run.use_average()
    moved = [
        k for k, v in run.module.state_dict().items() if v.is_floating_point() and not torch.equal(v, raw[k])
    ]
    assert moved
