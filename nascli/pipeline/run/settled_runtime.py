"""The runtime of a search that asks for the fastest: found once, and kept in the run's settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nascli.files import read_json, reading
from nascli.pipeline.measure.fastest_runtime import settle_runtime
from nascli.pipeline.run.old_settings import upgrade_settings
from nascli.pipeline.run.settings import SearchSettings
from nascli.profiles.target import FASTEST
from nascli.progress import Progress
from nascli.search.run_folder import SETTINGS
from nascli.spaces.space import Space
from nascli.spaces.staged import StagedSpace
from nascli.supernet.training import distributed

# The runtime in the settings of a run that measures nothing.
_OPEN = "auto"


def settle_search(
    settings: SearchSettings, named: Space | StagedSpace, folder: Path, progress: Progress
) -> SearchSettings:
    """Return settings whose target names a runtime, or leaves it open where nothing is measured.

    Args:
        settings: Of the search; its runtime may be 'fastest'.
        named: The space of the search.
        folder: The run's folder. A run that was begun there keeps the runtime that it began with.
        progress: Is told which runtime it is.

    Raises:
        RunError: The settings in the folder are damaged.
        RuntimeUnavailableError: No runtime here has the precision and runs the networks of the space.
        DeviceError: The device is not here, or failed.
    """
    if settings.target.runtime != FASTEST:
        return settings
    runtime = distributed.on_first(lambda: _settled(settings, named, folder, progress))
    return replace(settings, target=replace(settings.target, runtime=runtime))


def _settled(settings: SearchSettings, named: Space | StagedSpace, folder: Path, progress: Progress) -> str:
    """Return the name of the runtime, as the run's folder has it, or as it is found here."""
    recorded = read_json(folder / SETTINGS)
    if recorded is not None:
        with reading(folder / SETTINGS):
            runtime = str(upgrade_settings(recorded)["where"]["runtime"])
        if runtime != _OPEN:
            progress.message(f"runtime: {runtime}, as chosen when this run began")
        return runtime
    if not settings.measures_networks:
        progress.message("under counted budgets nothing is measured, so that no runtime is looked for")
        return _OPEN
    target = settle_runtime(named, settings.target, settings.execution, seed=settings.seed, progress=progress)
    return target.runtime
