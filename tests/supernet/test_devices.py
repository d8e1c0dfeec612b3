import pytest
import torch

from nascli.errors import Remedy, RuntimeUnavailableError
from nascli.execution import DeviceChoice
from nascli.supernet.devices import TrainDevice, is_device_failure, is_out_of_memory, wait_for


@pytest.fixture
def cards(monkeypatch):
    """A machine with two cards, as far as torch is asked."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Card {device}")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**33, 2**34))


@pytest.fixture
def no_cards(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_without_a_card_auto_is_the_cpu(no_cards):
    assert TrainDevice.find() == TrainDevice.cpu() == TrainDevice.of(DeviceChoice())
    assert TrainDevice.find().device == torch.device("cpu")
    assert TrainDevice.find("cpu", tf32=False, compile=True) == TrainDevice(torch.device("cpu"), False, True)
    assert TrainDevice.cpu().describe().startswith("cpu: ") and "GiB" in TrainDevice.cpu().describe()
    wait_for(torch.device("cpu"))


@pytest.mark.parametrize(
    ("name", "rank", "found"),
    [("auto", 0, 0), ("cuda", 0, 0), ("cuda", 1, 1), ("auto", 1, 1), ("cuda:1", 0, 1)],
)
def test_cards_are_found_by_number_or_by_rank(cards, monkeypatch, name, rank, found):
    monkeypatch.setenv("LOCAL_RANK", str(rank))
    assert TrainDevice.find(name).device == torch.device("cuda", found)
    assert TrainDevice.find("cpu").device.type == "cpu"


def test_a_card_is_described_with_its_memory(cards):
    assert TrainDevice.find("cuda:1").describe() == "cuda:1: Card cuda:1, 8.0 of 16.0 GiB of memory are free"


def test_a_device_that_is_not_here_is_told_with_what_is(cards, monkeypatch):
    with pytest.raises(
        RuntimeUnavailableError, match=r"no card cuda:2 .* cuda:0 \(Card 0\), cuda:1 \(Card 1\)"
    ) as told:
        TrainDevice.find("cuda:2")
    assert Remedy(arguments={"train_device": "cpu"}) in told.value.remedies
    monkeypatch.setenv("LOCAL_RANK", "3")
    with pytest.raises(RuntimeUnavailableError, match="cuda:3 for process 3"):
        TrainDevice.find("auto")
    with pytest.raises(RuntimeUnavailableError, match="not 'tpu'"):
        TrainDevice.find("tpu")


def test_a_machine_without_a_card_has_none(no_cards, monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(RuntimeUnavailableError, match="finds no NVIDIA card"):
        TrainDevice.find("cuda")
    with pytest.raises(RuntimeUnavailableError, match="no GPU of Apple"):
        TrainDevice.find("mps")


def test_the_precision_of_products_is_set(cards, monkeypatch):
    current = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    try:
        for tf32 in (True, False):
            found = TrainDevice.of(DeviceChoice(name="cuda", tf32=tf32))
            assert (matmul.allow_tf32, cudnn.allow_tf32) == (tf32, tf32) and current[-1] == found.device
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


def test_errors_of_torch_are_told_apart():
    full = RuntimeError(
        "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
    )
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory.")) and is_out_of_memory(full)
    lost = RuntimeError("CUDA error: unspecified launch failure")
    assert is_device_failure(lost) and not is_out_of_memory(lost)
    mistake = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    assert not is_device_failure(mistake) and not is_out_of_memory(mistake)
