"""Installed packages, and the major versions of the libraries that a shared object is linked against."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import mmap
import re
from pathlib import Path

# Each of these provides TensorRT's Python bindings; which one is there depends on how TensorRT was installed.
TENSORRT_PACKAGES = (
    "tensorrt",
    "tensorrt-cu12",
    "tensorrt-cu13",
    "tensorrt-cu12-bindings",
    "tensorrt-cu13-bindings",
)


def installed_version(package: str) -> str | None:
    """Return the version of a package; None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def package_folder(module: str) -> Path | None:
    """Return the folder of a package without importing it; None if it cannot be imported."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent


def linked_major(binary: Path, library: str) -> int | None:
    """Return the N of the `library.so.N` that a shared object is linked against; None if there is none or no file."""
    if not binary.is_file() or binary.stat().st_size == 0:
        return None
    with binary.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        match = re.search(re.escape(library.encode()) + rb"\.so\.(\d+)\0", data)
        # The match refers to the mapped file, so it is read before the file is unmapped.
        return None if match is None else int(match[1])
