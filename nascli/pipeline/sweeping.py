"""One supernet for several searches: trained by itself, or shared by a sweep over budgets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nascli.costmodel import parse_constraint
from nascli.pipeline.settings import SearchSettings, default_out, effort_of
from nascli.progress import Progress
from nascli.spaces.catalog import load_space
from nascli.units import format_big_integer, format_count, format_seconds


def run_sweep(
    budgets: Sequence[str], settings: Sequence[SearchSettings], out: Path | None, progress: Progress
) -> list[dict[str, Any]]:
    """One search per budget; they differ in nothing else, so all but the first find their supernet trained.

    Returns:
        per budget what was found and where its run is.
    """
    from nascli.pipeline.searching import run_search

    rows = []
    for budget, one in zip(budgets, settings, strict=True):
        name = re.sub(r"[^A-Za-z0-9.]+", "-", budget).strip("-.")
        folder = default_out(one) if out is None else out / name
        progress.message(f"budget {budget}")
        result = run_search(one, folder, progress)
        low, high = result["retrained_top1_interval"]
        rows.append(
            {
                "budget": budget,
                "run": str(folder),
                "top1": result["retrained_top1"],
                "measured_latency_s": result["measured_latency_s"],
                "macs": result["macs"],
                "params": result["params"],
                "shown": {
                    "budget": budget,
                    "top-1 (95 %)": f"{result['retrained_top1']:.2%} [{low:.1%}, {high:.1%}]",
                    "measured": format_seconds(result["measured_latency_s"]),
                    "MACs": format_count(result["macs"]),
                    "params": format_count(result["params"]),
                    "feasible": format_big_integer(int(result["feasible_count"])),
                    "run": str(folder),
                },
            }
        )
    return rows


def train_supernet(
    spec: str,
    data: str,
    epochs: int,
    seed: int,
    preset: str,
    out: Path,
    progress: Progress,
    within: str | None = None,
) -> dict[str, Any]:
    """Train the supernet of a space into a file that `nascli search --supernet` takes.

    Args:
        spec: the space.
        data: a data set.
        epochs: of the training.
        seed: of everything.
        preset: whose recipe.
        out: the checkpoint.
        progress: is shown the training.
        within: a window such as '290M<=macs<=360M', over whose bins paths are drawn.
    """
    from nascli.pipeline.searching import adapted_space
    from nascli.pipeline.training import trained_supernet
    from nascli.supernet import checkpoint, distributed
    from nascli.supernet.data import load, require_fit

    distributed.start()
    space = adapted_space(load_space(spec), data)
    images = load(data, space.input.height)
    require_fit(images, space.input, space.output.channels)
    recipe = effort_of(preset, "spos").supernet_recipe(epochs)
    window = None if within is None else parse_constraint(within)
    _, identity, reused = trained_supernet(
        space, images, recipe, seed=seed, progress=progress, out=out, within=window
    )
    _, state = checkpoint.load(out)
    return {
        "space": space.spec,
        "data": data,
        "identity": identity,
        "steps": state["steps"],
        "reused": reused,
        "file": str(out),
    }
