"""What the inputs of a measured model are: their shapes, and their values."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nascli.errors import DataError
from nascli.profiles.onnx.external_data import available_memory
from nascli.profiles.target import Target

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ModelFeed:
    """The inputs with which models are measured.

    Attributes:
        shapes: Shapes by the name of an input, for inputs whose file leaves sizes open.
        integer_range: The lowest and the highest of random integers. None takes indices that lie within the table
            which an input indexes, and else 0 and 1.
        values: Values by the name of an input, instead of random ones.
    """

    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    integer_range: tuple[int, int] | None = None
    values: Mapping[str, Array] = field(default_factory=dict)

    @property
    def known_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes that are given, or that given values have."""
        return {name: tuple(value.shape) for name, value in self.values.items()} | dict(self.shapes)

    def on(self, target: Target) -> Target:
        """Return a target on which models are run with these inputs."""
        options = replace(
            target.options, integer_range=self.integer_range or (0, 1), inputs=dict(self.values)
        )
        return replace(target, options=options)


def read_values(path: Path) -> dict[str, Array]:
    """Read values of inputs by name from an .npz file of numpy.

    Raises:
        DataError: The file cannot be read, holds Python objects, or does not fit into memory.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        available = available_memory()
        if available is not None and size > available:
            raise DataError(
                f"{path} holds {size / 1e9:.1f} GB, and {available / 1e9:.1f} GB of memory are available."
            )
        with np.load(path, allow_pickle=False) as file:
            values = {name: np.asarray(file[name]) for name in file.files}
    except DataError:
        raise
    except (
        OSError,
        ValueError,
        KeyError,
        EOFError,
        MemoryError,
        zipfile.BadZipFile,
        NotImplementedError,
    ) as error:
        raise DataError(
            f"cannot read {path}: {error}", "Values of inputs come from an .npz file (numpy.savez)."
        ) from error
    if not values:
        raise DataError(f"{path} holds no values.")
    return values
