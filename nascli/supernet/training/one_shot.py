"""The supernet of a space, trained once and shared by every search of that space."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from nascli.costmodel import BinnedSampler, BoundedCost, Constraint, FeasibleSet, best, counted
from nascli.costmodel.chain import require_single_path
from nascli.costmodel.space_costs import counted_names
from nascli.errors import CheckpointError, ConstraintError, Remedy
from nascli.paths import home
from nascli.progress import Progress
from nascli.random_streams import RandomStream, generator
from nascli.spaces.space import Space
from nascli.supernet.data.images import Images
from nascli.supernet.modules import load_module
from nascli.supernet.separate import Supernet, sample_branches
from nascli.supernet.training import distributed
from nascli.supernet.training.checkpoint import is_trained, load_checkpoint, settings_digest
from nascli.supernet.training.recipe import Recipe
from nascli.supernet.training.teaching import Distiller, Teaching
from nascli.supernet.training.trainer import LearnersOfStep, PathOfStep, Trainer

# Number of bins of a cost over which paths are drawn uniformly, as in the code of SPOS's authors.
COST_BINS = 7


@dataclass(frozen=True)
class SharedSupernet:
    """A trained supernet that several searches use.

    Attributes:
        supernet: Supernet with its trained weights.
        identity: Digest of what the weights depend on, from `supernet_identity`.
        reused: Whether the weights had been trained before.
    """

    supernet: Supernet
    identity: str
    reused: bool


def supernet_identity(
    space: Space,
    images: Images,
    recipe: Recipe,
    seed: int,
    within: Constraint | None = None,
    *,
    sandwich: int | None = None,
    teaching: Teaching | None = None,
) -> str:
    """Return a digest of what a trained supernet depends on.

    Args:
        space: Space of the supernet.
        images: Data set.
        recipe: How the supernet is trained.
        seed: Seed of weights, paths, and data order.
        within: Window of a cost within which paths are drawn; None for all paths of the space.
        sandwich: Number of random paths in each step of the sandwich rule; None without it.
        teaching: What the supernet learns from beside the labels; None for the labels alone.
    """
    parts: list[object] = [
        f"supernet-aligned-{2 if space.multi_branch else 1}",
        space.digest,
        images.digest,
        recipe,
        seed,
    ]
    parts += [] if within is None else [str(within)]
    parts += [] if sandwich is None else [{"sandwich": sandwich}]
    parts += [] if teaching is None else [teaching]
    return settings_digest(*parts)


def train_shared_supernet(
    space: Space,
    images: Images,
    recipe: Recipe,
    *,
    seed: int,
    progress: Progress,
    given: str | None = None,
    out: Path | None = None,
    within: Constraint | None = None,
    sandwich: int | None = None,
    teaching: Teaching | None = None,
) -> SharedSupernet:
    """Train the supernet of a space on random paths (SPOS, section 3), or load it if it has been trained before.

    By the sandwich rule (Yu and Huang 2019; BigNAS, Yu et al. 2020) each step trains the path with the most MACs on the
    labels, and the path with the fewest as well as random ones on the logits of the first; the gradients add up.

    Args:
        space: Single-path or multi-branch space.
        images: Data set; weights are fitted to its training part.
        recipe: How to train.
        seed: Seed of weights, paths, and data order.
        progress: Progress display.
        given: Checkpoint of a finished training that is used instead; None to train.
        out: Checkpoint to write; None for a file beside the store, named after the identity.
        within: Window of a counted cost, over whose bins paths are drawn uniformly; None draws paths uniformly from
            the space.
        sandwich: Number of random paths in each step of the sandwich rule, at least 0; None trains one random path.
        teaching: What the supernet learns from beside the labels; None for the labels alone.

    Raises:
        CheckpointError: The given checkpoint is not finished, or belongs to another space.
        ConstraintError: The window is not one of a counted cost, or lacks an end; or the sandwich rule is asked for in
            a multi-branch space.
    """
    identity = supernet_identity(space, images, recipe, seed, within, sandwich=sandwich, teaching=teaching)
    file = out or home() / "supernets" / f"{identity}.safetensors"
    torch.manual_seed(seed)
    supernet = Supernet(space)
    if given is not None:
        given_identity = _load_given(supernet, Path(given))
        progress.message(f"supernet {given} is used as it is")
        return SharedSupernet(supernet, given_identity, reused=True)
    # Another job may finish the same training at this moment: the processes must not disagree.
    if distributed.on_first(lambda: is_trained(file, identity)):
        load_module(supernet, load_checkpoint(file)[0])
        progress.message(f"supernet {identity[:8]} of {space.name} is trained already; reused")
        return SharedSupernet(supernet, identity, reused=True)
    path_of_step: PathOfStep
    learners: LearnersOfStep | None = None
    if sandwich is None:
        path_of_step = _random_paths(space, seed, within)
    else:
        path_of_step, learners = sandwich_paths(space, sandwich, seed, within)
    trainer = Trainer(
        supernet,
        images.train,
        recipe,
        seed=seed,
        path_of_step=path_of_step,
        learners_of_step=learners,
        teacher=None if teaching is None else Distiller(teaching, supernet, seed),
    )
    trainer.run(file, identity, progress, f"training the supernet of {space.name}")
    return SharedSupernet(supernet, identity, reused=False)


def _load_given(supernet: Supernet, file: Path) -> str:
    """Load the weights of a finished checkpoint; return its identity."""
    tensors, state = load_checkpoint(file)
    if state.get("step") != state.get("steps"):
        raise CheckpointError(
            f"{file} is at step {state.get('step')} of {state.get('steps')}.",
            "Finish its training with the settings with which it began.",
            Remedy(job="train_supernet", arguments={"out": file}),
        )
    load_module(supernet, tensors)
    return str(state.get("identity"))


def _random_paths(space: Space, seed: int, within: Constraint | None) -> PathOfStep:
    """Return the function from a step to its random architecture."""
    draw = _path_sampler(space, within)

    def path_of_step(step: int) -> Sequence[int]:
        return draw(generator(seed, RandomStream.SUPERNET_PATHS, step))

    return path_of_step


def _path_sampler(space: Space, within: Constraint | None) -> Callable[[np.random.Generator], Sequence[int]]:
    """Return the function that draws an architecture of the space, or of the window."""
    bins = None if within is None else _cost_bins(space, within)
    remaining = [np.ones(len(layer.candidates), dtype=bool) for layer in space.layers]

    def draw(rng: np.random.Generator) -> Sequence[int]:
        if bins is not None:
            return bins.sample(1, rng)[0].tolist()  # type: ignore[no-any-return]
        if space.multi_branch:
            return sample_branches(space.layers, remaining, rng)
        return space.sample(1, rng)[0].tolist()  # type: ignore[no-any-return]

    return draw


def sandwich_paths(
    space: Space, count: int, seed: int, within: Constraint | None = None
) -> tuple[PathOfStep, LearnersOfStep]:
    """Return the paths of the sandwich rule: that with the most MACs, and those that learn from it in each step.

    Args:
        space: Single-path space.
        count: Number of random paths in each step, at least 0.
        seed: Seed of the random paths.
        within: Window of a counted cost that holds all paths; None for all paths of the space.

    Returns:
        Functions from the number of a step: to the largest path, and to the smallest one and the random ones.

    Raises:
        ConstraintError: The space is multi-branch, or the window is not one of a counted cost.
    """
    require_single_path(space, "the sandwich rule")
    draw = _path_sampler(space, within)
    bounds = [] if within is None else [BoundedCost(within, counted(space, within.name))]
    feasible = FeasibleSet(space, bounds)
    macs = counted(space, "macs").unary
    largest = best(feasible, macs).tolist()
    smallest = best(feasible, [-values for values in macs]).tolist()

    def learners(step: int) -> Sequence[Sequence[int]]:
        rng = generator(seed, RandomStream.SUPERNET_PATHS, step)
        return [smallest, *(draw(rng) for _ in range(count))]

    return lambda step: largest, learners


def _cost_bins(space: Space, within: Constraint) -> BinnedSampler:
    """Return a sampler that is uniform over bins of a counted cost (the constraint sampling of SPOS's code)."""
    if within.name not in counted_names() or not math.isfinite(within.low) or not math.isfinite(within.high):
        raise ConstraintError(
            f"paths are drawn within a window of a counted cost, not {within}.",
            "Write both ends, as in 290M<=macs<=360M.",
            Remedy(arguments={"within": "290M<=macs<=360M"}),
        )
    edges = np.linspace(within.low, within.high, COST_BINS + 1).tolist()
    return BinnedSampler(space, counted(space, within.name), edges)
