"""Data sheets of cards. Each is one TOML file beside this module."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources


@dataclass(frozen=True)
class DataSheet:
    """The data sheet of a card, in SI units.

    Attributes:
        key: The card's name on the command line and in tables.
        title: The full name.
        nvml_names: The names that the driver gives it.
        compute_capability: CUDA compute capability, such as '6.1'.
        peak: Pairs of a precision and its peak in operations per second; a multiply-add counts as two operations.
        processors: Number of streaming multiprocessors.
        bandwidth: Bytes per second of device memory.
        memory: Bytes of device memory.
        source: Where the figures come from.
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
    """Return all data sheets by key."""
    sheets = {}
    for entry in sorted(resources.files(__package__).iterdir(), key=lambda e: e.name):
        if entry.name.endswith(".toml"):
            document = tomllib.loads(entry.read_text(encoding="utf-8"))
            key = entry.name.removesuffix(".toml")
            sheets[key] = DataSheet(
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
    return sheets
