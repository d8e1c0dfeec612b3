"""ONNX Runtime's package, imported so that it sends nothing.

From version 1.29 on, its packages for Linux and macOS report every session to their maker, with names and digests of
models, unless the environment forbids it before the package is loaded.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any


@lru_cache(maxsize=1)
def onnxruntime_package() -> Any:
    """Return the package, without its telemetry.

    Raises:
        ImportError: It is not installed.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    # Where somebody else imported it before, at least what follows is not reported.
    onnxruntime.disable_telemetry_events()
    return onnxruntime
