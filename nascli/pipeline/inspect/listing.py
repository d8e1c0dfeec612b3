"""Devices and spaces that are known, as records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from nascli.costmodel import counted
from nascli.profiles.devices.data_sheets import data_sheets
from nascli.profiles.devices.device import card_key, find_cards_here, find_device, this_cpu
from nascli.spaces import space_names
from nascli.spaces.blocks import Layer
from nascli.spaces.catalog import load_space_of_any_kind, summary
from nascli.spaces.space import Parameter
from nascli.spaces.staged import StagedSpace


@dataclass(frozen=True)
class DeviceRow:
    """A device that is here, or has a data sheet.

    Attributes:
        key: Its name on the command line.
        title: Its full name.
        here: Whether it is in this machine.
    """

    key: str
    title: str
    here: bool

    def to_json(self) -> dict[str, object]:
        """The row as a document."""
        return asdict(self)


@dataclass(frozen=True)
class DeviceFacts:
    """What is known of one device.

    Attributes:
        key: Its name on the command line.
        title: Its full name.
        facts: The rest, by name: of its data sheet, or what was read from the machine.
    """

    key: str
    title: str
    facts: Mapping[str, object]

    def to_json(self) -> dict[str, object]:
        """The facts as a document."""
        return {"key": self.key, "title": self.title, **self.facts}


@dataclass(frozen=True)
class SpaceRow:
    """A space by its name, with a line about it."""

    name: str
    about: str

    def to_json(self) -> dict[str, object]:
        """The row as a document."""
        return asdict(self)


@dataclass(frozen=True)
class SpaceBlock:
    """One block of a space.

    Attributes:
        name: The block's name.
        input: The shape that it takes, as text.
        output: The shape that it gives, as text.
        candidates: The operators to choose among; one where there is no choice.
    """

    name: str
    input: str
    output: str
    candidates: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """The block as a document."""
        return {**asdict(self), "candidates": list(self.candidates)}


@dataclass(frozen=True)
class SpaceDescription:
    """A space in full.

    Attributes:
        spec: Its name and parameters, as they are typed.
        parameters: The parameters by name.
        size: The number of its architectures.
        layers: The number of layers with a choice, or of stages.
        multi_branch: Whether a layer may hold several operators at once.
        distinct_operators: The number of distinct operators; None for a space of stages.
        macs: The smallest and the largest multiply-accumulates of its architectures.
        params: The smallest and the largest number of parameters.
        blocks: Its blocks in order.
    """

    spec: str
    parameters: Mapping[str, Parameter]
    size: int
    layers: int
    multi_branch: bool
    distinct_operators: int | None
    macs: tuple[int, int]
    params: tuple[int, int]
    blocks: tuple[SpaceBlock, ...]

    def to_json(self) -> dict[str, object]:
        """The space as a document; its size is a text, since it may be beyond what JSON readers hold exactly."""
        distinct = {} if self.distinct_operators is None else {"distinct_operators": self.distinct_operators}
        return {
            "spec": self.spec,
            "parameters": dict(self.parameters),
            "size": str(self.size),
            "layers": self.layers,
            "multi_branch": self.multi_branch,
            **distinct,
            "macs": list(self.macs),
            "params": list(self.params),
            "blocks": [block.to_json() for block in self.blocks],
        }


def list_devices() -> list[DeviceRow]:
    """The devices of this machine, and every other one with a data sheet."""
    cpu = this_cpu()
    cards, _ = find_cards_here()
    here = [DeviceRow("cpu", f"{cpu.title} ({cpu.key})", True)]
    here += [DeviceRow(card_key(card), f"{card.name} ({card.uuid})", True) for card in cards]
    keys = {device.key for device in here}
    return here + [
        DeviceRow(key, sheet.title, False) for key, sheet in data_sheets().items() if key not in keys
    ]


def describe_device(name: str) -> DeviceFacts:
    """The facts of one device, from its data sheet where it has one.

    Raises:
        UnknownNameError: No device has that name.
        DeviceError: The device has no data sheet and is not here.
    """
    sheet = data_sheets().get(name)
    if sheet is not None:
        facts = {**asdict(sheet), "peak": dict(sheet.peak)}
        return DeviceFacts(facts.pop("key"), facts.pop("title"), facts)
    device = find_device(name)
    return DeviceFacts(device.key, device.title, dict(device.facts))


def list_spaces() -> list[SpaceRow]:
    """Every space with a line about it."""
    return [SpaceRow(name, summary(name)) for name in space_names()]


def describe_space(spec: str) -> SpaceDescription:
    """Blocks, candidates, exact size, and ranges of counts of a space.

    Raises:
        UnknownNameError: There is no space or parameter of that name.
        SpaceError: A parameter's value breaks a rule of the space.
    """
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
            blocks.append(SpaceBlock(block.name, str(block.input), str(block.output), tuple(names)))
        else:
            candidates = (block.operator.short,)
            blocks.append(SpaceBlock(block.name, str(block.input), str(block.output), candidates))
    return SpaceDescription(
        spec=space.spec,
        parameters=dict(space.parameters),
        size=space.size,
        layers=len(space.layers),
        multi_branch=space.multi_branch,
        distinct_operators=len(space.operators()),
        macs=(round(macs.minimum), round(macs.maximum)),
        params=(round(params.minimum), round(params.maximum)),
        blocks=tuple(blocks),
    )


def _describe_staged(space: StagedSpace) -> SpaceDescription:
    stages = len(space.strides)
    smallest, largest = [0, 0] * stages, [space.depths - 1, space.widths - 1] * stages
    low, high = (int(value) for value in space.macs([smallest, largest]))
    choice = f"depth 1..{space.depths}, width 1..{space.widths} of basic_block"
    return SpaceDescription(
        spec=space.spec,
        parameters=dict(space.parameters),
        size=space.size,
        layers=stages,
        multi_branch=False,
        distinct_operators=None,
        macs=(low, high),
        params=(space.network(smallest).counts.params, space.network(largest).counts.params),
        blocks=tuple(
            SpaceBlock(f"stage{number}", "-", f"stride {stride}", (choice,))
            for number, stride in enumerate(space.strides, 1)
        ),
    )
