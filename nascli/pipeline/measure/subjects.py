"""What is measured for a space or a network, and networks read from files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nascli.costmodel.space_costs import typical_weight_bytes
from nascli.lut.in_context.carriers import subjects_in_context
from nascli.lut.in_context.cold_weights import is_cold
from nascli.lut.in_context.joins import join_models
from nascli.profiles.onnx.model_files import load_model
from nascli.profiles.onnx.networks import read_onnx_network
from nascli.spaces.architecture import Architecture
from nascli.spaces.network import Network
from nascli.spaces.operators.definition import Operator
from nascli.spaces.space import Space


@dataclass(frozen=True)
class Subjects:
    """What a profiling run measures.

    Attributes:
        name: The space's specification, or the network's name.
        distinct: The number of distinct operators.
        models: The operators alone and in context, and the joins of branches.
    """

    name: str
    distinct: int
    models: tuple[Operator, ...]


def space_subjects(space: Space, batch: int) -> list[Operator]:
    """Everything to measure for a space: its operators alone and in context, and the joins of branches."""
    cold = batch if is_cold(typical_weight_bytes(space)) else None
    return [*subjects_in_context(space.distinct_placements(), cold_at_batch=cold), *join_models(space)]


def subjects_of(profiled: Space | Network, batch: int) -> Subjects:
    """What to measure at a batch for every candidate of a space, or for the layers of a network."""
    if isinstance(profiled, Space):
        return Subjects(profiled.spec, len(profiled.operators()), tuple(space_subjects(profiled, batch)))
    distinct = len({operator.program.canonical for operator in profiled.operators})
    cold = batch if is_cold(profiled.counts.weight_bytes) else None
    models = subjects_in_context(profiled.placements, cold_at_batch=cold)
    return Subjects(profiled.name, distinct, tuple(models))


def own_batch(source: Path, batch: int, shapes: Mapping[str, tuple[int, ...]] | None = None) -> int:
    """The batch of a network's file: an .onnx model's own where it is fixed at one, or where shapes are given.

    Args:
        source: An architecture's .json file or an .onnx model.
        batch: The batch of every other file.
        shapes: Shapes by the name of an input, for an .onnx model that leaves sizes open.

    Raises:
        ArchitectureError: An .onnx file cannot be loaded.
    """
    if source.suffix != ".onnx":
        return batch
    return load_model(source, shapes=shapes, default_batch=batch, weights=False).batch


def read_network(
    source: Path | Architecture | Network,
    *,
    batch: int | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> tuple[Network, Architecture | None]:
    """A network, and the architecture that it is where it belongs to a space.

    Args:
        source: An architecture's .json file, an .onnx model, or what such a file would give.
        batch: Samples that pieces of ONNX are written for; None takes an .onnx model's own.
        shapes: Shapes by the name of an input, for an .onnx model that leaves sizes open.

    Raises:
        ArchitectureError: The file cannot be read, or cannot be had at the batch.
    """
    if isinstance(source, Network):
        return source, None
    if isinstance(source, Path):
        if source.suffix == ".onnx":
            return read_onnx_network(source, batch=batch, shapes=shapes), None
        source = Architecture.load(source)
    return source.network, source
