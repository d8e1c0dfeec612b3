"""Spaces by name and parameters, built-in or from a file of the user."""

from __future__ import annotations

import inspect
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from nascli.errors import NascliError, Remedy, SpaceError, UnknownNameError
from nascli.plugins import load_python_file
from nascli.spaces.registry import Factory, factories
from nascli.spaces.space import Parameter, Space
from nascli.spaces.staged import StagedSpace


def space_names() -> list[str]:
    """Return the names of all registered spaces."""
    return sorted(factories())


def summary(name: str) -> str:
    """Return the first line of the docstring of the function that makes a space."""
    return (inspect.getdoc(_factory(name)) or "").split("\n")[0]


def _factory(name: str) -> Factory:
    known = factories()
    if name not in known:
        raise UnknownNameError(
            "space",
            name,
            sorted(known),
            "See them.",
            Remedy(job="list_spaces"),
            Remedy(
                words="Name the file of one of your own first.", job="use_file", arguments={"path": "FILE"}
            ),
        )
    return known[name]


def _convert(space: str, key: str, text: str, default: object) -> Parameter:
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False, "1": True, "0": False}[text.lower()]
        if isinstance(default, int):
            return int(text)
        if isinstance(default, float):
            return float(text)
    except (KeyError, ValueError):
        kind = type(default).__name__
        raise SpaceError(f"space {space}: {key} must be of type {kind}, got {text!r}") from None
    return text


def takes_parameter(name: str, parameter: str) -> bool:
    """Return whether a space has a parameter."""
    return parameter in inspect.signature(_factory(name)).parameters


def make_space(name: str, **parameters: Parameter) -> Space:
    """Make a space from its name and parameters.

    Raises:
        UnknownNameError: There is no space with this name.
        SpaceError: A parameter is unknown, a value breaks a rule of the space, or the space is a `StagedSpace`.
    """
    space = make_space_of_any_kind(name, **parameters)
    if isinstance(space, StagedSpace):
        raise SpaceError(
            f"{name} consists of stages with free depths and widths; it cannot be profiled or searched "
            "layer by layer.",
            "See it.",
            Remedy(job="describe_space", arguments={"spec": name}),
        )
    return space


def make_space_of_any_kind(name: str, **parameters: Parameter) -> Space | StagedSpace:
    """Make a space of layers or of stages from its name and parameters.

    Raises:
        UnknownNameError: There is no space with this name.
        SpaceError: A parameter is unknown, or a value breaks a rule of the space.
    """
    factory = _factory(name)
    known_parameters = inspect.signature(factory).parameters
    for key in parameters:
        if key not in known_parameters:
            known = ", ".join(f"{k}={v.default}" for k, v in known_parameters.items())
            raise SpaceError(f"space {name} has no parameter {key!r}; it takes {known}")
    changed = {k: v for k, v in parameters.items() if v != known_parameters[k].default}
    return _make(name, tuple(sorted(changed.items())))


@lru_cache(maxsize=64)
def _make(name: str, parameters: tuple[tuple[str, Parameter], ...]) -> Space | StagedSpace:
    try:
        space = _factory(name)(**dict(parameters))
    except NascliError as error:
        raise SpaceError(f"space {name}: {error.message}", error.hint, *error.remedies) from error
    # The function may be the user's own and raise anything.
    except Exception as error:
        raise SpaceError(f"space {name}: its function failed: {type(error).__name__}: {error}") from error
    if not isinstance(space, (Space, StagedSpace)):
        raise SpaceError(f"space {name}: its function must return a Space, got {type(space).__name__}")
    return replace(space, name=name, parameters=parameters)


def load_registered_space(spec: str) -> Space:
    """Make a space from a text that somebody else wrote, such as a line of a run folder.

    Unlike `load_space`, this function never opens a file, because doing so could execute it.

    Raises:
        SpaceError: The text names a file, or is not a valid space.
        UnknownNameError: There is no space with this name.
    """
    if spec.partition(":")[0].endswith((".py", ".toml")):
        raise SpaceError(
            f"{spec} names a file, and is not opened.",
            "Name your own file first.",
            Remedy(job="use_file", arguments={"path": "FILE"}),
        )
    return load_space(spec)


def load_space(spec: str) -> Space:
    """Make a space from a text.

    Args:
        spec: ``NAME`` or ``NAME:key=value,key=value``, optionally with ``FILE:`` before it. A file ending in .py is
            executed, and registers its spaces with `space_factory`. A file ending in .toml describes one space (see
            `nascli.spaces.toml_spaces`), so that the name may be left out.

    Raises:
        SpaceError: The text, the file, or a parameter is invalid, or the space is a `StagedSpace`.
        UnknownNameError: There is no space with this name.
    """
    name, parameters = _parse(spec)
    return make_space(name, **parameters)


def load_space_of_any_kind(spec: str) -> Space | StagedSpace:
    """Make a space of layers or of stages from a text; see `load_space`."""
    name, parameters = _parse(spec)
    return make_space_of_any_kind(name, **parameters)


def use_file(path: Path) -> list[str]:
    """Register the spaces of a file.

    Args:
        path: A .py file, which is executed, or a .toml file.

    Returns:
        The names of the spaces that the file adds, in alphabetical order.

    Raises:
        SpaceError: The file is missing, has another suffix, or is invalid.
    """
    if not path.is_file():
        raise SpaceError(f"space file {path} does not exist")
    before = set(factories())
    if path.suffix == ".py":
        _execute(path)
        return sorted(set(factories()) - before)
    if path.suffix == ".toml":
        from nascli.spaces.toml_spaces import read_space_file

        name, factory = read_space_file(path)
        if name in before and factories()[name].__module__ != factory.__module__:
            raise SpaceError(f"{path}: a space named {name!r} comes with nascli; choose another name")
        factories()[name] = factory
        _make.cache_clear()
        return [name]
    raise SpaceError(f"a space file ends in .py or .toml, got {path}")


def _parse(spec: str) -> tuple[str, dict[str, Parameter]]:
    name, _, rest = spec.partition(":")
    if name.endswith((".py", ".toml")):
        names = use_file(Path(name))
        if name.endswith(".toml"):
            name = names[0]
            if rest.partition(":")[0] == name:
                rest = rest.partition(":")[2]
        else:
            name, _, rest = rest.partition(":")
            if not name:
                listing = ", ".join(names) or "none"
                raise SpaceError(f"name a space of the file: {spec}:NAME; it has {listing}")
    known_parameters = inspect.signature(_factory(name)).parameters
    parameters: dict[str, Parameter] = {}
    for item in filter(None, (part.strip() for part in rest.split(","))):
        key, equals, text = item.partition("=")
        if not equals:
            raise SpaceError(f"space {name}: parameters are written key=value, got {item!r}")
        default = known_parameters[key].default if key in known_parameters else ""
        parameters[key] = _convert(name, key, text, default)
    return name, parameters


def _execute(path: Path) -> None:
    load_python_file(path, f"nascli_user_{path.stem}", SpaceError, f"space file {path}")
