"""What works on this machine, and what to install for more."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence
from dataclasses import dataclass

from nascli.errors import DeviceError, Remedy, RuntimeUnavailableError
from nascli.paths import default_store, home
from nascli.profiles.advice import machine_advice
from nascli.profiles.devices.cards import Card
from nascli.profiles.devices.clocks import is_left_locked
from nascli.profiles.devices.device import Device, card_key, device_of_card, find_cards_here, this_cpu
from nascli.profiles.runtimes.base import Runtime
from nascli.profiles.runtimes.packages import installed_version
from nascli.profiles.runtimes.registry import all_runtimes
from nascli.version import __version__


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What it is.
        works: Whether it works here.
        detail: What was found, or why it does not work.
        advice: What to do about it, in words; empty where there is nothing to do.
        remedies: The same as data; empty where nascli can do nothing about it.
    """

    name: str
    works: bool
    detail: str
    advice: str = ""
    remedies: tuple[Remedy, ...] = ()

    def to_json(self) -> dict[str, str | bool]:
        """The check as a document."""
        return {"name": self.name, "works": self.works, "detail": self.detail, "advice": self.advice}


def _package(name: str, extra: str, purpose: str) -> Check:
    try:
        return Check(purpose, True, f"{name} {importlib.metadata.version(name)}")
    except importlib.metadata.PackageNotFoundError:
        return Check(purpose, False, f"{name} is not installed", f"pip install 'nascli[{extra}]'")


def run_checks() -> list[Check]:
    """Look at the interpreter, the devices, the runtimes, the optional packages, and the store."""
    cpu = this_cpu()
    checks = [
        Check("nascli", True, __version__),
        Check("python", True, f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        Check("device cpu", True, f"{cpu.title}, {cpu.cores} cores ({cpu.key})"),
    ]
    try:
        cards, reason = find_cards_here()
    except DeviceError as error:
        # One card that is lost must not hide the rest.
        cards, reason = [], f"{error.message}: {error.hint or 'look at nvidia-smi'}"
    checks += [_card(card) for card in cards]
    if reason is not None:
        what, _, advice = reason.partition(": ")
        checks.append(Check("NVIDIA cards", False, what + (f": {advice}" if advice else ""), _CARD_ADVICE))
    checks += [_runtime(runtime, [cpu, *map(device_of_card, cards)]) for runtime in all_runtimes().values()]
    checks += _conflicts()
    checks.append(_package("torch", "search", "training"))
    checks += _train_device()
    checks.append(_package("torchvision", "search", "images of different sizes, and their augmentation"))
    checks.append(_package("scikit-learn", "search", "data set digits"))
    checks.append(_store())
    noise = machine_advice()
    checks += [
        Check("quiet enough to measure", False, advice.what, advice.do, advice.remedies) for advice in noise
    ]
    if not noise:
        checks.append(Check("quiet enough to measure", True, "nothing disturbing was found"))
    return checks


def _train_device() -> list[Check]:
    """The device on which networks are trained unless the user names another; none without PyTorch."""
    if installed_version("torch") is None:
        return []
    from nascli.supernet.devices import TrainDevice

    try:
        return [Check("training device", True, TrainDevice.find().describe())]
    except (RuntimeError, RuntimeUnavailableError) as error:
        # A card that is there and does not answer must not hide the rest.
        return [Check("training device", False, str(error).splitlines()[0], "training works on the CPU")]


_CARD_ADVICE = "only for NVIDIA cards: the driver, and pip install nvidia-ml-py"


def _card(card: Card) -> Check:
    what = (
        f"{card.name}, compute capability {'.'.join(map(str, card.compute_capability))}, driver {card.driver} "
        f"(CUDA {card.cuda[0]}.{card.cuda[1]})"
    )
    if is_left_locked(card):
        return Check(
            f"device {card_key(card)}",
            False,
            f"{what}; its clock was left locked by a process that was killed",
            f"the next measurement on it unlocks it, or: nvidia-smi -i {card.index} --reset-gpu-clocks",
        )
    return Check(f"device {card_key(card)}", True, what)


def _runtime(runtime: Runtime, devices: Sequence[Device]) -> Check:
    """Whether a runtime works on some device that is here; else why not, and what to do."""
    name = f"runtime {runtime.name}"
    missing = runtime.missing()
    if missing is not None:
        detail, _, advice = missing.partition(": ")
        return Check(name, False, detail, advice)
    refusals = [(device, runtime.refuses(device)) for device in devices]
    served = [device.key for device, reason in refusals if reason is None]
    if served:
        precisions = ", ".join(runtime.precisions)
        return Check(name, True, f"{runtime.version()}, {precisions} on {', '.join(served)}")
    # The reason that has to do with a card is more use than that the CPU is none.
    _, reason = refusals[-1]
    detail, _, advice = (reason or "").partition(": ")
    return Check(name, False, f"{runtime.version()}; {detail}", advice)


def _conflicts() -> list[Check]:
    if installed_version("onnxruntime") and installed_version("onnxruntime-gpu"):
        return [
            Check(
                "onnxruntime",
                False,
                "onnxruntime and onnxruntime-gpu are both installed and share a folder; the last one wins",
                "pip uninstall -y onnxruntime onnxruntime-gpu, then install one of them again",
            )
        ]
    return []


def _store() -> Check:
    path = default_store()
    if not path.exists():
        return Check("store", True, f"{path} (made when first needed)")
    from nascli.errors import StoreError
    from nascli.lut import Store

    try:
        with Store(path) as store:
            tables = store.setups()
    except StoreError as error:
        return Check("store", False, error.message, error.hint or "", error.remedies)
    return Check("store", True, f"{path}, {len(tables)} table(s); home is {home()}")
