"""The pretend accelerator itself: it refuses what a card refuses, and counts what makes the host wait for one."""

import numpy as np
import pytest
import torch
from pretend_accelerator import Accelerator
from torch import nn


@pytest.fixture
def card():
    with Accelerator() as accelerator:
        yield accelerator


def test_tensors_are_where_they_were_made(card):
    a = torch.ones(2, 3, device="cuda")
    assert a.device == torch.device("cuda", 0) and a.is_cuda and not a.is_cpu
    assert torch.ones(2).device.type == "cpu"
    for b in (a + 1, a[0], a.detach(), a.view(6), torch.zeros_like(a), a.new_zeros(1), a.sum(), a.t() @ a):
        assert b.is_cuda
    assert torch.arange(2, device=a.device).is_cuda and a.cpu().is_cpu and not a.to("cpu").is_cuda
    assert torch.ones(2).to(a).is_cuda and torch.ones(2).to(a.device, torch.float64).dtype == torch.float64


@pytest.mark.parametrize(
    "wrong",
    [
        lambda a: a + torch.ones(2, 3),
        lambda a: torch.cat([a, torch.ones(1, 3)]),
        lambda a: torch.stack([a.sum(), torch.tensor(1.0)]),
        lambda a: torch.ones(2, 3) * a.sum(),
        lambda a: torch.ones(2, 3)[torch.zeros(1, dtype=torch.int64, device="cuda")],
        lambda a: torch.ones(2, 3).add_(a),
        lambda a: nn.Linear(3, 1)(a),
        lambda a: nn.functional.cross_entropy(a, torch.zeros(2, dtype=torch.int64)),
        lambda a: a.normal_(generator=torch.Generator()),
        lambda a: torch._foreach_add([a], [torch.ones(2, 3)]),
    ],
)
def test_operations_on_two_devices_are_refused(card, wrong):
    with pytest.raises(RuntimeError):
        wrong(torch.ones(2, 3, device="cuda"))


def test_a_tensor_of_the_card_is_no_array(card):
    a = torch.ones(2, device="cuda")
    for convert in (lambda: a.numpy(), lambda: np.asarray(a)):
        with pytest.raises(TypeError, match="can't convert cuda"):
            convert()
    assert a.cpu().numpy().sum() == 2


def test_scalars_of_the_host_may_meet_the_card(card):
    a = torch.ones(2, device="cuda")
    assert (a * torch.tensor(3.0)).is_cuda and (a + 1.0).is_cuda and not card.waits


@pytest.mark.parametrize(
    "waiting",
    [
        lambda a: float(a.sum()),
        lambda a: a.sum().item(),
        lambda a: bool((a > 0).all()),
        lambda a: a.tolist(),
        lambda a: a.cpu(),
        lambda a: torch.ones(3).to("cuda"),
        lambda a: torch.tensor([1.0], device="cuda"),
        lambda a: torch.equal(a, a),
        lambda a: a[a > 0],
        lambda a: a[torch.tensor([0])],
        lambda a: torch.ones(2).copy_(a),
        lambda a: torch.cuda.synchronize(),
    ],
)
def test_waiting_is_counted(card, waiting):
    waiting(torch.ones(2, device="cuda"))
    assert len(card.waits) == 1 and __file__ in card.waits[0]


def test_not_waiting_is_not_counted(card):
    a = torch.ones(2, device="cuda")
    index = torch.tensor([0]).to("cuda", non_blocking=True)
    a[index], torch.ones(2).copy_(a, non_blocking=True), a.to("cpu", non_blocking=True), float(torch.ones(1))
    assert not card.waits


def test_modules_move_and_learn_and_gradients_find_their_way_back(card):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    module.to(device="cuda", memory_format=torch.channels_last)
    assert all(value.is_cuda for value in module.state_dict().values())
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, fused=True)
    x, y = torch.randn(8, 1, 3, 3).to("cuda"), torch.zeros(8, dtype=torch.int64, device="cuda")
    theta = torch.ones(1, requires_grad=True)
    card.waits.clear()
    losses = []
    for _ in range(5):
        loss = nn.functional.cross_entropy(module(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
    assert not card.waits
    losses = torch.stack(losses).tolist()
    assert losses[-1] < losses[0]
    (module(x).sum() * theta.to("cuda")).sum().backward()
    assert not theta.grad.is_cuda and module[0].weight.grad.is_cuda
    assert all(value.is_cpu for value in module.cpu().state_dict().values())


def test_outside_nothing_has_changed():
    with Accelerator():
        a = torch.ones(2, device="cuda")
    assert a.device.type == "cpu" and (a + torch.ones(2)).sum() == 4
