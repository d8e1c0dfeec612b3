"""PC-NAS (Li et al. 2020): a pool of partial models grows layer by layer while the shared weights train on it.

This is Algorithm 2, with the potentials of Algorithm 1. The completions of a partial model are drawn uniformly from the
exact set of feasible architectures with that prefix; the paper draws from the whole space and drops what breaks the
limit, which `PcnasSettings.dump` does too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from nascli.costmodel import FeasibleSet
from nascli.errors import InfeasibleError, NascliError, Remedy
from nascli.progress import Progress
from nascli.random_streams import generator
from nascli.search.pcnas.settings import PcnasSettings, PcnasStream
from nascli.search.run_folder import StateFile
from nascli.spaces.space import Population, Space

# The choices of the first layers.
Prefix = tuple[int, ...]
# Returns the architecture that trains the supernet at a step.
PathOf = Callable[[int], Sequence[int]]
Array = npt.NDArray[np.float64]


class PoolTrainer(Protocol):
    """What PC-NAS needs of a supernet."""

    def train(self, stage: int, path: PathOf) -> None:
        """Train to the end of a stage.

        Args:
            stage: 0 is the warm-up; stage l trains on the pool of the first l layers.
            path: Returns the architecture of each step.
        """

    def quick_accuracies(self, population: Population, rng: np.random.Generator) -> Array:
        """Evaluate each architecture on one mini-batch of the validation part.

        Args:
            population: `(n, layers)` architectures.
            rng: The source of randomness of the mini-batches.

        Returns:
            `(n,)` accuracies.
        """


@dataclass(frozen=True)
class PartialModel:
    """A partial or complete model.

    Attributes:
        choices: The choices of its layers.
        potential: The expected accuracy of its completions; -inf where none is feasible.
    """

    choices: Prefix
    potential: float

    def to_json(self) -> list[object]:
        """As a JSON document; JSON has no infinity, so that a model without a feasible completion has None."""
        return [list(self.choices), self.potential if np.isfinite(self.potential) else None]

    @classmethod
    def from_json(cls, document: Sequence[Any]) -> PartialModel:
        """Read a document that `to_json` wrote."""
        choices, potential = document
        return cls(
            tuple(int(choice) for choice in choices), -np.inf if potential is None else float(potential)
        )


@dataclass(frozen=True)
class PoolExtension:
    """The extension of the pool by one layer.

    Attributes:
        candidates: Every extended partial model.
        pool: The partial models that stay in the pool, best first.
    """

    candidates: tuple[PartialModel, ...]
    pool: tuple[PartialModel, ...]

    def to_json(self) -> dict[str, list[list[object]]]:
        """As a JSON document."""
        return {
            "candidates": [model.to_json() for model in self.candidates],
            "pool": [model.to_json() for model in self.pool],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Sequence[Sequence[Any]]]) -> PoolExtension:
        """Read a document that `to_json` wrote."""
        return cls(
            tuple(PartialModel.from_json(model) for model in document["candidates"]),
            tuple(PartialModel.from_json(model) for model in document["pool"]),
        )


class PcnasSearch:
    """One search; `grow` runs it to its end and continues where a killed search stopped.

    Args:
        feasible: The architectures within the budgets, of a single-path space.
        settings: The hyper-parameters.
        seed: The seed of all random streams.
        state: Where the pools are kept.

    Raises:
        NascliError: The space is multi-branch.
    """

    name = "pcnas"

    def __init__(self, feasible: FeasibleSet, settings: PcnasSettings, seed: int, state: StateFile) -> None:
        space = feasible.space
        if space.multi_branch:
            raise NascliError(f"{space.name} is multi-branch: PC-NAS takes one operator per layer.")
        self._feasible = feasible
        self._settings = settings
        self._seed = seed
        self._state = state

    @property
    def space(self) -> Space:
        """The space that is searched."""
        return self._feasible.space

    def grow(self, engine: PoolTrainer, progress: Progress) -> list[PoolExtension]:
        """Grow the pool through all layers (Algorithm 2).

        Args:
            engine: Trains the supernet and evaluates with it.
            progress: Reports each layer's pool.

        Returns:
            One extension per layer; the last pool has complete architectures.

        Raises:
            InfeasibleError: At a layer, no partial model has a feasible completion among its draws.
        """
        layers = len(self.space.layers)
        history = [PoolExtension.from_json(document) for document in self._state.get("pools") or []]
        for stage in range(layers + 1):
            pool = [model.choices for model in history[stage - 1].pool] if stage else [()]
            engine.train(stage, self.path(pool, stage))
            if stage < layers and len(history) <= stage:
                history.append(self.extend(engine, pool, stage))
                self._state.put("pools", [extension.to_json() for extension in history])
                progress.message(_describe(history[-1], stage, layers))
        return history

    def path(self, pool: Sequence[Prefix], stage: int) -> PathOf:
        """Return how architectures train the supernet: members of the pool, completed uniformly (section 3.3)."""

        def path_of_step(step: int) -> Sequence[int]:
            rng = generator(self._seed, PcnasStream.PATHS, stage, step)
            prefix = pool[int(rng.integers(len(pool)))]
            row = self.space.sample(1, rng)[0].tolist()
            return [*prefix, *row[len(prefix) :]]

        return path_of_step

    def extend(self, engine: PoolTrainer, pool: Sequence[Prefix], stage: int) -> PoolExtension:
        """Extend every member of the pool by every operator of the next layer, and keep the best (Algorithm 2).

        Raises:
            InfeasibleError: No extended model has a feasible completion among its draws.
        """
        layer = self.space.layers[stage]
        extended = [(*prefix, choice) for prefix in pool for choice in range(len(layer.candidates))]
        potentials = self.potentials(engine, extended, stage)
        candidates = [
            PartialModel(choices, float(potential))
            for choices, potential in zip(extended, potentials, strict=True)
        ]
        feasible = [model for model in candidates if np.isfinite(model.potential)]
        if not feasible:
            budgets = " and ".join(str(budget.constraint) for budget in self._feasible.budgets)
            raise InfeasibleError(
                f"at layer {stage + 1} ({layer.name}) none of {len(extended)} partial models has a completion "
                f"among {self._settings.draws} draws that satisfies {budgets}.",
                "Draw more, or draw feasible completions alone, which is exact.",
                Remedy(arguments={"changes": "pcnas.dump=false"}),
            )
        ranked = sorted(feasible, key=lambda model: model.potential, reverse=True)
        return PoolExtension(tuple(candidates), tuple(ranked[: self._settings.pool]))

    def potentials(self, engine: PoolTrainer, partial_models: Sequence[Prefix], stage: int) -> Array:
        """Return the `(n,)` potentials of partial models (Algorithm 1).

        The potential is the mean accuracy of the drawn completions; -inf where none of them is feasible.
        """
        rows, owners = [], []
        for number, prefix in enumerate(partial_models):
            completions = self.completions(
                prefix, generator(self._seed, PcnasStream.COMPLETIONS, stage, number)
            )
            rows.append(completions)
            owners.append(np.full(len(completions), number))
        owner = np.concatenate(owners)
        potentials = np.full(len(partial_models), -np.inf)
        if not len(owner):
            return potentials
        accuracies = engine.quick_accuracies(
            np.concatenate(rows), generator(self._seed, PcnasStream.MINI_BATCHES, stage)
        )
        counts = np.bincount(owner, minlength=len(partial_models))
        sums = np.bincount(owner, weights=accuracies, minlength=len(partial_models))
        potentials[counts > 0] = sums[counts > 0] / counts[counts > 0]
        return potentials

    def completions(self, prefix: Prefix, rng: np.random.Generator) -> Population:
        """Draw feasible architectures that begin with a prefix; no rows where there are none."""
        draws = self._settings.draws
        if self._settings.dump:
            rows = self.space.sample(draws, rng)
            rows[:, : len(prefix)] = prefix
            return rows[self._feasible.contains(rows)]
        if not self._feasible.has_completion(prefix):
            return np.empty((0, len(self.space.layers)), self.space.dtype)
        # All draws of a complete model are equal: its potential is then a mean over mini-batches.
        return self._feasible.sample(draws, rng, prefix)


def _describe(extension: PoolExtension, stage: int, layers: int) -> str:
    best = extension.pool[0]
    return (
        f"layer {stage + 1} of {layers}: {len(extension.pool)} of {len(extension.candidates)} partial "
        f"models kept, best {list(best.choices)} with potential {best.potential:.3f}"
    )
