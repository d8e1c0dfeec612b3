import sys

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from nascli.errors import RuntimeUnavailableError
from nascli.supernet.data.splits import MemorySplit
from nascli.supernet.training.epochs import EpochLog

# Two images of two pixels, whose brighter pixel is their class.
VALIDATION = MemorySplit(torch.tensor([[1.0, 0.0], [0.0, 1.0]]).view(2, 1, 1, 2), torch.tensor([0, 1]))


class Pixels(nn.Module):
    """A network of one factor: right if it is positive."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(1.0))

    def forward(self, x):
        return x.flatten(1) * self.factor


def test_the_best_weights_are_kept(tmp_path):
    log, network = EpochLog(VALIDATION, tmp_path, tensorboard=False), Pixels().train()
    assert log.best == -1.0
    for factor in (-1.0, 2.0, 3.0, -4.0):
        nn.init.constant_(network.factor, factor)
        log.record_epoch(network, rate=0.1, loss=1.0)
    assert log.history == [0.0, 1.0, 1.0, 0.0] and log.best == 1.0 and network.training
    assert float(load_file(tmp_path / "best.safetensors")["factor"]) == 2.0
    again = EpochLog(VALIDATION, tmp_path, tensorboard=False)
    again.load(log.state())
    assert again.history == log.history


def test_tensorboard_that_is_not_installed_is_named_before_the_training(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(RuntimeUnavailableError, match="tensorboard"):
        EpochLog(VALIDATION, tmp_path, tensorboard=True)
