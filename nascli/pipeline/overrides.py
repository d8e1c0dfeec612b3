"""Hyper-parameters by name: ``nse.threshold=-3`` on the command line."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from nascli.errors import ConstraintError, UnknownNameError
from nascli.pipeline.settings import Effort

_WORDS = {"true": True, "false": False, "none": None}


def with_settings(effort: Effort, texts: Sequence[str]) -> Effort:
    """An effort with hyper-parameters of its algorithms changed.

    Args:
        effort: of a preset.
        texts: ``GROUP.NAME=VALUE``, such as ``nse.lock=false`` or ``fitness.betas=0,0.999``; or ``NAME=VALUE`` of the
            effort itself.

    Raises:
        UnknownNameError: no such group or name.
        ConstraintError: no value of its type.
        NascliError: a value that a rule of the algorithm refuses.
    """
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign:
            raise ConstraintError(f"--set takes NAME=VALUE such as nse.threshold=-3, not {text!r}.")
        group, dot, field = name.strip().rpartition(".")
        if not dot:
            effort = replace(effort, **{field: _value(effort, field, value)})
            continue
        groups = [f.name for f in fields(effort) if is_dataclass(getattr(effort, f.name))]
        if group not in groups:
            raise UnknownNameError("group of hyper-parameters", group, groups)
        inside = getattr(effort, group)
        effort = replace(effort, **{group: replace(inside, **{field: _value(inside, field, value)})})
    return effort


def _value(holder: Any, name: str, text: str) -> Any:
    """A text as what a field of a dataclass holds."""
    plain = [f.name for f in fields(holder) if not is_dataclass(getattr(holder, f.name))]
    if name not in plain:
        raise UnknownNameError("hyper-parameter", name, plain)
    wanted = typing.get_type_hints(type(holder))[name]
    kinds = [kind for kind in (typing.get_args(wanted) or (wanted,)) if kind is not ...]
    word = text.strip()
    if typing.get_origin(wanted) is tuple:
        try:
            return tuple(kinds[0](part) for part in word.split(","))
        except ValueError as error:
            raise ConstraintError(f"{name} takes numbers with commas between them, not {text!r}.") from error
    if word.lower() in _WORDS and type(_WORDS[word.lower()]) in kinds:
        return _WORDS[word.lower()]
    for kind in kinds:
        if kind in (int, float, str):
            try:
                return kind(word)
            except ValueError:
                continue
    shown = " or ".join("none" if kind is type(None) else kind.__name__ for kind in kinds)
    raise ConstraintError(f"{name} takes {shown}, not {text!r}.")
