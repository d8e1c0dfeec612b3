"""The devices of this machine, and how users name them."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from nascli.errors import DeviceError, Remedy, RuntimeUnavailableError, UnknownNameError
from nascli.profiles.devices.cards import Card, find_cards, key_from_name
from nascli.profiles.devices.data_sheets import data_sheets

_TABLES = Remedy(words="See the tables that exist.", job="list_tables")


@dataclass(frozen=True)
class Device:
    """A device of this machine that can be measured.

    Attributes:
        key: The full key in tables, which contains the model.
        title: The name in messages.
        cores: Number of logical processors that this process may use.
        facts: Pairs of a name and a text that are recorded with every table.
        card: The NVIDIA card; None for the CPU.
    """

    key: str
    title: str
    cores: int
    facts: tuple[tuple[str, str], ...]
    card: Card | None = None


def _cpuinfo() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return {"model name": platform.processor() or platform.machine()}
    first = path.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


@lru_cache(maxsize=1)
def this_cpu() -> Device:
    """Return this machine's CPU. Its key contains model name, family, model number, and stepping."""
    info = _cpuinfo()
    title = info.get("model name") or platform.machine()
    numbers = [info.get(name, "") for name in ("cpu family", "model", "stepping")]
    name = re.sub(r"[^a-z0-9]+", "-", re.sub(r"\((r|tm)\)|@.*|cpu", " ", title.lower())).strip("-")
    suffix = "-".join(number for number in numbers if number)
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    vector = [flag for flag in ("avx2", "avx512f", "amx_tile") if flag in info.get("flags", "").split()]
    facts = (
        ("model", title),
        ("machine", platform.machine()),
        ("system", platform.system()),
        ("cores", str(cores)),
        ("vector", " ".join(vector)),
        ("cache", info.get("cache size", "")),
    )
    key = "-".join(part for part in ("cpu", name, suffix) if part)
    return Device(key=key, title=title, cores=cores, facts=facts)


def card_key(card: Card) -> str:
    """Return the key of a card in tables.

    It is the key of the card's data sheet, or without one a key made of its name. The key of a MIG slice contains the
    slice's profile too.
    """
    keys = {name: sheet.key for sheet in data_sheets().values() for name in sheet.nvml_names}
    key = keys.get(card.name, key_from_name(card.name))
    return key if card.slice is None else f"{key}-mig-{card.slice}"


def device_of_card(card: Card) -> Device:
    """Return a card as a device."""
    return Device(card_key(card), card.name, len(os.sched_getaffinity(0)), tuple(card.facts().items()), card)


def find_cards_here() -> tuple[list[Card], str | None]:
    """Return the cards in this machine, and the reason why none can be seen, or None."""
    try:
        return find_cards(), None
    except RuntimeUnavailableError as error:
        return [], error.message


def find_device(name: str) -> Device:
    """Return a device of this machine by name.

    Args:
        name: 'cpu' or the full key of this CPU; the key of a card, such as 'titanxp', or 'titanxp:1' for the second
            of several; or 'cuda:0' for the card with this number.

    Raises:
        DeviceError: The device is known, but not in this machine.
        UnknownNameError: There is no device with this name.
    """
    cpu = this_cpu()
    if name in ("cpu", cpu.key):
        return cpu
    if name.startswith("cpu-"):
        raise DeviceError(
            f"{name} is another machine's CPU; this one is {cpu.key}.",
            "Use this machine's CPU.",
            Remedy(arguments={"device": "cpu"}),
            _TABLES,
        )
    cards, reason = find_cards_here()
    kind, _, number = name.partition(":")
    if number and not number.isdigit():
        raise DeviceError(f"{name}: the colon must be followed by the number of a card, such as {kind}:1")
    matches = cards if kind == "cuda" else [card for card in cards if card_key(card) == kind]
    if matches:
        if int(number or 0) >= len(matches):
            raise DeviceError(f"{name}: there are {len(matches)} such cards, numbered from 0")
        return device_of_card(matches[int(number or 0)])
    known = data_sheets()
    here = "; ".join([f"cpu ({cpu.title})", *(f"{card_key(card)} ({card.name})" for card in cards)])
    if kind in known:
        because = "" if reason is None else f" No card can be seen: {reason}"
        raise DeviceError(
            f"{known[kind].title} ({kind}) is not in this machine; here is: {here}.{because}",
            "Run the command on a machine with that card, or write a plan that is measured there.",
            Remedy(job="profile", arguments={"device": kind, "host": "user@machine"}),
            Remedy(words="Or use this machine's CPU.", arguments={"device": "cpu"}),
            _TABLES,
            Remedy(words=f"See {kind}'s data sheet.", job="describe_device", arguments={"name": kind}),
        )
    raise UnknownNameError("device", name, ["cpu", *sorted({*known, *map(card_key, cards)})])
