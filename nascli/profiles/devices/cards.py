"""NVIDIA cards in this machine and their state, read through NVML."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from nascli.errors import DeviceError, RuntimeUnavailableError

# The bits of NVML's clock event reasons that mean that a card runs slower than it could. Idle (0x1), clocks set by the
# user (0x2), and display clocks (0x100) are not among them.
SLOWING: dict[int, str] = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
    0x200: "board limit",
    0x400: "reliability",
}


@dataclass(frozen=True)
class Card:
    """One card, or one MIG slice of a card.

    Attributes:
        index: NVML's number, which follows the order of the PCI bus.
        name: The driver's name for it, such as 'NVIDIA TITAN Xp'.
        uuid: UUID of the card or of the slice.
        pci: PCI bus id.
        compute_capability: Major and minor number, such as (6, 1).
        memory: Bytes of device memory.
        driver: Version of the driver.
        cuda: The newest CUDA version that the driver supports, such as (12, 9).
        slice: The MIG profile, such as '1g.5gb'; None for a whole card.
    """

    index: int
    name: str
    uuid: str
    pci: str
    compute_capability: tuple[int, int]
    memory: int
    driver: str
    cuda: tuple[int, int]
    slice: str | None = None

    def facts(self) -> dict[str, str]:
        """Return what is recorded with every table of the card."""
        return {
            "model": self.name,
            "uuid": self.uuid,
            "pci": self.pci,
            "compute capability": ".".join(map(str, self.compute_capability)),
            "memory": str(self.memory),
            "driver": self.driver,
            "driver's CUDA": ".".join(map(str, self.cuda)),
            "MIG": self.slice or "",
        }


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _nvml() -> Any:
    if importlib.util.find_spec("pynvml") is None:
        raise RuntimeUnavailableError(
            "seeing NVIDIA cards needs the package nvidia-ml-py, which is not installed.",
            "Install it: pip install nvidia-ml-py",
        )
    import pynvml

    return pynvml


@contextmanager
def open_nvml(nvml: Any | None = None) -> Iterator[Any]:
    """Return a context that gives the initialised NVML library.

    Args:
        nvml: The module to use; None imports `pynvml`.

    Raises:
        RuntimeUnavailableError: The package is not installed, or the driver does not answer.
    """
    library = _nvml() if nvml is None else nvml
    try:
        library.nvmlInit()
    except library.NVMLError as error:
        raise RuntimeUnavailableError(
            f"the NVIDIA driver does not answer: {error}.",
            "Install or restart the driver; nvidia-smi must work first.",
        ) from error
    try:
        yield library
    finally:
        library.nvmlShutdown()


def find_cards(nvml: Any | None = None) -> list[Card]:
    """Return all cards in NVML's order; a card that is divided into MIG slices is replaced by its slices.

    Args:
        nvml: The module to use; None imports `pynvml`.

    Raises:
        RuntimeUnavailableError: The package is not installed, or the driver does not answer.
        DeviceError: A card does not answer.
    """
    with open_nvml(nvml) as library:
        driver = _text(library.nvmlSystemGetDriverVersion())
        version = int(library.nvmlSystemGetCudaDriverVersion_v2())
        cuda = (version // 1000, version % 1000 // 10)
        cards: list[Card] = []
        for index in range(int(library.nvmlDeviceGetCount())):
            try:
                handle = library.nvmlDeviceGetHandleByIndex(index)
                whole = Card(
                    index=index,
                    name=_text(library.nvmlDeviceGetName(handle)),
                    uuid=_text(library.nvmlDeviceGetUUID(handle)),
                    pci=_text(library.nvmlDeviceGetPciInfo(handle).busId),
                    compute_capability=_pair(library.nvmlDeviceGetCudaComputeCapability(handle)),
                    memory=int(library.nvmlDeviceGetMemoryInfo(handle).total),
                    driver=driver,
                    cuda=cuda,
                )
            except library.NVMLError as error:
                raise DeviceError(f"card {index} does not answer: {error}", "Look at nvidia-smi.") from error
            cards.extend(_slices(library, handle, whole) or [whole])
        return cards


def _pair(values: Any) -> tuple[int, int]:
    major, minor = values
    return int(major), int(minor)


def _slices(library: Any, handle: Any, whole: Card) -> list[Card]:
    try:
        enabled, _ = library.nvmlDeviceGetMigMode(handle)
        max_count = int(library.nvmlDeviceGetMaxMigDeviceCount(handle)) if enabled else 0
    except library.NVMLError:
        # Cards without MIG answer that they do not support the question.
        return []
    slices = []
    for number in range(max_count):
        try:
            part = library.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)
        except library.NVMLError:
            continue
        name = _text(library.nvmlDeviceGetName(part))
        profile = re.search(r"MIG (\S+)", name)
        slices.append(
            Card(
                index=whole.index,
                name=whole.name,
                uuid=_text(library.nvmlDeviceGetUUID(part)),
                pci=whole.pci,
                compute_capability=whole.compute_capability,
                memory=int(library.nvmlDeviceGetMemoryInfo(part).total),
                driver=whole.driver,
                cuda=whole.cuda,
                slice=profile[1] if profile else "slice",
            )
        )
    return slices


def key_from_name(name: str) -> str:
    """Return the key of a card that has no data sheet: 'NVIDIA GeForce RTX 4090' becomes 'rtx-4090'."""
    plain = re.sub(r"\b(nvidia|geforce|tesla|quadro)\b", " ", name.lower())
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-") or "card"


def cuda_ordinal(card: Card, cards: list[Card], environment: Mapping[str, str] = os.environ) -> int:
    """Return the number that CUDA gives a card in this process.

    Args:
        card: The card.
        cards: All cards in this machine.
        environment: The environment variables, of which CUDA_DEVICE_ORDER and CUDA_VISIBLE_DEVICES count.

    Raises:
        DeviceError: CUDA does not show the card to this process; or there are several cards and CUDA does not count
            them along the PCI bus as NVML does.
    """
    if environment.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID" and len({c.index for c in cards}) > 1:
        raise DeviceError(
            "with several cards, CUDA must count them as NVML does, along the PCI bus; CUDA_DEVICE_ORDER is "
            f"{environment.get('CUDA_DEVICE_ORDER')!r}.",
            "Run with: CUDA_DEVICE_ORDER=PCI_BUS_ID",
        )
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        if card.slice is not None:
            # CUDA shows the first slice of each card only, unless one is named.
            raise DeviceError(
                f"CUDA must be told which MIG slice it shall use: {card.slice} of {card.name}.",
                f"Run with: CUDA_VISIBLE_DEVICES={card.uuid}",
            )
        return card.index
    for number, entry in enumerate(part.strip() for part in visible.split(",")):
        if entry == str(card.index) and card.slice is None:
            return number
        if entry and not entry.isdigit() and card.uuid.startswith(entry):
            return number
    raise DeviceError(
        f"{card.name} (number {card.index}, {card.uuid}) is not among CUDA_VISIBLE_DEVICES={visible!r}.",
        f"Run with: CUDA_VISIBLE_DEVICES={card.uuid}",
    )


class Probe:
    """Reads the state of one card. What the card does not report is None.

    Args:
        card: The card.
        nvml: The module to use; None imports `pynvml`.

    Raises:
        RuntimeUnavailableError: The package is not installed.
    """

    def __init__(self, card: Card, nvml: Any | None = None) -> None:
        self._card = card
        self._library = _nvml() if nvml is None else nvml
        self._library.nvmlInit()
        self._handle = self._library.nvmlDeviceGetHandleByIndex(card.index)

    def _ask(self, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except self._library.NVMLError:
            self._require_card()
            return None

    def _require_card(self) -> None:
        try:
            self._library.nvmlDeviceGetUUID(self._handle)
        except self._library.NVMLError as error:
            raise DeviceError(
                f"the card {self._card.name} is gone: {error}.",
                "What was measured is kept. Look at nvidia-smi, and run the same command again.",
            ) from error

    def reasons(self) -> int | None:
        """Return NVML's bit mask of clock event reasons.

        Raises:
            DeviceError: The card does not answer any more.
        """
        value = self._ask(lambda: self._library.nvmlDeviceGetCurrentClocksEventReasons(self._handle))
        return None if value is None else int(value)

    def is_slowed(self) -> bool:
        """Return whether the card runs slower than it could; False if it does not report that.

        Raises:
            DeviceError: The card does not answer any more.
        """
        mask = self.reasons()
        return mask is not None and any(mask & bit for bit in SLOWING)

    def state(self) -> dict[str, Any]:
        """Return the card's state as a JSON document.

        It contains clocks in MHz, the temperature in degrees Celsius, power in watts, what slows the card, and the
        process ids of others that use it.

        Raises:
            DeviceError: The card does not answer any more.
        """
        library, handle = self._library, self._handle
        milliwatts = self._ask(lambda: library.nvmlDeviceGetPowerUsage(handle))
        limit = self._ask(lambda: library.nvmlDeviceGetEnforcedPowerLimit(handle))
        ecc = self._ask(lambda: library.nvmlDeviceGetEccMode(handle))
        running = self._ask(lambda: library.nvmlDeviceGetComputeRunningProcesses(handle))
        mask = self.reasons()
        return {
            "sm_mhz": self._ask(lambda: library.nvmlDeviceGetClockInfo(handle, library.NVML_CLOCK_SM)),
            "memory_mhz": self._ask(lambda: library.nvmlDeviceGetClockInfo(handle, library.NVML_CLOCK_MEM)),
            "max_sm_mhz": self._ask(lambda: library.nvmlDeviceGetMaxClockInfo(handle, library.NVML_CLOCK_SM)),
            "reasons": mask,
            "slowed_by": None if mask is None else [name for bit, name in SLOWING.items() if mask & bit],
            "temperature": self._ask(
                lambda: library.nvmlDeviceGetTemperature(handle, library.NVML_TEMPERATURE_GPU)
            ),
            "power": None if milliwatts is None else milliwatts / 1000,
            "power_limit": None if limit is None else limit / 1000,
            "performance_state": self._ask(lambda: library.nvmlDeviceGetPerformanceState(handle)),
            "persistence": self._ask(lambda: library.nvmlDeviceGetPersistenceMode(handle)),
            "ecc": None if ecc is None else int(ecc[0]),
            "others": None if running is None else sorted(p.pid for p in running if p.pid != os.getpid()),
        }

    def close(self) -> None:
        """Release NVML."""
        self._library.nvmlShutdown()
