"""Data sheets of cards: one TOML file each, beside this one."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources


@dataclass(frozen=True)
class DataSheet:
    """What a card's data sheet says, in SI units (operations and bytes a second).

    Attributes:
        key: the name used on the command line.
        title: the full name.
        nvml_names: what the driver calls it.
        compute_capability: CUDA compute capability.
        peak: multiply-add operations counted twice, per second, by precision.
        processors: streaming multiprocessors.
        bandwidth: bytes a second from device memory.
        memory: bytes of device memory.
        source: where the figures come from.
    """

    key: str
    title: str
    nvml_names: tuple[str, ...]
    compute_capability: str
    peak: tuple[tuple[str, float], ...]
    processors: int
    bandwidth: float
    memory: float
    source: str


@lru_cache(maxsize=1)
def data_sheets() -> dict[str, DataSheet]:
    """All device profiles, by key."""
    found = {}
    for entry in sorted(resources.files(__package__).iterdir(), key=lambda e: e.name):
        if entry.name.endswith(".toml"):
            document = tomllib.loads(entry.read_text(encoding="utf-8"))
            key = entry.name.removesuffix(".toml")
            found[key] = DataSheet(
                key=key,
                title=document["title"],
                nvml_names=tuple(document["nvml_names"]),
                compute_capability=document["compute_capability"],
                peak=tuple((k, float(v)) for k, v in document["peak"].items()),
                processors=int(document["processors"]),
                bandwidth=float(document["bandwidth"]),
                memory=float(document["memory"]),
                source=document["source"],
            )
    return found
