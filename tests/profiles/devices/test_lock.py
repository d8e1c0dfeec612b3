import threading
from dataclasses import replace

import pytest
from fakes import DEVICE, FakeNvml

from nascli.errors import StoreError
from nascli.profiles.devices.cards import find_cards
from nascli.profiles.devices.device import device_of_card
from nascli.profiles.devices.lock import DeviceLock
from nascli.progress import Silent


class LoggedProgress(Silent):
    def __init__(self):
        self.messages = []
        self.waiting = threading.Event()

    def message(self, text, *remedies):
        self.messages.append(text)
        self.waiting.set()


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("NASCLI_HOME", str(tmp_path / "home"))


def test_a_second_one_waits_for_the_first_and_says_so():
    progress, entered = LoggedProgress(), threading.Event()

    def second():
        with DeviceLock(DEVICE, progress):
            entered.set()

    thread = threading.Thread(target=second)
    with DeviceLock(DEVICE, Silent()):
        thread.start()
        assert progress.waiting.wait(10) and not entered.is_set()
        assert progress.messages == ["another process is measuring on this device; waiting for its end"]
    thread.join(10)
    assert entered.is_set() and progress.messages[1].startswith("the device is free after ")


def test_an_exception_releases_the_device():
    with pytest.raises(KeyboardInterrupt), DeviceLock(DEVICE, Silent()):
        raise KeyboardInterrupt
    progress = LoggedProgress()
    with DeviceLock(DEVICE, progress):
        assert progress.messages == []


def test_other_devices_and_other_cards_of_one_model_are_free():
    cards = [device_of_card(card) for card in find_cards(FakeNvml(["NVIDIA TITAN Xp", "NVIDIA TITAN Xp"]))]
    assert cards[0].key == cards[1].key
    progress = LoggedProgress()
    with (
        DeviceLock(DEVICE, progress),
        DeviceLock(replace(DEVICE, key="other"), progress),
        DeviceLock(cards[0], progress),
        DeviceLock(cards[1], progress),
    ):
        assert progress.messages == []


def test_a_folder_that_cannot_be_made_is_named_with_the_way_out(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NASCLI_HOME", str(tmp_path / "file"))
    with pytest.raises(StoreError, match=r"cannot make the folder .*file/locks") as caught:
        DeviceLock(DEVICE, Silent())
    assert "NASCLI_HOME" in caught.value.hint
