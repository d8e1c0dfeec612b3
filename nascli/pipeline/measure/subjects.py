"""What is measured for a space or a network."""

from __future__ import annotations

from pathlib import Path

from nascli.lut.in_context.carriers import subjects_in_context
from nascli.lut.in_context.joins import join_models
from nascli.profiles.onnx.reader import read_onnx_network
from nascli.spaces.architecture import Architecture
from nascli.spaces.catalog import load_space
from nascli.spaces.network import Network
from nascli.spaces.operators.definition import Operator
from nascli.spaces.space import Space


def space_subjects(space: Space) -> list[Operator]:
    """Everything to measure for a space: its operators alone and in context, and the joins of branches."""
    return [*subjects_in_context(space.distinct_placements()), *join_models(space)]


def subjects_of(space: str, network: Path | None) -> tuple[str, int, list[Operator]]:
    """What a user wants profiled: a name for it, how many distinct operators it has, and what to measure.

    Args:
        space: a space's name and parameters; every candidate of it is meant.
        network: an architecture's file, or an ONNX model, whose own layers are meant instead.
    """
    if network is None:
        known = load_space(space)
        return known.spec, len(known.operators()), space_subjects(known)
    found, _ = read_network(network)
    distinct = len({operator.program.canonical for operator in found.operators})
    return found.name, distinct, subjects_in_context(found.placements)


def read_network(path: Path) -> tuple[Network, Architecture | None]:
    """A network from an architecture's file, with that architecture, or from an ONNX model.

    Raises:
        ArchitectureError: unreadable, or built of what nascli has no primitive for.
    """
    if path.suffix == ".onnx":
        return read_onnx_network(path), None
    architecture = Architecture.load(path)
    return architecture.network, architecture
