"""Files of weights that others wrote. Nothing in them is believed: no code runs while they are read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nascli.errors import CheckpointError

SUFFIXES = (".safetensors", ".pth", ".pt")
# Under these names training scripts keep the weights beside other state.
_GROUPS = ("state_dict", "model")
# Before this version a file could run code in spite of `weights_only` (CVE-2025-32434).
_SAFE_TORCH = (2, 6)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a file of weights as tensors by name.

    Args:
        path: A .safetensors file, or a .pth or .pt file that holds a dictionary of tensors, alone or under the name
            'state_dict' or 'model'. Of names that all begin with 'module.', as DistributedDataParallel writes them,
            that is cut off.

    Raises:
        CheckpointError: The file cannot be read, is of another kind, or holds something else than tensors; or the
            installed torch cannot read it safely.
    """
    if path.suffix not in SUFFIXES:
        raise CheckpointError(f"weights are read from {', '.join(SUFFIXES)} files, not from {path}.")
    if not path.is_file():
        raise CheckpointError(f"cannot read {path}: there is no such file.")
    document = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    for group in _GROUPS:
        if isinstance(document, Mapping) and isinstance(document.get(group), Mapping):
            document = document[group]
            break
    if not isinstance(document, Mapping) or not document:
        raise CheckpointError(f"{path} holds no weights, but {type(document).__name__}.")
    for name, value in document.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise CheckpointError(
                f"{path} holds more than weights: {name!r} is of the type {type(value).__name__}.",
                "Save the model's state_dict() alone.",
            )
    prefix = "module."
    if all(name.startswith(prefix) for name in document):
        return {name.removeprefix(prefix): value for name, value in document.items()}
    return dict(document)


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error


def _read_pickle(path: Path) -> Any:
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if version < _SAFE_TORCH:
        raise CheckpointError(
            f"torch {torch.__version__} cannot read {path} safely.",
            "Install torch 2.6 or later, or convert the file to .safetensors.",
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # Unpickling a hostile or damaged file raises almost anything.
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"cannot read {path} as weights: {reason}",
            "Save the model's state_dict() with torch.save, or as .safetensors.",
        ) from error
