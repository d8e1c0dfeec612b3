"""Which packages are installed, and which major version of a library a shared object was linked against."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import mmap
import re
from pathlib import Path

# Any of them brings the bindings; which one depends on how TensorRT was installed.
TENSORRT_PACKAGES = (
    "tensorrt",
    "tensorrt-cu12",
    "tensorrt-cu13",
    "tensorrt-cu12-bindings",
    "tensorrt-cu13-bindings",
)


def installed_version(package: str) -> str | None:
    """Version of an installed package; None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def package_folder(module: str) -> Path | None:
    """The folder of an importable package, without importing it."""
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        return None
    return Path(found.origin).parent


def linked_major(binary: Path, library: str) -> int | None:
    """The N of the `library.so.N` that a shared object names; None if it names none, or is not there."""
    if not binary.is_file() or binary.stat().st_size == 0:
        return None
    with binary.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        found = re.search(re.escape(library.encode()) + rb"\.so\.(\d+)\0", data)
        # Read while the file is still mapped.
        return None if found is None else int(found[1])
