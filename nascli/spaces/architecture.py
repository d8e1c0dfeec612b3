"""Architectures together with their space, and the files that hold them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nascli.errors import ArchitectureError, NascliError
from nascli.spaces.catalog import make_space
from nascli.spaces.network import Network
from nascli.spaces.space import Population, Space

FORMAT = "nascli-architecture"
VERSION = 1
_MAX_FILE_BYTES = 1 << 20


@dataclass(frozen=True)
class Architecture:
    """One architecture and the space that it belongs to.

    Attributes:
        space: The space.
        choices: One choice per layer of the space.
        name: Name of the architecture.
    """

    space: Space
    choices: tuple[int, ...]
    name: str = "architecture"

    @staticmethod
    def of(space: Space, choices: Sequence[int] | Population, name: str = "architecture") -> Architecture:
        """Make an architecture from `(layers,)` choices that are checked first.

        Raises:
            ArchitectureError: The choices do not belong to the space.
        """
        row = space.check(choices)[0]
        return Architecture(space, tuple(int(choice) for choice in row), name)

    @property
    def network(self) -> Network:
        """The network of the architecture."""
        return self.space.network(self.choices, self.name)

    def to_json(self) -> dict[str, Any]:
        """Return a document with the choices, and with the operators that they choose in readable form."""
        operators = [
            {"layer": layer.name, "operator": layer.operator(choice).short}
            for layer, choice in zip(self.space.layers, self.choices, strict=True)
        ]
        return {
            "format": FORMAT,
            "version": VERSION,
            "name": self.name,
            "space": {"name": self.space.name, "parameters": dict(self.space.parameters)},
            "codes": list(self.choices),
            "layers": operators,
        }

    @staticmethod
    def from_json(document: Any) -> Architecture:
        """Read a document that `to_json` made.

        Raises:
            ArchitectureError: The document is not an architecture, has another version, or has choices outside
                the space.
            UnknownNameError: The space is not known here.
        """
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise ArchitectureError(f"not an architecture file: its format is not {FORMAT!r}")
        version = document.get("version")
        if version != VERSION:
            raise ArchitectureError(
                f"architecture file of version {version!r}; this nascli reads version {VERSION}",
                "Upgrade nascli: pip install --upgrade nascli",
            )
        try:
            space_document = document["space"]
            space = make_space(str(space_document["name"]), **dict(space_document["parameters"]))
            choices = [int(choice) for choice in document["codes"]]
            name = str(document.get("name", "architecture"))
        except NascliError:
            raise
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ArchitectureError(f"damaged architecture file: {type(error).__name__}: {error}") from error
        try:
            row = np.asarray(choices, dtype=np.int64)
        except OverflowError as error:
            raise ArchitectureError(f"choices must fit 64 bits, got {max(choices, key=abs)}") from error
        return Architecture.of(space, row, name)

    def save(self, path: Path) -> None:
        """Write the architecture to a JSON file."""
        path.write_text(json.dumps(self.to_json(), indent=2) + "\n")

    @staticmethod
    def load(path: Path) -> Architecture:
        """Read an architecture from a JSON file.

        Raises:
            ArchitectureError: The file is missing, too large, or not an architecture.
            UnknownNameError: The space is not known here.
        """
        return Architecture.from_json(read_json(path))


def read_json(path: Path) -> Any:
    """Read a JSON file of at most 1 MiB, whoever wrote it.

    Raises:
        ArchitectureError: The file is missing, too large, or not JSON.
    """
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise ArchitectureError(f"{path} is larger than {_MAX_FILE_BYTES} bytes")
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArchitectureError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ArchitectureError(f"{path} is not valid JSON: {error}") from error


def singleton_space(space: Space, architecture: Sequence[int]) -> tuple[Space, list[int]]:
    """Return the space whose only candidates are those of one architecture, and that architecture in it.

    A skipped multi-branch layer keeps its first candidate, because a layer needs one, and does not choose it.

    Args:
        space: Single-path or multi-branch space.
        architecture: `(layers,)` choices in `space`.

    Returns:
        The restricted space, and the architecture's choices in it.
    """
    pairs = [(layer, int(choice)) for layer, choice in zip(space.layers, architecture, strict=True)]
    subsets = [layer.chosen(choice) or (0,) for layer, choice in pairs]
    choices = [0] * len(pairs)
    if space.multi_branch:
        choices = [(1 << len(layer.chosen(choice))) - 1 for layer, choice in pairs]
    return space.restricted(f"{space.name}-own", subsets), choices
