"""With what work is done: store, cluster, CUDA package, and device for training. Nothing in it changes a result."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from nascli.paths import default_store


@dataclass(frozen=True, kw_only=True)
class DeviceChoice:
    """The device on which a user wants networks to be trained and evaluated.

    Attributes:
        name: 'auto', 'cpu', 'cuda', 'cuda:N', or 'mps'.
        tf32: Whether a card multiplies float32 numbers as TF32.
        compile: Whether plain networks are compiled by `torch.compile`.
    """

    name: str = "auto"
    tf32: bool = True
    compile: bool = False


@dataclass(frozen=True, kw_only=True)
class Execution:
    """The means by which a job runs on this machine.

    Two jobs with equal settings and tables have the same result, up to the rounding of other devices, whatever their
    executions are; a run's settings.json therefore leaves the execution out.

    Attributes:
        store: The SQLite file that keeps measurements. Defaults to the one that all projects share.
        cuda_driver: The package that provides CUDA memory and events for TensorRT: 'cuda-core', 'pycuda', 'torch',
            or 'auto' for the first that is installed.
        ray: The address of a Ray cluster that evaluates architectures, or 'auto'; None evaluates in this process.
        training: The device on which networks are trained and evaluated.
    """

    store: Path = field(default_factory=default_store)
    cuda_driver: str = "auto"
    ray: str | None = None
    training: DeviceChoice = DeviceChoice()
