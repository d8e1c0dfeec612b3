import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from fakes import FakeNvml, NvmlError

from nascli.commands.hints import error_as_text
from nascli.errors import DeviceError, RuntimeUnavailableError, UnknownNameError
from nascli.profiles.devices import clocks, device
from nascli.profiles.devices.cards import Probe, cuda_ordinal, find_cards, key_from_name
from nascli.profiles.devices.clocks import is_left_locked, locked_clock, sustained_mhz, unlock_clock
from nascli.profiles.devices.device import card_key, device_of_card, find_device


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("NVIDIA TITAN Xp", "titanxp"),
        ("TITAN Xp", "titanxp"),
        ("NVIDIA GeForce GTX 1080 Ti", "1080ti"),
        ("Tesla V100-SXM2-16GB", "v100"),
        ("Tesla T4", "t4"),
        ("NVIDIA A100-SXM4-40GB", "a100"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("NVIDIA H200", "h200"),
    ],
)
def test_names_of_the_driver_become_keys(name, key):
    (card,) = find_cards(FakeNvml([name]))
    assert card_key(card) == key
    assert device_of_card(card).card == card and dict(device_of_card(card).facts)["driver"] == "580.65"


def test_what_is_known_of_a_card():
    nvml = FakeNvml(["NVIDIA TITAN Xp", "Tesla T4"])
    first, second = find_cards(nvml)
    assert (first.index, first.uuid, first.compute_capability, first.cuda) == (0, "GPU-0", (6, 1), (12, 9))
    assert second.name == "Tesla T4" and second.pci.endswith("01:00.0") and first.slice is None
    assert nvml.open == 0
    assert key_from_name("???") == "card"


def test_slices_of_a_divided_card_are_devices_of_their_own():
    one, two = find_cards(FakeNvml(["NVIDIA A100-SXM4-40GB"], (8, 0), slices=["1g.5gb", "3g.20gb"]))
    assert [card_key(c) for c in (one, two)] == ["a100-mig-1g.5gb", "a100-mig-3g.20gb"]
    assert one.uuid == "MIG-1g.5gb" and one.index == two.index == 0


def test_no_driver_is_said(monkeypatch):
    with pytest.raises(RuntimeUnavailableError, match=r"driver does not answer: no library.\nInstall"):
        find_cards(FakeNvml([], fails="no library"))


def test_devices_by_name_with_several_cards(monkeypatch):
    cards = find_cards(FakeNvml(["NVIDIA TITAN Xp", "Tesla T4", "NVIDIA TITAN Xp"]))
    monkeypatch.setattr(device, "find_cards_here", lambda: (cards, None))
    assert find_device("titanxp").card.index == 0
    assert find_device("titanxp:1").card.index == 2 and find_device("titanxp:1").key == "titanxp"
    assert find_device("cuda:1").key == "t4" and find_device("cuda").card.index == 0
    with pytest.raises(DeviceError, match="there are 2 such cards, numbered from 0"):
        find_device("titanxp:2")
    with pytest.raises(DeviceError, match="the colon must be followed by the number of a card"):
        find_device("titanxp:one")
    with pytest.raises(DeviceError, match=r"V100.* is not in this machine; here is: cpu .*titanxp"):
        find_device("v100")
    with pytest.raises(UnknownNameError, match="unknown device"):
        find_device("gtx")


def test_the_number_that_cuda_gives_a_card():
    cards = find_cards(FakeNvml(["NVIDIA TITAN Xp", "Tesla T4", "NVIDIA TITAN Xp"]))
    bus = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert [cuda_ordinal(card, cards, bus) for card in cards] == [0, 1, 2]
    assert cuda_ordinal(cards[2], cards, {**bus, "CUDA_VISIBLE_DEVICES": "2,0"}) == 0
    assert cuda_ordinal(cards[0], cards, {**bus, "CUDA_VISIBLE_DEVICES": "GPU-2,GPU-0"}) == 1
    with pytest.raises(DeviceError, match="Tesla T4.* is not among CUDA_VISIBLE_DEVICES='2,0'"):
        cuda_ordinal(cards[1], cards, {**bus, "CUDA_VISIBLE_DEVICES": "2,0"})
    # CUDA's own order is by speed: with several cards nobody knows which is which.
    with pytest.raises(DeviceError, match="CUDA_DEVICE_ORDER=PCI_BUS_ID"):
        cuda_ordinal(cards[0], cards, {})
    assert cuda_ordinal(cards[0], cards[:1], {}) == 0
    slices = find_cards(FakeNvml(["NVIDIA A100-SXM4-40GB"], slices=["1g.5gb", "3g.20gb"]))
    with pytest.raises(DeviceError, match="CUDA_VISIBLE_DEVICES=MIG-3g.20gb"):
        cuda_ordinal(slices[1], slices, {})
    assert cuda_ordinal(slices[1], slices, {"CUDA_VISIBLE_DEVICES": "MIG-3g.20gb"}) == 0


def test_a_probe_tells_the_state_and_what_it_cannot_see_is_none():
    nvml = FakeNvml(["NVIDIA TITAN Xp"])
    (card,) = find_cards(nvml)
    probe = Probe(card, nvml)
    state = probe.state()
    assert (state["sm_mhz"], state["power"], state["temperature"], state["ecc"]) == (1404, 180.5, 61, 0)
    assert state["others"] == [4242] and os.getpid() not in state["others"]
    nvml.unsupported = {"ecc", "power"}
    assert probe.state()["ecc"] is None and probe.state()["power"] is None
    probe.close()
    assert nvml.open == 0


