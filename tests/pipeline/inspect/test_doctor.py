import importlib.metadata

import pytest
from simulated_devices import DEVICES, fill_this_machine

from nascli.errors import DeviceError, Remedy
from nascli.paths import default_store
from nascli.pipeline.inspect import doctor
from nascli.pipeline.inspect.doctor import run_checks
from nascli.profiles.advice import Advice
from nascli.version import __version__


@pytest.fixture(autouse=True)
def no_cards(monkeypatch):
    """A machine without cards, whatever is in this one."""
    monkeypatch.setattr(doctor, "find_cards_here", lambda: ([], "no driver: install one"))


def checks():
    return {check.name: check for check in run_checks()}


def test_what_works_is_told_with_its_version():
    found = checks()
    assert found["nascli"].works and found["nascli"].detail == __version__
    assert found["runtime ort-cpu"].works
    assert importlib.metadata.version("torch") in found["training"].detail
    assert found["device cpu"].to_json()["works"] is True


def test_the_device_for_training_is_told_with_its_memory(monkeypatch):
    found = checks()["training device"]
    assert found.works and "GiB of memory" in found.detail

    def lost(self):
        raise RuntimeError("CUDA error: unknown error\nmore")

    monkeypatch.setattr("nascli.supernet.devices.TrainDevice.describe", lost)
    found = checks()["training device"]
    assert (
        not found.works and found.detail == "CUDA error: unknown error" and checks()["runtime ort-cpu"].works
    )


def test_missing_cards_say_what_to_do_about_them():
    found = checks()["NVIDIA cards"]
    assert not found.works and found.detail == "no driver: install one"
    assert "nvidia-ml-py" in found.advice


def test_a_lost_card_does_not_hide_the_rest(monkeypatch):
    def lost():
        raise DeviceError("GPU 0 is lost", "reset it")

    monkeypatch.setattr(doctor, "find_cards_here", lost)
    found = checks()
    assert found["NVIDIA cards"].detail == "GPU 0 is lost: reset it" and found["runtime ort-cpu"].works


def test_a_package_that_is_not_installed_is_told_with_the_extra_that_brings_it(monkeypatch):
    real = importlib.metadata.version

    def version(name):
        if name == "torch":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(doctor.importlib.metadata, "version", version)
    found = checks()["training"]
    assert not found.works and found.advice == "pip install 'nascli[search]'"


def test_a_runtime_without_its_packages_says_what_is_missing():
    class Absent:
        name = "absent"

        def missing(self):
            return "absent is not installed: pip install absent"

    check = doctor._runtime(Absent(), [])
    assert (check.works, check.detail, check.advice) == (
        False,
        "absent is not installed",
        "pip install absent",
    )


def test_two_packages_in_one_folder_are_a_conflict(monkeypatch):
    monkeypatch.setattr(doctor, "installed_version", lambda name: "1")
    assert "share a folder" in checks()["onnxruntime"].detail
    monkeypatch.setattr(doctor, "installed_version", lambda name: "1" if name == "onnxruntime" else None)
    assert "onnxruntime" not in checks()


def test_a_store_is_not_made_by_looking_at_it(tiny):
    assert "made when first needed" in checks()["store"].detail and not default_store().exists()
    default_store().parent.mkdir(parents=True, exist_ok=True)
    fill_this_machine(default_store(), DEVICES["alpha"], tiny)
    assert "1 table(s)" in checks()["store"].detail


def test_a_damaged_store_is_told():
    default_store().parent.mkdir(parents=True, exist_ok=True)
    default_store().write_bytes(b"no database" * 100)
    assert not checks()["store"].works


def test_noise_is_told_with_its_remedies(monkeypatch):
    remedy = Remedy(job="profile")
    monkeypatch.setattr(doctor, "machine_advice", lambda: [Advice("it is loud", "wait", (remedy,))])
    found = checks()["quiet enough to measure"]
    assert (found.works, found.detail, found.advice, found.remedies) == (
        False,
        "it is loud",
        "wait",
        (remedy,),
    )
    monkeypatch.setattr(doctor, "machine_advice", lambda: [])
    assert checks()["quiet enough to measure"].works
