"""The settings of runs of version 0.1.0, read as those of today.

A settings.json of that version holds an ``effort``: the settings of all algorithms in one document, and its recipes by
name. An algorithm's aliases say which of them are its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nascli.files import read_json, reading
from nascli.pipeline.run.settings import VERSION
from nascli.search.algorithm import Algorithm
from nascli.search.registry import find_algorithm
from nascli.search.run_folder import SETTINGS
from nascli.supernet.recipes.registry import find_recipe, find_supernet_recipe
from nascli.supernet.training.recipe import Recipe

# What version 0.1.0 called by the names of papers; today's recipes of these names are closer to the papers.
_OF_ALL: dict[str, Any] = {"shift": 2, "clip": 5.0}
_SPOS = {**_OF_ALL, "rate": 0.5, "warmup": 0.0, "schedule": "linear"}
_PCNAS = {**_OF_ALL, "warmup": 0.0, "floor": 5e-4, "weight_decay": 1e-4, "label_smoothing": 0.0}
_RETRAINING: dict[str, dict[str, Any]] = {
    "spos": {"epochs": 240, "batch": 1024, **_SPOS},
    "pcnas": {"epochs": 300, "batch": 512, **_PCNAS, "mixup": 0.2},
    "nse": {"epochs": 350, "batch": 2048, **_OF_ALL, "rate": 0.8, "ema": 0.9999},
}
_SUPERNETS: dict[str, dict[str, Any]] = {
    "spos": _SPOS,
    "pcnas": _PCNAS,
    "nse": {**_OF_ALL, "rate": 0.4, "label_smoothing": 0.0},
}
# Over how many epochs the learning rates of these supernets rose.
_WARMUP_EPOCHS = {"nse": 2}


def upgrade_settings(document: dict[str, Any]) -> dict[str, Any]:
    """A settings.json of any version as one of today's; one of today's as it is.

    Raises:
        UnknownNameError: An algorithm or recipe that is not known.
    """
    if "effort" not in document:
        return document
    kept = {name: value for name, value in document.items() if name != "effort"}
    preset = _preset(find_algorithm(document["algorithm"]), document["effort"])
    return {"version": VERSION, **kept, "preset": preset}


def read_settings(run: Path) -> dict[str, Any]:
    """The settings of a run, whatever version wrote them; empty where there are none.

    Raises:
        RunError: A damaged file.
    """
    file = run / SETTINGS
    document = read_json(file)
    with reading(file):
        return {} if document is None else upgrade_settings(document)


def _preset(algorithm: Algorithm, effort: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of one algorithm out of an effort."""
    preset = algorithm.presets["small"].to_json()
    for name, path in {**algorithm.aliases, algorithm.name: "settings"}.items():
        for one_path in path.split() if name in effort else ():
            _put(preset, one_path.split("."), effort[name])
    for group in ("supernet", "space_recipe"):
        if preset[group] is not None:
            name = effort["recipe"] or "small"
            preset[group] = _old_supernet(name, preset[group]["epochs"], effort["batch"]).to_json()
    preset["retraining"] = _old_retraining(effort["retrain"], effort["retrain_epochs"]).to_json()
    for name in ("finalists", "calibration_images"):
        preset[name] = effort[name]
    return preset


def _old_supernet(name: str, epochs: int, batch: int) -> Recipe:
    if name not in _SUPERNETS:
        return find_supernet_recipe(name, epochs, batch)
    values = dict(_SUPERNETS[name])
    if name in _WARMUP_EPOCHS:
        values["warmup"] = _WARMUP_EPOCHS[name] / epochs
    return Recipe(epochs, batch, **values)


def _old_retraining(name: str, epochs: int | None) -> Recipe:
    if name not in _RETRAINING:
        return find_recipe(name, epochs)
    given = {} if epochs is None else {"epochs": epochs}
    return Recipe(**_RETRAINING[name] | given)


def _put(document: dict[str, Any], path: list[str], value: Any) -> None:
    """Set a field, or those fields of a group that the group has today."""
    *groups, last = path
    for group in groups:
        document = document[group]
    if isinstance(value, dict):
        document[last] |= {name: v for name, v in value.items() if name in document[last]}
    else:
        document[last] = value
