"""Jobs that train: the shared supernet of a space, and plain networks from scratch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from nascli.costmodel import BinnedSampler, Constraint, counted
from nascli.costmodel.models import counted_names
from nascli.errors import CheckpointError, ConstraintError, Remedy
from nascli.paths import home
from nascli.progress import Progress
from nascli.random_streams import RandomStream, generator
from nascli.spaces.space import Space
from nascli.supernet.data.images import Images
from nascli.supernet.modules import load_module
from nascli.supernet.separate import Supernet, uniform_branches
from nascli.supernet.training.checkpoint import load_checkpoint
from nascli.supernet.training.recipe import Recipe
from nascli.supernet.training.trainer import Trainer, is_trained, settings_digest

# SPOS's authors' code draws uniformly over so many bins of the cost.
BINS = 7


def supernet_identity(
    space: Space, images: Images, recipe: Recipe, seed: int, within: Constraint | None = None
) -> str:
    """What a trained supernet depends on: space, data, recipe and seed, and where its paths are drawn."""
    parts = [f"supernet-aligned-{2 if space.multi_branch else 1}", space.digest, images.digest, recipe, seed]
    return settings_digest(*parts) if within is None else settings_digest(*parts, str(within))


def _within(space: Space, within: Constraint) -> BinnedSampler:
    """Paths drawn uniformly over bins of a counted cost (SPOS's uniform constraint sampling)."""
    if within.name not in counted_names() or not math.isfinite(within.low) or not math.isfinite(within.high):
        raise ConstraintError(
            f"paths are drawn within a window of a counted cost, not {within}.",
            "Write both ends.",
            Remedy(arguments={"within": "290M<=macs<=360M"}),
        )
    edges = np.linspace(within.low, within.high, BINS + 1).tolist()
    return BinnedSampler(space, counted(space, within.name), edges)


def trained_supernet(
    space: Space,
    images: Images,
    recipe: Recipe,
    *,
    seed: int,
    progress: Progress,
    given: str | None = None,
    out: Path | None = None,
    within: Constraint | None = None,
) -> tuple[Supernet, str, bool]:
    """The supernet of a space, trained once and then shared by every search of it.

    Args:
        space: single-path or multi-branch.
        images: data.
        recipe: how to train.
        seed: of weights, paths and data order.
        progress: is shown the training.
        given: a finished checkpoint to take instead.
        out: where to keep it; by default beside the store.
        within: draw paths uniformly over bins of this window instead of uniformly over the space.

    Returns:
        the supernet, its identity, and whether it had been trained before.

    Raises:
        CheckpointError: a given checkpoint that is not finished, or of another space.
    """
    identity = supernet_identity(space, images, recipe, seed, within)
    file = out or home() / "supernets" / f"{identity}.safetensors"
    torch.manual_seed(seed)
    supernet = Supernet(space)
    if given is not None:
        tensors, state = load_checkpoint(Path(given))
        if state.get("step") != state.get("steps"):
            raise CheckpointError(
                f"{given} is at step {state.get('step')} of {state.get('steps')}.",
                "Finish its training with the settings with which it began.",
                Remedy(job="train_supernet", arguments={"out": given}),
            )
        load_module(supernet, tensors)
        progress.message(f"supernet {given} is used as it is")
        return supernet, str(state.get("identity")), True
    reused = is_trained(file, identity)
    if reused:
        load_module(supernet, load_checkpoint(file)[0])
        progress.message(f"supernet {identity[:8]} of {space.name} is trained already; reused")
    else:
        bins = None if within is None else _within(space, within)
        alive = [np.ones(len(layer.candidates), dtype=bool) for layer in space.layers]

        def path(step: int) -> Sequence[int]:
            rng = generator(seed, RandomStream.SUPERNET_PATHS, step)
            if bins is not None:
                return bins.sample(1, rng)[0].tolist()  # type: ignore[no-any-return]
            if space.multi_branch:
                return uniform_branches(space.layers, alive, rng)
            return space.sample(1, rng)[0].tolist()  # type: ignore[no-any-return]

        trainer = Trainer(supernet, images.train, recipe, seed=seed, path=path)
        trainer.run(file, identity, progress, f"training the supernet of {space.name}")
    return supernet, identity, reused
