"""Checkpoints and weight files. A checkpoint has tensors in safetensors, and the rest as JSON in its metadata."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nascli.errors import CheckpointError
from nascli.files import replacing, write_atomically

FORMAT = "nascli-checkpoint-1"


def settings_digest(*parts: object) -> str:
    """Return a digest of settings, by which a checkpoint is recognised as theirs.

    Args:
        *parts: What the training depends on: JSON values and dataclasses of them.

    Returns:
        32 hexadecimal digits.
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=_document).encode()).hexdigest()[:32]


def _document(value: Any) -> Any:
    """Return a dataclass as a JSON document: its own one, or all of its fields."""
    return value.to_json() if hasattr(value, "to_json") else asdict(value)


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write a checkpoint. A crash leaves the old file or the new one, never a part of it.

    Args:
        path: File to write.
        tensors: Tensors by name, on any device.
        state: Other values, which JSON can represent.

    Raises:
        CheckpointError: The file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    owned = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"format": FORMAT, "state": json.dumps(dict(state), sort_keys=True)}
    try:
        with replacing(path) as temporary:
            save_file(owned, temporary, metadata=metadata)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(
            f"cannot write {path}: {reason}.", "Free space or choose another folder; nothing is lost."
        ) from error


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a checkpoint.

    Args:
        path: File that `save_checkpoint` wrote.

    Returns:
        Tensors by name, and the other values.

    Raises:
        CheckpointError: The file is missing, damaged, or of another format.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise CheckpointError(f"{path} is not a checkpoint of this version of nascli.")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        state = json.loads(metadata["state"])
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"cannot read the checkpoint {path}: {error}.", "Remove the file to train it anew."
        ) from error
    return tensors, state


def is_trained(path: Path, identity: str) -> bool:
    """Tell whether a file is the checkpoint of a completed training.

    Args:
        path: Checkpoint of a `Trainer`; it need not exist.
        identity: Digest of the training's settings, from `settings_digest`.

    Raises:
        CheckpointError: The file exists and cannot be read.
    """
    if not path.exists():
        return False
    _, state = load_checkpoint(path)
    return state.get("identity") == identity and state.get("step") == state.get("steps")


def save_weights(module: torch.nn.Module, path: Path) -> None:
    """Write a module's parameters and normalisation statistics as a safetensors file, in one step."""
    from safetensors.torch import save

    write_atomically(path, save({k: v.cpu().contiguous() for k, v in module.state_dict().items()}))