@pytest.mark.parametrize(
    ("mask", "slowed"),
    [(0, False), (0x1, False), (0x2, False), (0x100, False), (0x4, True), (0x8, True), (0x41, True)],
)
def test_which_event_reasons_mean_slower(mask, slowed):
    nvml = FakeNvml(["NVIDIA TITAN Xp"])
    probe = Probe(find_cards(nvml)[0], nvml)
    nvml.reasons = mask
    assert probe.is_slowed() is slowed
    assert bool(probe.state()["slowed_by"]) is slowed


def test_a_card_that_disappears_is_an_error_and_not_a_gap():
    nvml = FakeNvml(["NVIDIA TITAN Xp"])
    probe = Probe(find_cards(nvml)[0], nvml)
    nvml.gone = True
    with pytest.raises(
        DeviceError, match=r"NVIDIA TITAN Xp is gone: GPU is lost.\nWhat was measured is kept"
    ):
        probe.is_slowed()


def test_a_locked_clock_is_given_back_whatever_happens(tmp_path, monkeypatch):
    monkeypatch.setenv("NASCLI_HOME", str(tmp_path))
    nvml = FakeNvml(["Tesla V100"], capability=(7, 0))
    (card,) = find_cards(nvml)
    assert sustained_mhz(card, nvml) == 1404
    before = signal.getsignal(signal.SIGTERM)
    with locked_clock(card, 1404, nvml):
        assert nvml.locked == (1404, 1404) and is_left_locked(card)
    assert nvml.locked is None and not is_left_locked(card)
    with pytest.raises(ValueError, match="boom"), locked_clock(card, 1404, nvml):
        raise ValueError("boom")
    assert nvml.locked is None and not is_left_locked(card)
    assert signal.getsignal(signal.SIGTERM) == before
    nvml.unsupported = {"lock"}
    with pytest.raises(DeviceError, match="Locking needs root"), locked_clock(card, 1404, nvml):
        pass
    assert not is_left_locked(card)
    nvml.unsupported = {"application clock"}
    with pytest.raises(DeviceError, match="name one in MHz") as caught:
        sustained_mhz(card, nvml)
    assert error_as_text(caught.value).endswith("name one in MHz: --lock-clocks 1404")


def test_a_pascal_card_s_clock_is_held_as_an_application_clock(tmp_path, monkeypatch):
    monkeypatch.setenv("NASCLI_HOME", str(tmp_path))
    nvml = FakeNvml(["NVIDIA TITAN Xp"])
    (card,) = find_cards(nvml)
    with locked_clock(card, 1404, nvml):
        assert nvml.applied == (1404, 1404) and nvml.locked is None and is_left_locked(card)
    assert nvml.applied is None and not is_left_locked(card)
    # What a killed process left is given back the way it was taken.
    with pytest.raises(KeyboardInterrupt), locked_clock(card, 1404, nvml):
        nvml.nvmlDeviceResetGpuLockedClocks = lambda handle: 1 / 0
        raise KeyboardInterrupt
    assert nvml.applied is None
    nvml.unsupported = {"apply"}
    with pytest.raises(DeviceError, match="Locking needs root"), locked_clock(card, 1404, nvml):
        pass
    assert not is_left_locked(card)


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from fakes import FakeNvml
from nascli.profiles.devices.cards import find_cards
from nascli.profiles.devices.clocks import locked_clock
nvml = FakeNvml(["Tesla V100"], capability=(7, 0))
nvml.nvmlDeviceResetGpuLockedClocks = lambda handle: print("unlocked", flush=True)
with locked_clock(find_cards(nvml)[0], 1404, nvml):
    os.kill(os.getpid(), signal.{name})
    import time; time.sleep(10)
"""


@pytest.mark.parametrize(("name", "unlocked"), [("SIGTERM", True), ("SIGHUP", True), ("SIGKILL", False)])
def test_signals_unlock_and_what_sigkill_leaves_is_found(tmp_path, monkeypatch, name, unlocked):
    script = textwrap.dedent(KILLED.format(tests=str(Path(__file__).parents[2]), name=name))
    monkeypatch.setenv("NASCLI_HOME", str(tmp_path))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert ("unlocked" in done.stdout) is unlocked, done.stderr
    nvml = FakeNvml(["NVIDIA TITAN Xp"])
    (card,) = find_cards(nvml)
    assert is_left_locked(card) is not unlocked
    unlock_clock(card, nvml)
    assert not is_left_locked(card)


def test_unlocking_without_permission_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("NASCLI_HOME", str(tmp_path))
    nvml = FakeNvml(["NVIDIA TITAN Xp"])

    def refuse(handle):
        raise NvmlError("Insufficient Permissions")

    nvml.nvmlDeviceResetGpuLockedClocks = refuse
    with pytest.raises(DeviceError, match="nvidia-smi -i 0 --reset-gpu-clocks"):
        unlock_clock(find_cards(nvml)[0], nvml)
    assert clocks.is_left_locked(find_cards(nvml)[0]) is False
