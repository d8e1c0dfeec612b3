"""Where to measure: what a user says, and the device and the runtime that are meant."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from nascli.errors import DeviceError, Remedy, RuntimeUnavailableError
from nascli.execution import Execution
from nascli.lut import Setup
from nascli.profiles.devices.cards import cuda_ordinal
from nascli.profiles.devices.clocks import sustained_mhz
from nascli.profiles.devices.device import Device, find_cards_here, find_device
from nascli.profiles.runtimes.base import Runtime, RuntimeOptions
from nascli.profiles.runtimes.registry import all_runtimes, get_runtime

# Words that stand for a runtime that measuring has to find, or for all of them. Only some jobs take them.
FASTEST, EVERY = "fastest", "all"


@dataclass(frozen=True, kw_only=True)
class TargetSpec:
    """What a user says about where to measure: everything that the key of a measurement depends on.

    Attributes:
        device: 'cpu', or the key of a card such as 'titanxp' or 'titanxp:1'.
        runtime: The name of a runtime, or 'auto' for the first that works on the device. Where a job says so, also
            'fastest' for the one that measuring finds, or 'all'.
        precision: 'fp32', 'fp16', 'bf16', 'tf32' or 'int8', as far as the runtime has it.
        batch: Samples per run.
        threads: Threads inside one operator.
        cuda_graph: Whether each run is launched as one CUDA graph.
        rotate_inputs: Whether each run has other inputs than the one before.
        clock_mhz: The clock in MHz at which the card is held while it is measured; None leaves it alone.
    """

    device: str = "cpu"
    runtime: str = "auto"
    precision: str = "fp32"
    batch: int = 16
    threads: int = 1
    cuda_graph: bool = False
    rotate_inputs: bool = False
    clock_mhz: int | None = None

    def options(self, cuda_driver: str = "auto") -> RuntimeOptions:
        """How models are run there, with CUDA memory and events from the package of that name."""
        return RuntimeOptions(
            threads=self.threads,
            precision=self.precision,
            cuda_driver=cuda_driver,
            cuda_graph=self.cuda_graph,
            rotate=self.rotate_inputs,
            clock_mhz=self.clock_mhz,
        )

    def resolve(self, execution: Execution) -> Target:
        """Find the device and the runtime on this machine.

        Args:
            execution: Names the package that provides CUDA memory and events.

        Raises:
            DeviceError: The device is not here, or the runtime is 'fastest' or 'all'.
            UnknownNameError: No device or runtime has that name.
            RuntimeUnavailableError: The runtime is 'auto', and none works on the device.
        """
        if self.runtime in (FASTEST, EVERY):
            raise DeviceError(
                f"{self.runtime!r} names no runtime that this can be done with.",
                "Name one.",
                Remedy(arguments={"runtime": None}),
            )
        device = find_device(self.device)
        options = self.options(execution.cuda_driver)
        if device.card is not None:
            # CUDA's own order is by speed; ours is NVML's. It is read once, when CUDA is first used.
            os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
            options = replace(options, ordinal=cuda_ordinal(device.card, find_cards_here()[0]))
        if self.runtime != "auto":
            return Target(device, get_runtime(self.runtime), options, self.batch)
        reasons = []
        for runtime in all_runtimes().values():
            missing = runtime.refuses(device) or runtime.missing()
            if missing is None:
                return Target(device, runtime, options, self.batch)
            reasons.append(f"{runtime.name}: {missing}")
        raise RuntimeUnavailableError(
            f"no runtime works here on {device.key}. " + "; ".join(reasons),
            "See what is missing.",
            Remedy(job="run_checks"),
        )

    def to_json(self) -> dict[str, str | int | bool | None]:
        """The document of a target in settings.json."""
        return {
            "device": self.device,
            "runtime": self.runtime,
            "batch": self.batch,
            "threads": self.threads,
            "precision": self.precision,
            "cuda_graph": self.cuda_graph,
            "rotate": self.rotate_inputs,
            "clock_mhz": self.clock_mhz,
        }


def clock_of(text: str, device: str) -> int:
    """The clock in MHz that a user wants held.

    Args:
        text: A number of MHz, or 'sustained' for what the card says that it sustains.
        device: The card.

    Raises:
        DeviceError: The text is neither, or the device is not here or is no card.
    """
    if text.isdigit() and 0 < int(text) < 100_000:
        return int(text)
    if text != "sustained":
        raise DeviceError(
            f"a clock is a number of MHz, or 'sustained', not {text!r}.",
            "Name one.",
            Remedy(arguments={"clock_mhz": 1404}),
        )
    card = find_device(device).card
    if card is None:
        raise DeviceError(
            f"{device} is no NVIDIA card, whose clock could be held.",
            "Leave the clock alone.",
            Remedy(arguments={"clock_mhz": None}),
        )
    return sustained_mhz(card)


@dataclass(frozen=True)
class Target:
    """A device that is here, and how models are run on it.

    Attributes:
        device: The device.
        runtime: The runtime.
        options: How the runtime runs a model.
        batch: Samples per run.
    """

    device: Device
    runtime: Runtime
    options: RuntimeOptions
    batch: int

    def setup(self) -> Setup:
        """The key that all measurements on this target carry.

        Raises:
            RuntimeUnavailableError: The runtime is not installed, or does not run on the device.
            DeviceError: The runtime does not have the precision or the way to run models.
        """
        reason = self.runtime.refuses(self.device)
        if reason is not None:
            raise RuntimeUnavailableError(
                reason, "Choose another runtime.", Remedy(arguments={"runtime": None})
            )
        missing = self.runtime.missing()
        if missing is not None:
            raise RuntimeUnavailableError(f"{self.runtime.name} does not work here: {missing}")
        if self.options.precision not in self.runtime.precisions:
            raise DeviceError(
                f"{self.runtime.name} measures {', '.join(self.runtime.precisions)}, "
                f"not {self.options.precision!r}",
                "Choose one of these, or another runtime.",
                Remedy(arguments={"precision": None, "runtime": None}),
            )
        for mode, argument, ability in (
            ("cuda_graph", "cuda_graph", "CUDA graphs"),
            ("rotate", "rotate_inputs", "rotated inputs"),
        ):
            if getattr(self.options, mode) and mode not in self.runtime.modes:
                raise DeviceError(
                    f"{self.runtime.name} has no {ability}.",
                    "Leave them out.",
                    Remedy(arguments={argument: None}),
                )
        return Setup(
            device=self.device.key,
            runtime=self.runtime.name,
            runtime_version=self.runtime.version(),
            precision=self.options.precision,
            batch=self.batch,
            threads=self.options.threads,
            mode=self.options.mode,
        )
