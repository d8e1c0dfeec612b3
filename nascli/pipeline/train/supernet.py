"""The job of `nascli supernet train`: a supernet for several searches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nascli.costmodel import parse_constraint
from nascli.errors import UnknownNameError
from nascli.progress import Progress
from nascli.spaces.catalog import load_space
from nascli.supernet.data.images import load_images, require_fit, space_for_data
from nascli.supernet.recipes.small import small_supernet
from nascli.supernet.recipes.spos import spos_supernet
from nascli.supernet.training import distributed
from nascli.supernet.training.checkpoint import load_checkpoint
from nascli.supernet.training.one_shot import trained_supernet

# How a supernet of random paths is trained: for small data, or as the paper does on ImageNet.
PRESETS = {"small": small_supernet, "paper": spos_supernet}


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
    distributed.start()
    space = space_for_data(load_space(spec), data)
    images = load_images(data, space.input.height)
    require_fit(images, space.input, space.output.channels)
    if preset not in PRESETS:
        raise UnknownNameError("preset", preset, list(PRESETS))
    recipe = PRESETS[preset](epochs)
    window = None if within is None else parse_constraint(within)
    _, identity, reused = trained_supernet(
        space, images, recipe, seed=seed, progress=progress, out=out, within=window
    )
    _, state = load_checkpoint(out)
    return {
        "space": space.spec,
        "data": data,
        "identity": identity,
        "steps": state["steps"],
        "reused": reused,
        "file": str(out),
    }
