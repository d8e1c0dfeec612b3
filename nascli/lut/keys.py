"""What identifies a measurement: the operator's program, and the setup it ran in."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, fields
from functools import lru_cache

from nascli.errors import StoreError
from nascli.spaces.programs import Program


@lru_cache(maxsize=65536)
def _digest(canonical: str) -> str:
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def program_key(program: Program) -> str:
    """Return the key of an operator or a network: a digest of its program, so that equal programs share a row."""
    return _digest(program.canonical)


@dataclass(frozen=True, order=True)
class Setup:
    """Everything besides the operator that a latency depends on. Figures of two setups never mix.

    Attributes:
        device: The device's full key, which contains its model.
        runtime: The runtime's name, such as 'ort-cpu'.
        runtime_version: The version that the runtime reports.
        precision: The precision of the models, such as 'fp32'.
        batch: Images per run, at least 1.
        threads: Threads inside one operator, at least 1.
        mode: Other choices about how models run, such as 'cuda graph'; empty by default.

    Raises:
        StoreError: A field has the wrong type, or a number is below 1.
    """

    device: str
    runtime: str
    runtime_version: str
    precision: str
    batch: int
    threads: int
    mode: str = ""

    def __post_init__(self) -> None:
        # Setups are also read from packs of unknown origin, so the types are not certain.
        for name in ("batch", "threads"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise StoreError(f"{name} must be at least 1, got {value!r}")
        for name in ("device", "runtime", "runtime_version", "precision", "mode"):
            if not isinstance(getattr(self, name), str):
                raise StoreError(f"{name} of a setup must be a text, got {getattr(self, name)!r}")

    @property
    def label(self) -> str:
        """The setup in words: ``cpu-..., ort-cpu 1.32.0, fp32, batch 16, 1 thread``."""
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return (
            f"{self.device}, {self.runtime} {self.runtime_version}, {self.precision}, "
            f"batch {self.batch}, {threads}{f', {self.mode}' if self.mode else ''}"
        )

    def to_json(self) -> dict[str, str | int]:
        """Return the fields as a JSON document."""
        return asdict(self)

    def differences(self, other: Setup) -> list[str]:
        """Return one line for each field that differs, with both values."""
        pairs = [(f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self)]
        return [f"{name}: {value} against {theirs}" for name, value, theirs in pairs if value != theirs]
