"""One architecture of a space, and its file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nascli.errors import ArchitectureError, NascliError
from nascli.spaces.catalog import make_space
from nascli.spaces.network import Network
from nascli.spaces.space import Population, Space

FORMAT = "nascli-architecture"
VERSION = 1
_LARGEST_FILE = 1 << 20


@dataclass(frozen=True)
class Architecture:
    """A row of codes and the space that gives it meaning."""

    space: Space
    codes: tuple[int, ...]
    name: str = "architecture"

    @staticmethod
    def of(space: Space, code: Population, name: str = "architecture") -> Architecture:
        """Wrap one checked row of codes."""
        row = space.check(code)[0]
        return Architecture(space, tuple(int(c) for c in row), name)

    @property
    def network(self) -> Network:
        """The network that the codes stand for."""
        return self.space.network(self.codes, self.name)

    def to_json(self) -> dict[str, Any]:
        """A document with the codes and, for people, what they choose."""
        chosen = [
            {"layer": layer.name, "operator": layer.operator(code).short}
            for layer, code in zip(self.space.layers, self.codes, strict=True)
        ]
        return {
            "format": FORMAT,
            "version": VERSION,
            "name": self.name,
            "space": {"name": self.space.name, "parameters": dict(self.space.parameters)},
            "codes": list(self.codes),
            "layers": chosen,
        }

    @staticmethod
    def from_json(document: Any) -> Architecture:
        """Read a document back.

        Raises:
            ArchitectureError: not such a document, a newer version, or codes outside the space.
            UnknownNameError: a space that is not known here.
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
            codes = [int(code) for code in document["codes"]]
            name = str(document.get("name", "architecture"))
        except NascliError:
            raise
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ArchitectureError(f"damaged architecture file: {type(error).__name__}: {error}") from error
        return Architecture.of(space, _as_array(codes), name)

    def save(self, path: Path) -> None:
        """Write the architecture's file."""
        path.write_text(json.dumps(self.to_json(), indent=2) + "\n")

    @staticmethod
    def load(path: Path) -> Architecture:
        """Read an architecture's file.

        Raises:
            ArchitectureError: missing, too large, or not an architecture file.
        """
        return Architecture.from_json(read_json(path))


def _as_array(codes: list[int]) -> Population:
    import numpy as np

    try:
        return np.asarray(codes, dtype=np.int64)
    except OverflowError as error:
        raise ArchitectureError(f"codes must fit 64 bits, got {max(codes, key=abs)}") from error


def read_json(path: Path) -> Any:
    """Read a small JSON file from anywhere.

    Raises:
        ArchitectureError: missing, larger than 1 MiB, or not JSON.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ArchitectureError(f"{path} is larger than {_LARGEST_FILE} bytes")
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArchitectureError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ArchitectureError(f"{path} is not valid JSON: {error}") from error


def singleton_space(space: Space, code: Sequence[int]) -> tuple[Space, list[int]]:
    """The space whose only candidates are an architecture's own, and the architecture's code in it."""
    chosen = [layer.chosen(int(c)) or (0,) for layer, c in zip(space.layers, code, strict=True)]
    whole = [
        (1 << len(some)) - 1 if layer.chosen(int(c)) else 0
        for layer, c, some in zip(space.layers, code, chosen, strict=True)
    ]
    codes = whole if space.multi_branch else [0] * len(chosen)
    return space.restricted(f"{space.name}-own", chosen), codes
