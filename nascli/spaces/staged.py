"""Spaces of stages, each with a depth and a width (Network Space Search's Expanded Search Space).

Unlike in a `Space`, a stage's operators depend on the width before it. A code is a row of depth and width
indices, (d1, w1, d2, w2, ...), each counted from 0: index 3 means a depth of 4.
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
    """Residual networks of some stages with free depths and widths.

    Attributes:
        name: the registered name.
        parameters: what the space was made with.
        input: shape of one sample.
        classes: number of classes.
        strides: of each stage's first block.
        depths: the largest depth of a stage.
        widths: the largest width of a stage.
        stem: width of the first convolution.
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
        """The text that makes this space again."""
        shown = ",".join(f"{k}={v}" for k, v in self.parameters)
        return f"{self.name}:{shown}" if shown else self.name

    @property
    def size(self) -> int:
        """Number of networks, exactly."""
        networks: int = (self.depths * self.widths) ** len(self.strides)
        return networks

    def elite_spaces(self, depths: int = 4, widths: int = 32) -> int:
        """Number of aligned sub-spaces of so many consecutive depths and widths per stage (NSS, 3.1)."""
        aligned: int = (self.depths // depths * (self.widths // widths)) ** len(self.strides)
        return aligned

    def check(self, codes: npt.ArrayLike) -> Population:
        """Codes as a `(n, 2 * stages)` array.

        Raises:
            ArchitectureError: naming the stage, the rule and the value.
        """
        array = np.atleast_2d(np.asarray(codes))
        if array.dtype.kind not in "iu" or array.ndim != 2 or array.shape[1] != 2 * len(self.strides):
            raise ArchitectureError(
                f"space {self.name}: a code has {2 * len(self.strides)} integers, "
                f"got shape {array.shape} of {array.dtype}"
            )
        for column in range(array.shape[1]):
            kind, limit = ("depth", self.depths) if column % 2 == 0 else ("width", self.widths)
            bad = array[(array[:, column] < 0) | (array[:, column] >= limit), column]
            if len(bad):
                raise ArchitectureError(
                    f"space {self.name}, stage {column // 2 + 1}: a {kind} index must be in 0..{limit - 1}, "
                    f"got {bad[0]}"
                )
        return array.astype(np.int16)

    def sample(self, n: int, rng: np.random.Generator) -> Population:
        """`(n, 2 * stages)` codes, uniform over the space."""
        limits = np.tile([self.depths, self.widths], len(self.strides))
        return rng.integers(0, limits, (n, len(limits))).astype(np.int16)

    def features(self, codes: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """What costs are made of.

        Returns:
            `(n, stages + 1, 3)`: per stage MACs, blocks, and elements that its convolutions write; at the end the
            head's MACs, 0, 0. The stem, the same in all networks, is left out.
        """
        rows = self.check(codes).astype(np.int64) + 1
        found = np.zeros((len(rows), len(self.strides) + 1, 3))
        before = np.full(len(rows), self.stem, dtype=np.int64)
        height, width = self.input.height, self.input.width
        for stage, stride in enumerate(self.strides):
            depth, channels = rows[:, 2 * stage], rows[:, 2 * stage + 1]
            height, width = -(-height // stride), -(-width // stride)
            projected = (before != channels) | (stride != 1)
            first = 9 * before * channels + 9 * channels**2 + np.where(projected, before * channels, 0)
            found[:, stage, 0] = height * width * (first + (depth - 1) * 18 * channels**2)
            found[:, stage, 1] = depth
            found[:, stage, 2] = height * width * 2 * depth * channels
            before = channels
        found[:, -1, 0] = before * self.classes
        return found

    @property
    def stem_macs(self) -> int:
        """MACs of the first convolution."""
        return 9 * self.input.channels * self.stem * self.input.height * self.input.width

    def macs(self, codes: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """`(n,)` MACs of networks, in closed form."""
        total: npt.NDArray[np.int64] = (
            self.features(codes)[..., 0].sum(axis=1).astype(np.int64) + self.stem_macs
        )
        return total

    def network(self, code: npt.ArrayLike, name: str | None = None) -> Network:
        """The network of one code."""
        row = self.check(code)
        if len(row) != 1:
            raise ArchitectureError(f"one architecture at a time, got {len(row)}")
        blocks = [FixedBlock("stem", conv_block(self.input, self.stem, act="relu"))]
        for stage, stride in enumerate(self.strides):
            depth, width = (int(value) + 1 for value in row[0][2 * stage : 2 * stage + 2])
            for index in range(depth):
                block = basic_block(blocks[-1].output, width, stride=stride if index == 0 else 1)
                blocks.append(FixedBlock(f"stage{stage + 1}.{index}", block))
        blocks.append(FixedBlock("head", head(blocks[-1].output, self.classes)))
        return Network(name or self.name, tuple(blocks))
