"""What a network costs on paper, from a name, an architecture's file, an ONNX file, or a space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nascli.costmodel import counted
from nascli.errors import UnknownNameError
from nascli.pipeline.inspect.listing import describe_space
from nascli.profiles.onnx.model_counts import count_onnx
from nascli.profiles.onnx.model_files import load_model
from nascli.profiles.onnx.piece_check import PieceCheck, check_pieces
from nascli.spaces import Architecture, Counts, Network, count, load_space, space_names
from nascli.spaces.catalog import load_space_of_any_kind
from nascli.spaces.reference_networks import network_names, reference_network
from nascli.spaces.staged import StagedSpace

if TYPE_CHECKING:
    from nascli.pipeline.inspect.fvcore_count import FvcoreComparison


@dataclass(frozen=True)
class BlockCounts:
    """The counts of one block of a network.

    Attributes:
        block: The block's name.
        operator: The operator in it.
        output: The shape of its output, as text.
        counts: Its counts for one sample.
    """

    block: str
    operator: str
    output: str
    counts: Counts


@dataclass(frozen=True)
class NetworkCounts:
    """The counts of a network.

    Attributes:
        title: The network's name, and its space.
        counts: The counts for one sample.
        blocks: The counts of each block.
        fvcore: fvcore's count beside ours; None where it was not asked for.
    """

    title: str
    counts: Counts
    blocks: tuple[BlockCounts, ...]
    fvcore: FvcoreComparison | None = None

    def to_json(self) -> dict[str, object]:
        """The counts as a document."""
        document: dict[str, object] = asdict(self.counts)
        return document if self.fvcore is None else document | {"fvcore": self.fvcore.to_json()}


@dataclass(frozen=True)
class OnnxCounts:
    """The counts of an ONNX model, whatever it is built of.

    Attributes:
        title: The file.
        macs: Multiply-accumulates for one sample.
        params: Parameters.
        not_counted: The kinds of nodes that have no MACs by convention, or are unknown.
        pieces: How the pieces that the file is taken apart into compare with it; None where it was not asked for.
    """

    title: str
    macs: int
    params: int
    not_counted: tuple[str, ...]
    pieces: PieceCheck | None = None

    def to_json(self) -> dict[str, object]:
        """The counts as a document."""
        document: dict[str, object] = {
            "macs": self.macs,
            "params": self.params,
            "not_counted": list(self.not_counted),
        }
        return document if self.pieces is None else document | {"pieces": asdict(self.pieces)}


@dataclass(frozen=True)
class SpaceCounts:
    """The smallest and the largest count of a space's architectures.

    Attributes:
        title: The space.
        ranges: Both by the name of the count: 'macs', 'params', 'weight_bytes'.
    """

    title: str
    ranges: Mapping[str, tuple[int, int]]

    def to_json(self) -> dict[str, object]:
        """The ranges as a document."""
        return {name: list(ends) for name, ends in self.ranges.items()}


def count_target(
    what: str, *, check: bool, shapes: Mapping[str, tuple[int, ...]] | None = None
) -> NetworkCounts | OnnxCounts | SpaceCounts:
    """Count one network, or the range over a space.

    Args:
        what: The name of a reference network, an architecture's .json file, an .onnx file, or a space.
        check: Whether fvcore counts a network too; of an ONNX file, whether the pieces that it is taken apart into
            are put together again and compute what the file computes.
        shapes: Shapes by the name of an ONNX file's input, where the file leaves sizes open.

    Raises:
        NascliError: There is nothing of that name, the file cannot be read, or its pieces compute something else.
        RuntimeUnavailableError: fvcore or ONNX Runtime is needed for the check and not installed.
    """
    if what.endswith(".onnx"):
        macs, params, unknown = count_onnx(Path(what), shapes)
        pieces = check_pieces(load_model(Path(what), shapes=shapes)) if check else None
        return OnnxCounts(what, macs, params, tuple(unknown), pieces)
    if what.endswith(".json"):
        architecture = Architecture.load(Path(what))
        title = f"{architecture.name} of {architecture.space.spec}"
        return _count_network(title, architecture.network, check)
    if what in network_names():
        return _count_network(what, reference_network(what), check)
    if what.partition(":")[0] not in space_names() and ":" not in what and not what.endswith(".toml"):
        raise UnknownNameError(
            "network or space", what, [*network_names(), *space_names()], "Or name a .json or .onnx file."
        )
    return _count_space(what)


def _count_network(title: str, network: Network, check: bool) -> NetworkCounts:
    blocks = tuple(
        BlockCounts(block.name, block.operator.short, str(block.output), count(block.operator.program))
        for block in network.blocks
    )
    comparison = None
    if check:
        from nascli.pipeline.inspect.fvcore_count import compare_with_fvcore

        comparison = compare_with_fvcore(network)
    return NetworkCounts(title, network.counts, blocks, comparison)


def _count_space(spec: str) -> SpaceCounts:
    if isinstance(load_space_of_any_kind(spec), StagedSpace):
        described = describe_space(spec)
        return SpaceCounts(spec, {"macs": described.macs, "params": described.params})
    space = load_space(spec)
    costs = {name: counted(space, name) for name in ("macs", "params", "weight_bytes")}
    return SpaceCounts(
        space.spec, {name: (round(cost.minimum), round(cost.maximum)) for name, cost in costs.items()}
    )
