"""Names that a user may choose among, for the completion of shells."""

from __future__ import annotations


def completions(kind: str) -> list[str]:
    """What is known of a kind.

    Raises:
        KeyError: no such kind.
    """
    return sorted(_KINDS[kind]())


def _spaces() -> list[str]:
    from nascli.spaces import space_names

    return list(space_names())


def _devices() -> list[str]:
    from nascli.profiles.devices.data_sheets import data_sheets

    return ["cpu", *data_sheets()]


def _runtimes() -> list[str]:
    from nascli.profiles.runtimes.registry import all_runtimes

    return ["all", "auto", "fastest", *all_runtimes()]


def _data() -> list[str]:
    from nascli.supernet.data.sources.registry import builtin_sources

    return list(builtin_sources())


def _algorithms() -> list[str]:
    from nascli.search.registry import algorithm_names

    return algorithm_names()


def _presets() -> list[str]:
    from nascli.search.registry import preset_names

    return preset_names()


def _recipes() -> list[str]:
    from nascli.supernet.recipes.registry import recipe_names

    return recipe_names()


def _supernet_recipes() -> list[str]:
    from nascli.supernet.recipes.registry import recipe_names

    return recipe_names("supernet")


def _all_recipes() -> list[str]:
    return list({*_recipes(), *_supernet_recipes()})


_KINDS = {
    "spaces": _spaces,
    "devices": _devices,
    "runtimes": _runtimes,
    "precisions": lambda: ["fp32", "fp16", "bf16", "tf32", "int8"],
    "data": _data,
    "algorithms": _algorithms,
    "presets": _presets,
    "recipes": _recipes,
    "supernet recipes": _supernet_recipes,
    "all recipes": _all_recipes,
}
