"""Checkpoints: tensors in safetensors, everything else as JSON in its metadata; written atomically."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nascli.errors import CheckpointError
from nascli.files import write_atomically

FORMAT = "nascli-checkpoint-1"


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write a checkpoint; a crash leaves the old file or the new one, never half of it.

    Raises:
        CheckpointError: the file cannot be written.
    """
    from safetensors.torch import save as serialise

    owned = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    data = serialise(owned, metadata={"format": FORMAT, "state": json.dumps(dict(state), sort_keys=True)})
    try:
        write_atomically(path, data)
    except OSError as error:
        raise CheckpointError(
            f"cannot write {path}: {error.strerror}.", "Free space or choose another folder; nothing is lost."
        ) from error


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a checkpoint: tensors by name, and the state.

    Raises:
        CheckpointError: missing, damaged, or of another format.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise CheckpointError(f"{path} is not a checkpoint of this version of nascli")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        state = json.loads(metadata["state"])
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"cannot read the checkpoint {path}: {error}.", "Remove the file to train it anew."
        ) from error
    return tensors, state


def save_weights(module: torch.nn.Module, path: Path) -> None:
    """Write a module's parameters and statistics as safetensors, as one step."""
    from safetensors.torch import save

    write_atomically(path, save({k: v.contiguous() for k, v in module.state_dict().items()}))
