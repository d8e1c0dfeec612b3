"""What is known: devices, spaces, tables; as documents that a command prints."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from nascli.costmodel import ChainCost, counted
from nascli.profiles.devices.data_sheets import data_sheets
from nascli.profiles.devices.device import card_key, find_cards_here, find_device, this_cpu
from nascli.spaces import space_names
from nascli.spaces.blocks import Layer
from nascli.spaces.catalog import load_space_of_any_kind, summary
from nascli.spaces.staged import StagedSpace
from nascli.units import format_big_integer, format_count


def list_devices() -> list[dict[str, Any]]:
    """What is here, and every other device with a profile."""
    cpu = this_cpu()
    here = [{"key": "cpu", "title": f"{cpu.title} ({cpu.key})", "here": True}]
    cards, _ = find_cards_here()
    here += [{"key": card_key(card), "title": f"{card.name} ({card.uuid})", "here": True} for card in cards]
    found = {device["key"] for device in here}
    return here + [
        {"key": key, "title": p.title, "here": False} for key, p in data_sheets().items() if key not in found
    ]


def describe_device(name: str) -> dict[str, Any]:
    """The facts of one device.

    Raises:
        UnknownNameError: nobody knows it.
    """
    known = data_sheets()
    if name in known:
        facts = asdict(known[name])
        facts["peak"] = dict(known[name].peak)
        return facts
    device = find_device(name)
    return {"key": device.key, "title": device.title, **dict(device.facts)}


def list_spaces() -> list[dict[str, str]]:
    """Every space with a line about it."""
    return [{"name": name, "about": summary(name)} for name in space_names()]


def _range(cost: ChainCost) -> str:
    return f"{format_count(cost.minimum)} to {format_count(cost.maximum)}"


def describe_space(spec: str) -> dict[str, Any]:
    """Macro-architecture, candidates, exact size, and range of counts of a space."""
    space = load_space_of_any_kind(spec)
    if isinstance(space, StagedSpace):
        return _describe_staged(space)
    macs, params = counted(space, "macs"), counted(space, "params")
    blocks = []
    for block in space.blocks:
        if isinstance(block, Layer):
            names = [candidate.short for candidate in block.candidates]
            if block.join != "single":
                names.insert(0, f"{block.join}, up to {block.max_branches} of")
            blocks.append(_block(block.name, str(block.input), str(block.output), names))
        else:
            blocks.append(_block(block.name, str(block.input), str(block.output), [block.operator.short]))
    return {
        "spec": space.spec,
        "parameters": dict(space.parameters),
        "size": str(space.size),
        "size_text": format_big_integer(space.size),
        "layers": len(space.layers),
        "multi_branch": space.multi_branch,
        "distinct_operators": len(space.operators()),
        "macs": [round(macs.minimum), round(macs.maximum)],
        "macs_text": _range(macs),
        "params": [round(params.minimum), round(params.maximum)],
        "params_text": _range(params),
        "blocks": blocks,
    }


def _describe_staged(space: StagedSpace) -> dict[str, Any]:
    stages = len(space.strides)
    extremes = [[0, 0] * stages, [space.depths - 1, space.widths - 1] * stages]
    macs = [int(value) for value in space.macs(extremes)]
    params = [space.network(code).counts.params for code in extremes]
    choice = f"depth 1..{space.depths}, width 1..{space.widths} of basic_block"
    return {
        "spec": space.spec,
        "parameters": dict(space.parameters),
        "size": str(space.size),
        "size_text": format_big_integer(space.size),
        "layers": stages,
        "multi_branch": False,
        "macs": macs,
        "macs_text": " to ".join(format_count(value) for value in macs),
        "params": params,
        "params_text": " to ".join(format_count(value) for value in params),
        "blocks": [
            _block(f"stage{i + 1}", "-", f"stride {s}", [choice]) for i, s in enumerate(space.strides)
        ],
    }


def _block(name: str, taken: str, given: str, candidates: list[str]) -> dict[str, Any]:
    return {"name": name, "input": taken, "output": given, "candidates": candidates}
