"""Static shapes for the inputs of an ONNX model that leaves sizes open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx

from nascli.errors import ArchitectureError, Remedy
from nascli.profiles.onnx.opaque import known_element

# A size of an input: a number, the name of an open size, or None for an open size without a name.
Size = int | str | None
# Sizes that an error proposes for open ones.
_IMAGE_SIZE, _LENGTH = 224, 128


def fix_inputs(
    model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]], batch: int | None, default_batch: int
) -> int:
    """Give every input of a model a static shape.

    An input takes the shape that is given for it. Elsewhere, the first size is the batch if it is open, and an open
    size with a name takes the value that the name has at another input.

    Args:
        model: The model, whose inputs are changed.
        shapes: Whole shapes by the name of an input.
        batch: Samples that are wanted; None leaves it to the model.
        default_batch: Samples where neither `batch` nor the model says how many.

    Returns:
        The first size of the first input that has sizes, else 1. It differs from `batch` where the model is fixed at
        another one.

    Raises:
        ArchitectureError: The model has no inputs, an input is no tensor or is empty, a shape does not fit, or a size
            stays open.
    """
    graph = model.graph
    defaults = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in defaults]
    if not inputs:
        raise ArchitectureError("the model has no inputs, so that everything in it is a constant")
    unknown = sorted(set(shapes) - {value.name for value in inputs})
    if unknown:
        names = ", ".join(value.name for value in inputs)
        raise ArchitectureError(
            f"the model has no input {unknown[0]!r}.",
            f"Its inputs are {names}.",
            Remedy(arguments={"shapes": None}),
        )
    declared = {value.name: _declared(value) for value in inputs}
    symbols: dict[str, int] = {}
    for name, shape in shapes.items():
        _take(name, declared[name], shape, symbols)
    own = next((sizes[0] for sizes in declared.values() if sizes and isinstance(sizes[0], int)), None)
    # A model that is fixed at one batch is fixed at it everywhere; what it is asked for comes later.
    samples = own or batch or default_batch
    fixed = {name: tuple(shapes[name]) for name in shapes}
    for name, sizes in declared.items():
        if name not in shapes:
            fixed[name] = _closed(name, sizes, symbols, samples)
        if 0 in fixed[name]:
            raise ArchitectureError(
                f"input {name!r} has no elements: {_as_text(fixed[name])}.",
                "Give it a shape with elements.",
                Remedy(arguments={"shapes": None}),
            )
    for value in inputs:
        tensor = value.type.tensor_type
        tensor.shape.Clear()
        # Without sizes, it must be said that there are none.
        tensor.shape.SetInParent()
        for size in fixed[value.name]:
            tensor.shape.dim.add().dim_value = size
    return next((shape[0] for shape in (fixed[value.name] for value in inputs) if shape), 1)


def _declared(value: onnx.ValueInfoProto) -> list[Size] | None:
    """Return the sizes that the file declares; None where it does not even say how many there are."""
    if value.type.WhichOneof("value") != "tensor_type":
        kind = (value.type.WhichOneof("value") or "unknown_type").removesuffix("_type").replace("_", " ")
        raise ArchitectureError(
            f"input {value.name!r} has the type {kind}, and values can be made for tensors only"
        )
    tensor = value.type.tensor_type
    if known_element(tensor.elem_type) is None:
        raise ArchitectureError(f"input {value.name!r} has the unknown element type {tensor.elem_type}")
    if not tensor.HasField("shape"):
        return None
    sizes: list[Size] = []
    for dim in tensor.shape.dim:
        if dim.HasField("dim_value") and dim.dim_value >= 0:
            sizes.append(int(dim.dim_value))
        else:
            sizes.append(dim.dim_param or None)
    return sizes


def _take(name: str, sizes: list[Size] | None, shape: Sequence[int], symbols: dict[str, int]) -> None:
    """Check the given shape of an input against what the file declares, and learn the values of names."""
    if sizes is None:
        return
    fits = len(sizes) == len(shape)
    for size, given in zip(sizes, shape, strict=False):
        if isinstance(size, str):
            fits = fits and symbols.setdefault(size, given) == given
        elif size is not None:
            fits = fits and size == given
    if not fits:
        raise ArchitectureError(
            f"input {name!r} of the model is {_as_text(sizes)}, which is not {_as_text(shape)}.",
            "Give a shape that fits; a batch is given as such.",
            Remedy(arguments={"shapes": None}),
            Remedy(arguments={"batch": None}),
        )


def _closed(name: str, sizes: list[Size] | None, symbols: dict[str, int], batch: int) -> tuple[int, ...]:
    """Return an input's sizes with those that are open filled in."""
    if sizes is None:
        raise ArchitectureError(
            f"the model does not say how many sizes input {name!r} has, so shapes cannot be inferred.",
            "Give its whole shape.",
            Remedy(arguments={"shapes": f"{name}={batch}x3x{_IMAGE_SIZE}x{_IMAGE_SIZE}"}),
        )
    closed: list[int | None] = []
    for position, size in enumerate(sizes):
        if isinstance(size, int):
            closed.append(size)
        elif isinstance(size, str) and size in symbols:
            closed.append(symbols[size])
        else:
            closed.append(batch if position == 0 else None)
    if None in closed:
        likely = _IMAGE_SIZE if len(sizes) == 4 else _LENGTH
        proposed = [likely if size is None else size for size in closed]
        raise ArchitectureError(
            f"input {name!r} leaves sizes open: {_as_text(sizes)}. So shapes cannot be inferred.",
            "Give its whole shape, such as",
            Remedy(arguments={"shapes": f"{name}={_as_text(proposed)}"}),
        )
    return tuple(size for size in closed if size is not None)


def _as_text(sizes: Sequence[Size]) -> str:
    return "x".join("?" if size is None else str(size) for size in sizes) or "a scalar"
