"""Normalisation over the images of two processes is that of one process with all of them."""

import pytest
import torch
from preloaded import SERVER
from ranks import case_of_normalisation, free_port, normalise
from torch import nn

from nascli.supernet.masked import _sliced_batch_norm
from nascli.supernet.training import distributed, synchronised_norm
from nascli.supernet.training.recipe import Recipe
from nascli.supernet.training.synchronised_norm import (
    SynchronisedBatchNorm,
    needs_synchronisation,
    synchronise_batch_norm,
    synchronised_where_needed,
)


def test_two_processes_normalise_as_one(tmp_path):
    port = free_port()
    ranks = [SERVER.Process(target=normalise, args=(tmp_path, rank, 2, port)) for rank in range(2)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(60)
        assert rank.exitcode == 0
    parts = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for name, affine, channels in (("affine", True, 4), ("plain", False, 4), ("sliced", True, 3)):
        norm, x, target = case_of_normalisation(affine, channels)
        x.requires_grad_()
        y = norm(x) if channels == 4 else _sliced_batch_norm(norm, x)
        (y * target).sum().backward()
        for rank, part in enumerate(parts):
            close = {"atol": 2e-5, "rtol": 1e-4}
            assert torch.allclose(part[f"{name}/y"], y[rank::2], **close), name
            assert torch.allclose(part[f"{name}/x"], x.grad[rank::2], **close), name
            assert torch.allclose(part[f"{name}/mean"], norm.running_mean), name
            assert torch.allclose(part[f"{name}/variance"], norm.running_var, rtol=1e-4), name
            assert channels == 3 or int(part[f"{name}/batches"]) == 1
            if affine:
                assert torch.allclose(part[f"{name}/weight"], norm.weight.grad, **close), name
                assert torch.allclose(part[f"{name}/bias"], norm.bias.grad, **close), name


@pytest.mark.parametrize(
    ("synchronised", "batch", "processes", "expected"),
    [
        ("auto", 64, 1, False),
        ("auto", 64, 4, False),
        ("auto", 63, 4, True),
        ("yes", 64, 2, True),
        ("yes", 64, 1, False),
        ("no", 4, 2, False),
    ],
)
def test_the_recipe_decides(monkeypatch, synchronised, batch, processes, expected):
    monkeypatch.setattr(distributed, "world_size", lambda: processes)
    assert needs_synchronisation(Recipe(epochs=1, batch=batch, synchronised=synchronised)) is expected


def test_a_module_is_as_before_after_its_training(monkeypatch):
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    net = nn.Sequential(nn.BatchNorm2d(2), nn.Linear(1, 1))
    names = list(net.state_dict())
    with synchronised_where_needed(net, Recipe(epochs=1, synchronised="yes")):
        assert type(net[0]) is SynchronisedBatchNorm and list(net.state_dict()) == names
    assert type(net[0]) is nn.BatchNorm2d
    with synchronised_where_needed(net, Recipe(epochs=1, synchronised="no")):
        assert type(net[0]) is nn.BatchNorm2d


def test_evaluation_uses_the_running_statistics(monkeypatch):
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    plain, x = nn.BatchNorm2d(2), torch.randn(3, 2, 2, 2)
    plain.running_mean += 1
    norm = nn.Sequential(plain)
    expected = norm.eval()(x)
    synchronise_batch_norm(norm)
    assert torch.equal(norm(x), expected)


def test_cards_have_a_normalisation_that_is_found_by_its_type():
    norm = nn.BatchNorm2d(2)
    norm.__class__ = synchronised_norm._CardBatchNorm
    assert isinstance(norm, nn.SyncBatchNorm) and isinstance(norm, nn.BatchNorm2d)
    assert type(norm).forward is nn.SyncBatchNorm.forward
