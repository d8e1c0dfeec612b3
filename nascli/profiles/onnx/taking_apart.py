"""Taking a graph of ONNX apart into operators: programs of primitives where there are some, else pieces of ONNX.

Nothing is lost: every node belongs to a piece, and the MACs of the pieces add up to those of the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import onnx

from nascli.errors import ArchitectureError, SpaceError
from nascli.profiles.onnx.cuts import Segment, cut, join
from nascli.profiles.onnx.model import OnnxModel
from nascli.profiles.onnx.opaque import opaque_graph
from nascli.profiles.onnx.reader import UnreadableNodeError, Weights, read_program, split_program
from nascli.spaces.counts import count
from nascli.spaces.opaque_graphs import sample_shape
from nascli.spaces.operators.definition import Operator
from nascli.spaces.primitives import Opaque, Shape
from nascli.spaces.programs import Builder, Program

# What runtimes compute together with the convolution or the matrix product before it: such nodes are no pieces of
# their own.
_FUSED = frozenset((
    "Add", "Sub", "Mul", "Div", "Pow", "Sqrt", "BatchNormalization", "Cast", "Identity", "Dropout", "Relu", "Clip",
    "LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "Gelu", "Erf", "Tanh", "Sigmoid", "HardSigmoid", "HardSwish",
    "Softplus", "Mish",
))  # fmt: skip
# The number of types of nodes that a label names.
_NAMED_KINDS = 6


@dataclass(frozen=True)
class Piece:
    """A part of a graph, and the operator that it is.

    Attributes:
        operators: The operators, which follow one another: one for a piece of ONNX, one or more for primitives.
        segment: The nodes of the file.
        reason: Why it is a piece of ONNX; None for primitives.
        weights: Weights of primitives by their names in the chained program of the operators, if they were kept.
    """

    operators: tuple[Operator, ...]
    segment: Segment
    reason: str | None
    weights: Weights = field(default_factory=dict)


@dataclass(frozen=True)
class _Unread:
    """A segment without primitives: its MACs for the whole batch, and why it has none."""

    segment: Segment
    macs: int
    reason: str

    @property
    def fuses(self) -> bool:
        return not self.macs and all(node.op_type in _FUSED for node in self.segment.nodes)


def take_apart(model: OnnxModel, *, keep_weights: bool = False) -> list[Piece]:
    """Take a model apart.

    Args:
        model: The model, with folded constants.
        keep_weights: Whether the weights of primitives are read.

    Raises:
        ArchitectureError: No output depends on an input, a shape that a cut needs is unknown, or the pieces do not
            add up to the whole.
    """
    segments = cut(
        model.proto.graph.node, [name for name, _ in model.inputs], [name for name, _ in model.outputs]
    )
    pieces: list[Piece] = []
    unread: list[_Unread] = []
    position = 0
    while position < len(segments):
        run, why = _read_run(segments[position:], model, keep_weights)
        if run is None:
            unread.append(_Unread(segments[position], _macs(segments[position].nodes, model), why))
            position += 1
            continue
        pieces += _opaque_pieces(unread, model)
        unread = []
        piece, length = run
        pieces.append(piece)
        position += length
    pieces += _opaque_pieces(unread, model)
    _check_sum(pieces, model)
    return pieces


def _read_run(
    segments: Sequence[Segment], model: OnnxModel, keep_weights: bool
) -> tuple[tuple[Piece, int] | None, str]:
    """Read as many segments as have primitives, from the first on.

    Returns:
        The piece and the number of its segments; None if the first segment has none. And the reason why reading ended.
    """
    kind = model.types.get(segments[0].source)
    # Primitives compute in fp32, whatever precision they are measured in; a model in fp16 stays what it is.
    if (
        kind is None
        or kind.element != "float32"
        or not (kind.is_image or kind.is_vector)
        or kind.dims[0] != model.batch
    ):
        return None, f"it reads a value {kind}, which primitives do not"
    shape = Shape(*sample_shape(kind, model.batch))
    reason = ""
    length = next(
        (number for number, segment in enumerate(segments) if segment.inputs or segment.outputs),
        len(segments),
    )
    while length:
        joined = join(segments[:length])
        try:
            program, weights = read_program(
                joined.nodes, (joined.source, shape), joined.output, initializers=model.initializers,
                batch=model.batch, is_vector=kind.is_vector, keep_weights=keep_weights,
            )  # fmt: skip
            _check_output(program, model, joined.output, from_vector=kind.is_vector)
            return (Piece(tuple(split_program(program)), joined, None, weights), length), reason
        except UnreadableNodeError as error:
            # What is before the node was read, unless it needs the node to make sense.
            failed = _segment_of(joined.nodes[error.position], segments[:length])
            length = min(failed, length - 1)
            reason = error.message
        except (SpaceError, ArchitectureError) as error:
            length -= 1
            reason = error.message
    return None, reason or "it has inputs or outputs of the model"


def _segment_of(node: onnx.NodeProto, segments: Sequence[Segment]) -> int:
    return next(
        number for number, segment in enumerate(segments) if any(other is node for other in segment.nodes)
    )


def _check_output(program: Program, model: OnnxModel, name: str, *, from_vector: bool) -> None:
    """Check that what was read gives a value of the type that the graph says.

    A vector that primitives hold with height and width, as behind global pooling, is no vector to a piece behind it.

    Raises:
        ArchitectureError: It gives another.
    """
    kind = model.types.get(name)
    if program.output == 0:
        raise ArchitectureError("it only passes its input on")
    if kind is None:
        raise ArchitectureError(f"the shape of {name!r} cannot be inferred")
    if (
        not (kind.is_image or kind.is_vector)
        or Shape(*sample_shape(kind, model.batch)) != program.output_shape
    ):
        raise ArchitectureError(f"read as {program.output_shape}, but {name!r} is {kind}")
    is_read = name not in [output for output, _ in model.outputs]
    if kind.is_vector and is_read and not from_vector and program.output not in program.flat:
        raise ArchitectureError(f"{name!r} is a vector with height and width")


def _opaque_pieces(unread: Sequence[_Unread], model: OnnxModel) -> list[Piece]:
    """Return pieces of ONNX for consecutive segments without primitives.

    A segment with MACs takes the element-wise ones behind it along. What else has no MACs is a piece of its own, so
    that equal blocks of a network stay equal whatever stands between them.
    """
    groups: list[list[_Unread]] = []
    for item in unread:
        follows_light = bool(groups) and not any(other.macs for other in groups[-1])
        if groups and (item.fuses or (not item.macs and follows_light)):
            groups[-1].append(item)
        else:
            groups.append([item])
    return [_opaque_piece(join([item.segment for item in group]), model, group[0].reason) for group in groups]


def _opaque_piece(segment: Segment, model: OnnxModel, reason: str) -> Piece:
    try:
        piece = opaque_graph(
            segment.nodes,
            [segment.source, *segment.inputs],
            [segment.output, *segment.outputs],
            types=model.types,
            initializers=model.initializers,
            opset=model.opset,
            batch=model.batch,
        )
        builder = Builder(Shape(*sample_shape(piece.inputs[0], model.batch)))
        program = builder.build(builder.append(Opaque(piece.text), (0,)))
    except SpaceError as error:
        raise ArchitectureError(error.message, error.hint) from error
    kinds = list(dict.fromkeys(node.op_type for node in segment.nodes))
    more = f"-and {len(kinds) - _NAMED_KINDS} more" if len(kinds) > _NAMED_KINDS else ""
    return Piece((Operator("-".join(kinds[:_NAMED_KINDS]) + more, (), program),), segment, reason)


def _macs(nodes: Sequence[onnx.NodeProto], model: OnnxModel) -> int:
    """Return the MACs of nodes of the file for the whole batch."""
    return sum(model.macs_of(node) or 0 for node in nodes)


def _check_sum(pieces: Sequence[Piece], model: OnnxModel) -> None:
    """Check that the MACs of the operators are those of the file's nodes, piece by piece.

    Raises:
        ArchitectureError: They are not; the error names the piece.
    """
    for piece in pieces:
        in_file = _macs(piece.segment.nodes, model)
        in_operators = sum(count(operator.program).macs for operator in piece.operators) * model.batch
        rounding = model.batch if piece.reason is not None else 0
        if not in_file <= in_operators <= in_file + rounding:
            raise ArchitectureError(
                f"the pieces do not add up: {piece.segment.source!r} to {piece.segment.output!r} has {in_file} MACs "
                f"in the file and {in_operators} as operators"
            )
