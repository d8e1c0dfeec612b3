"""The device on which networks are trained and evaluated: the CPU, an NVIDIA card, or an Apple GPU."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nascli.errors import Remedy, RuntimeUnavailableError
from nascli.execution import DeviceChoice

if TYPE_CHECKING:
    import torch

# What an error message of PyTorch begins with if the device, and not the program, has failed.
_FAILURES = ("CUDA error", "cuDNN error", "CUDA driver error", "MPS backend error")
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")


@dataclass(frozen=True)
class TrainDevice:
    """A device of this machine, and how torch computes on it.

    No digest and no file of settings has it: the same training on another device has the same result up to rounding,
    and continues from the same checkpoint.

    Attributes:
        device: Device of modules, images, and labels.
        tf32: Whether a card multiplies float32 numbers as TF32, with 10 bits of mantissa. CPUs ignore it.
        compile: Whether plain networks are compiled by `torch.compile` before they are trained.
    """

    device: torch.device
    tf32: bool = True
    compile: bool = False

    @staticmethod
    def find(name: str = "auto", *, tf32: bool = True, compile: bool = False) -> TrainDevice:
        """Find a device of this machine.

        Args:
            name: 'auto' for an NVIDIA card if PyTorch can use one, and otherwise the CPU; 'cpu'; 'cuda' for the first
                card, or under torchrun for the card with the number of the process on this machine; 'cuda:N'; 'mps'.
            tf32: Whether a card multiplies float32 numbers as TF32.
            compile: Whether plain networks are compiled.

        Raises:
            RuntimeUnavailableError: This machine has no such device, or PyTorch cannot use it.
        """
        import torch

        if not re.fullmatch(r"auto|cpu|cuda|cuda:\d+|mps", name):
            raise _unavailable(f"a device for training is auto, cpu, cuda, cuda:N, or mps, not {name!r}")
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        if name.startswith("cuda"):
            name = _card(name)
        elif name == "mps" and not torch.backends.mps.is_available():
            raise _unavailable("there is no GPU of Apple that PyTorch can use")
        return TrainDevice(torch.device(name), tf32, compile)

    @staticmethod
    def of(choice: DeviceChoice) -> TrainDevice:
        """Find the device that a user chose, and set torch up for it.

        Raises:
            RuntimeUnavailableError: This machine has no such device, or PyTorch cannot use it.
        """
        found = TrainDevice.find(choice.name, tf32=choice.tf32, compile=choice.compile)
        found.set_up()
        return found

    @staticmethod
    def cpu() -> TrainDevice:
        """Return the CPU."""
        return TrainDevice.find("cpu")

    def set_up(self) -> None:
        """Make the card the current one of this process, and set the precision of its products; CPUs need nothing."""
        import torch

        if self.device.type != "cuda":
            return
        torch.cuda.set_device(self.device)
        torch.backends.cuda.matmul.allow_tf32 = self.tf32
        torch.backends.cudnn.allow_tf32 = self.tf32

    def describe(self) -> str:
        """Return the device with its memory, such as 'cuda:0: NVIDIA H100, 78.1 of 79.6 GiB of memory are free'."""
        import torch

        if self.device.type == "cuda":
            free, total = torch.cuda.mem_get_info(self.device)
            name = torch.cuda.get_device_name(self.device)
            return f"{self.device}: {name}, {_gib(free)} of {_gib(total)} GiB of memory are free"
        if self.device.type == "mps":
            return f"mps: {_gib(torch.mps.recommended_max_memory())} GiB of memory"
        pages = "SC_PHYS_PAGES" in os.sysconf_names
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if pages else 0
        return f"cpu: {torch.get_num_threads()} threads, {_gib(memory)} GiB of memory"


def _gib(amount: float) -> str:
    return f"{amount / 2**30:.1f}"


def _card(name: str) -> str:
    """Return the full name of a card that is here, 'cuda:N'.

    Raises:
        RuntimeUnavailableError: It is not here.
    """
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        raise _unavailable(f"PyTorch {torch.__version__} finds no NVIDIA card here")
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    number = int(name.partition(":")[2] or rank)
    if number >= count:
        cards = ", ".join(f"cuda:{index} ({torch.cuda.get_device_name(index)})" for index in range(count))
        raise _unavailable(
            f"there is no card cuda:{number} for process {rank} of this machine; it has {cards}"
        )
    return f"cuda:{number}"


def _unavailable(reason: str) -> RuntimeUnavailableError:
    return RuntimeUnavailableError(
        f"{reason}.",
        "Train on the CPU, or see what this machine has.",
        Remedy(arguments={"train_device": "cpu"}),
        Remedy(job="run_checks"),
    )


def wait_for(device: torch.device) -> None:
    """Wait until a device has done all that it was given, such as copies to the host that were begun."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tell whether torch raised an error because the device, or the host, has no memory left."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in _OUT_OF_MEMORY)


def is_device_failure(error: RuntimeError) -> bool:
    """Tell whether torch raised an error because the device failed, for instance a card that is no longer there."""
    return type(error).__name__ == "AcceleratorError" or str(error).startswith(_FAILURES)
