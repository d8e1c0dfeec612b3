"""Which teacher a training has, as data. This module does not import torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from nascli.errors import NascliError
from nascli.supernet.training.distillation import Distillation

__all__ = ["Distillation", "TeacherSource"]


@dataclass(frozen=True)
class TeacherSource:
    """Where a teacher comes from, and how a network learns from it.

    Attributes:
        name: An architecture's .json file, an .onnx file, 'timm:NAME', or 'torchvision:NAME'.
        weights: File of the weights, .safetensors or .pth; None for weights.safetensors beside an architecture's file,
            and for an ONNX file, which has its own.
        resolution: Height and width, in pixels, to which the teacher's images are resized; None for what a file or a
            model of fixed size was made for, and otherwise for the student's.
        distillation: How the network learns from it.

    Raises:
        NascliError: The resolution is not positive.
    """

    name: str
    weights: str | None = None
    resolution: int | None = None
    distillation: Distillation = field(default_factory=Distillation)

    def __post_init__(self) -> None:
        if self.resolution is not None and self.resolution < 1:
            raise NascliError(f"the teacher's resolution must be at least 1, got {self.resolution}.")

    def to_json(self) -> dict[str, Any]:
        """Return the source as a JSON document."""
        return asdict(self)
