import os
import sys
import threading
import time
from dataclasses import replace

import pytest
from fakes import DEVICE, FakeNvml

from nascli.errors import StoreError
from nascli.profiles.devices import lock
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
    return tmp_path / "home"


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


def test_whoever_waits_is_told_for_whom(monkeypatch):
    monkeypatch.setattr(lock, "_TELL_EVERY_SECONDS", 0.05)
    monkeypatch.setattr(sys, "argv", ["/usr/bin/nascli", "profile", "--space", "tiny"])
    progress = LoggedProgress()

    def second():
        with DeviceLock(DEVICE, progress):
            pass

    thread = threading.Thread(target=second)
    with DeviceLock(DEVICE, Silent()):
        thread.start()
        while len(progress.messages) < 3:
            time.sleep(0.01)
    thread.join(10)
    told = progress.messages[1:-1]
    assert len(told) >= 2 and all(text.startswith("waited ") for text in told)
    assert f"process {os.getpid()} (nascli profile --space tiny, since " in told[0]


@pytest.mark.parametrize(
    "content", ["", "{}", "[1]", '{"pid": "x", "since": 1, "command": ""}', '{"since": 1e99}']
)
def test_a_damaged_note_of_the_holder_is_no_error(tmp_path, content):
    file = tmp_path / "note.json"
    assert lock._holder_text(file) == "another process"
    file.write_text(content)
    assert lock._holder_text(file) == "another process"


def test_the_note_of_the_holder_goes_with_the_lock(own_home):
    with DeviceLock(DEVICE, Silent()):
        assert list((own_home / "locks").glob("*.holder.json"))
    assert not list((own_home / "locks").glob("*.holder.json"))


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
