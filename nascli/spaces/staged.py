"""Spaces of networks with stages of free depth and width (the Expanded Search Space of Network Space Search).

Unlike in a `Space`, the operators of a stage depend on the width of the stage before. An architecture is a row of
depth and width indices (d1, w1, d2, w2, ...), counted from 0: index 3 means a depth of 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nascli.errors import ArchitectureError, SpaceError
from nascli.spaces.blocks import FixedBlock
from nascli.spaces.network import Network
from nascli.spaces.operators.basic import conv_block, head
from nascli.spaces.operators.residual_blocks import basic_block
from nascli.spaces.primitives import Shape
from nascli.spaces.space import Parameter, Population


@dataclass(frozen=True)
class StagedSpace:
    """A space of residual networks whose stages have free depths and widths.

    Attributes:
        name: Name under which the space is registered.
        parameters: Name and value of every parameter that is not at its default.
        input: Shape of one input sample.
        classes: Number of classes.
        strides: For each stage, the stride of its first block.
        depths: Maximum depth of a stage.
        widths: Maximum width of a stage.
        stem: Width of the first convolution.

    Raises:
        SpaceError: A size is too small.
    """

    name: str
    parameters: tuple[tuple[str, Parameter], ...]
    input: Shape
    classes: int
    strides: tuple[int, ...]
    depths: int
    widths: int
    stem: int

    def __post_init__(self) -> None:
        if min(self.depths, self.widths, self.stem) < 1 or self.classes < 2:
            raise SpaceError(
                f"depths, widths and stem must be at least 1 and classes at least 2, got {self.depths}, "
                f"{self.widths}, {self.stem}, {self.classes}"
            )

    @property
    def spec(self) -> str:
        """The text from which `load_space_of_any_kind` makes this space again."""
        parameters = ",".join(f"{k}={v}" for k, v in self.parameters)
        return f"{self.name}:{parameters}" if parameters else self.name

    @property
    def size(self) -> int:
        """Number of networks, exactly."""
        networks: int = (self.depths * self.widths) ** len(self.strides)
        return networks

    def check(self, population: npt.ArrayLike) -> Population:
        """Return a population as an array, after checking that it belongs to this space.

        Args:
            population: `(n, 2 * stages)` integers, or one architecture `(2 * stages,)`.

        Returns:
            `(n, 2 * stages)` array of int16.

        Raises:
            ArchitectureError: The shape or the type is wrong, or an index is out of range. The message names the
                stage, the rule, and the value.
        """
        array = np.atleast_2d(np.asarray(population))
        if array.dtype.kind not in "iu" or array.ndim != 2 or array.shape[1] != 2 * len(self.strides):
            raise ArchitectureError(
                f"space {self.name}: an architecture has {2 * len(self.strides)} integers, "
                f"got shape {array.shape} of {array.dtype}"
            )
        for column in range(array.shape[1]):
            kind, limit = ("depth", self.depths) if column % 2 == 0 else ("width", self.widths)
            outside = array[(array[:, column] < 0) | (array[:, column] >= limit), column]
            if len(outside):
                raise ArchitectureError(
                    f"space {self.name}, stage {column // 2 + 1}: a {kind} index must be in 0..{limit - 1}, "
                    f"got {outside[0]}"
                )
        return array.astype(np.int16)

    def sample(self, n: int, rng: np.random.Generator) -> Population:
        """Draw `(n, 2 * stages)` architectures uniformly from the whole space."""
        limits = np.tile([self.depths, self.widths], len(self.strides))
        return rng.integers(0, limits, (n, len(limits))).astype(np.int16)

    def features(self, population: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the quantities that costs of staged networks are linear in.

        Returns:
            `(n, stages + 1, 3)`: for each stage its MACs, its number of blocks, and the number of elements that its
            convolutions write. The last row has the MACs of the head, 0, and 0. The stem, which all networks share,
            is left out.
        """
        rows = self.check(population).astype(np.int64) + 1
        features = np.zeros((len(rows), len(self.strides) + 1, 3))
        before = np.full(len(rows), self.stem, dtype=np.int64)
        height, width = self.input.height, self.input.width
        for stage, stride in enumerate(self.strides):
            depth, channels = rows[:, 2 * stage], rows[:, 2 * stage + 1]
            height, width = -(-height // stride), -(-width // stride)
            projected = (before != channels) | (stride != 1)
            first = 9 * before * channels + 9 * channels**2 + np.where(projected, before * channels, 0)
            features[:, stage, 0] = height * width * (first + (depth - 1) * 18 * channels**2)
            features[:, stage, 1] = depth
            features[:, stage, 2] = height * width * 2 * depth * channels
            before = channels
        features[:, -1, 0] = before * self.classes
        return features

    @property
    def stem_macs(self) -> int:
        """MACs of the first convolution."""
        return 9 * self.input.channels * self.stem * self.input.height * self.input.width

    def macs(self, population: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Return the `(n,)` MACs of networks, in closed form."""
        total: npt.NDArray[np.int64] = (
            self.features(population)[..., 0].sum(axis=1).astype(np.int64) + self.stem_macs
        )
        return total

    def network(self, architecture: npt.ArrayLike, name: str | None = None) -> Network:
        """Return the network of one architecture `(2 * stages,)`.

        Raises:
            ArchitectureError: The architecture does not belong to the space, or there are several.
        """
        population = self.check(architecture)
        if len(population) != 1:
            raise ArchitectureError(f"one architecture at a time, got {len(population)}")
        blocks = [FixedBlock("stem", conv_block(self.input, self.stem, act="relu"))]
        for stage, stride in enumerate(self.strides):
            depth, width = (int(index) + 1 for index in population[0][2 * stage : 2 * stage + 2])
            for number in range(depth):
                block = basic_block(blocks[-1].output, width, stride=stride if number == 0 else 1)
                blocks.append(FixedBlock(f"stage{stage + 1}.{number}", block))
        blocks.append(FixedBlock("head", head(blocks[-1].output, self.classes)))
        return Network(name or self.name, tuple(blocks))
