"""Spaces that a TOML file describes.

    name = "my-space"
    input = [1, 28, 28]

    [[blocks]]
    name = "stem"
    operator = "conv_block"
    arguments = {out = 16, stride = 2}

    [[blocks]]
    name = "body"
    repeat = 3
    stride = 2
    skip = true
    candidates = [
        {operator = "mbconv", arguments = {out = 24, kernel = 3, expand = 3}},
        {operator = "mbconv", arguments = {out = 24, kernel = 5, expand = 6}},
    ]

    [[blocks]]
    name = "head"
    operator = "head"
    arguments = {classes = 10, features = 128}

`operator` is the name of an operator family. `stride` applies to the first repetition, `skip` adds the identity where
the shape allows it, and `branches` above 1 makes the layers multi-branch. The resulting space has the parameters
`resolution`, `channels`, and `classes`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from nascli.errors import SpaceError
from nascli.spaces.blocks import Block, FixedBlock, Layer
from nascli.spaces.operators.basic import identity
from nascli.spaces.operators.definition import Operator
from nascli.spaces.operators.registry import operator_family
from nascli.spaces.primitives import Shape
from nascli.spaces.space import Space

_MAX_FILE_BYTES = 1 << 20
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Size = Annotated[int, Field(ge=1, le=1 << 16)]
Argument = bool | int | float | str | list[int]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Operator(_Strict):
    operator: str
    arguments: dict[str, Argument] = {}


class _Block(_Strict):
    name: Name
    operator: str | None = None
    arguments: dict[str, Argument] = {}
    candidates: Annotated[list[_Operator], Field(max_length=4096)] = []
    repeat: Annotated[int, Field(ge=1, le=1024)] = 1
    stride: Annotated[int, Field(ge=1, le=16)] = 1
    skip: bool = False
    branches: Annotated[int, Field(ge=1, le=62)] = 1


class _File(_Strict):
    name: Name
    about: str = ""
    input: Annotated[list[Size], Field(min_length=3, max_length=3)]
    blocks: Annotated[list[_Block], Field(min_length=1, max_length=1024)]


def _call(family: str, arguments: dict[str, Argument], shape: Shape) -> Operator:
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items()}
    try:
        return operator_family(family)(shape, **values)
    except (TypeError, ValueError, ArithmeticError) as error:
        # The types of values in a file are not checked before they reach the operator.
        listing = ", ".join(f"{name}={value!r}" for name, value in values.items())
        raise SpaceError(f"operator {family}({listing}) cannot be built: {error}") from error


def _candidate(description: _Operator, shape: Shape, stride: int) -> Operator:
    arguments = dict(description.arguments)
    if stride > 1:
        arguments["stride"] = stride
    return _call(description.operator, arguments, shape)


def _layer(block: _Block, name: str, shape: Shape, stride: int) -> Layer:
    candidates = [_candidate(c, shape, stride) for c in block.candidates]
    if block.skip and candidates[0].output == shape and block.branches == 1:
        candidates.append(identity(shape))
    if block.branches == 1:
        return Layer(name, tuple(candidates))
    join = "normal" if candidates[0].output == shape else "reduction"
    return Layer(name, tuple(candidates), join, block.branches)  # type: ignore[arg-type]


def _build(document: _File, resolution: int, channels: int, classes: int) -> Space:
    shape = Shape(
        channels or document.input[0], resolution or document.input[1], resolution or document.input[2]
    )
    blocks: list[Block] = []
    for block in document.blocks:
        if (block.operator is None) == (not block.candidates):
            raise SpaceError(f"block {block.name}: give either an operator or candidates")
        for index in range(block.repeat):
            name = block.name if block.repeat == 1 else f"{block.name}.{index}"
            stride = block.stride if index == 0 else 1
            try:
                if block.operator is None:
                    layer = _layer(block, name, shape, stride)
                    blocks.append(layer)
                    shape = layer.output
                    continue
                arguments = dict(block.arguments)
                if classes and "classes" in arguments:
                    arguments["classes"] = classes
                fixed = _candidate(_Operator(operator=block.operator, arguments=arguments), shape, stride)
            except SpaceError as error:
                raise SpaceError(f"block {name}: {error.message}") from error
            blocks.append(FixedBlock(name, fixed))
            shape = fixed.output
    return Space(document.name, (), tuple(blocks))


def read_space_file(path: Path) -> tuple[str, Callable[..., Space]]:
    """Read a TOML file that describes a space.

    Returns:
        The name of the space, and the function that makes it.

    Raises:
        SpaceError: The file is unreadable, larger than 1 MiB, has an unknown key or operator, or describes a space
            that breaks a rule.
    """
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise SpaceError(f"{path} is larger than {_MAX_FILE_BYTES} bytes")
        document = _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise SpaceError(f"cannot read {path}: {error.strerror}") from error
    except ValidationError as error:
        raise SpaceError(f"{path}: {_explain(error)}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SpaceError(f"{path} is not valid TOML: {error}") from error

    def factory(*, resolution: int = 0, channels: int = 0, classes: int = 0) -> Space:
        return _build(document, resolution, channels, classes)

    factory.__doc__ = document.about or f"A space described in {path.name}."
    factory()
    return document.name, factory


def _explain(error: ValidationError) -> str:
    first: Any = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown key {where}"
    return f"{where}: {first['msg']}"
