"""PC-NAS (Li et al. 2020): a pool of partial models grows layer by layer while the shared weights train on it.

Algorithm 2 with Algorithm 1's potentials. Completions of a partial model are drawn uniformly from the exact set of
feasible architectures with that prefix; the paper draws from all and dumps what breaks the limit, which is an option.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from nascli.costmodel import FeasibleSet
from nascli.errors import InfeasibleError, NascliError
from nascli.progress import Progress
from nascli.random_streams import generator
from nascli.search.pcnas.settings import PcnasSettings, PcnasStream
from nascli.search.run_folder import StateFile
from nascli.spaces.space import Population, Space

Prefix = tuple[int, ...]
PathOf = Callable[[int], Sequence[int]]
Array = npt.NDArray[np.float64]


class PoolTrainer(Protocol):
    """What PC-NAS needs of a supernet."""

    def train(self, stage: int, path: PathOf) -> None:
        """Train to the end of a stage (0 is the warm-up); `path` names each step's architecture."""

    def quick_accuracies(self, codes: Population, rng: np.random.Generator) -> Array:
        """`(n,)` accuracy of each architecture on one mini-batch of the validation part."""


@dataclass(frozen=True)
class PartialModel:
    """A partial or complete model of a pool, with its potential."""

    codes: Prefix
    potential: float


@dataclass(frozen=True)
class PoolExtension:
    """What one interval did: every candidate's potential, and the pool that was kept, best first."""

    candidates: tuple[PartialModel, ...]
    pool: tuple[PartialModel, ...]


class PcnasSearch:
    """One search; `grow` runs it to its end, going on where a killed one stopped.

    Args:
        feasible: the architectures within the budget; single-path.
        settings: the hyper-parameters.
        seed: of all randomness.
        state: where the pools are kept.
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
        """What is searched."""
        return self._feasible.space

    def grow(self, engine: PoolTrainer, progress: Progress) -> list[PoolExtension]:
        """Grow the pool through all layers; the last pool's members are complete architectures.

        Raises:
            InfeasibleError: at a layer, no completion of any member is within the limit.
        """
        layers = len(self.space.layers)
        history = [_from_json(d) for d in self._state.get("pools") or []]
        for stage in range(layers + 1):
            pool = [member.codes for member in history[stage - 1].pool] if stage else [()]
            if stage and len(history) < stage:
                raise AssertionError("a stage is trained on the pool before it")
            engine.train(stage, self.path(pool, stage))
            if stage < layers and len(history) <= stage:
                grown = self.extend(engine, pool, stage)
                history.append(grown)
                self._state.put("pools", [_to_json(g) for g in history])
                best = grown.pool[0]
                progress.message(
                    f"layer {stage + 1} of {layers}: {len(grown.pool)} of {len(grown.candidates)} partial "
                    f"models kept, best {list(best.codes)} with potential {best.potential:.3f}"
                )
        return history

    def path(self, pool: Sequence[Prefix], stage: int) -> PathOf:
        """The architecture of a training step: a member of the pool, completed at random (section 3.3)."""

        def of(step: int) -> Sequence[int]:
            rng = generator(self._seed, PcnasStream.PATHS, stage, step)
            prefix = pool[int(rng.integers(len(pool)))]
            row = self.space.sample(1, rng)[0].tolist()
            return [*prefix, *row[len(prefix) :]]

        return of

    def extend(self, engine: PoolTrainer, pool: Sequence[Prefix], stage: int) -> PoolExtension:
        """Extend every member by every operator of the next layer and keep the best (Algorithm 2)."""
        layer = self.space.layers[stage]
        extended = [(*prefix, code) for prefix in pool for code in range(len(layer.candidates))]
        potentials = self.potentials(engine, extended, stage)
        candidates = [PartialModel(codes, float(p)) for codes, p in zip(extended, potentials, strict=True)]
        alive = [member for member in candidates if np.isfinite(member.potential)]
        if not alive:
            budgets = " and ".join(str(budget.constraint) for budget in self._feasible.budgets)
            raise InfeasibleError(
                f"at layer {stage + 1} ({layer.name}) none of {len(extended)} partial models has a completion "
                f"among {self._settings.draws} draws that satisfies {budgets}.",
                "Draw more, or leave --dump out: feasible completions are then drawn exactly.",
            )
        ranked = sorted(alive, key=lambda member: member.potential, reverse=True)
        return PoolExtension(tuple(candidates), tuple(ranked[: self._settings.pool]))

    def potentials(self, engine: PoolTrainer, partial: Sequence[Prefix], stage: int) -> Array:
        """Expected accuracy of each partial model's completions (Algorithm 1); -inf where none is feasible."""
        codes, owners = [], []
        for number, prefix in enumerate(partial):
            rows = self.completions(prefix, generator(self._seed, PcnasStream.COMPLETIONS, stage, number))
            codes.append(rows)
            owners.append(np.full(len(rows), number))
        owner = np.concatenate(owners)
        found = np.full(len(partial), -np.inf)
        if not len(owner):
            return found
        scores = engine.quick_accuracies(
            np.concatenate(codes), generator(self._seed, PcnasStream.MINI_BATCHES, stage)
        )
        counts = np.bincount(owner, minlength=len(partial))
        sums = np.bincount(owner, weights=scores, minlength=len(partial))
        found[counts > 0] = sums[counts > 0] / counts[counts > 0]
        return found

    def completions(self, prefix: Prefix, rng: np.random.Generator) -> Population:
        """Draws of a prefix's completions within the limit; no rows where there are none."""
        wanted = self._settings.draws
        if self._settings.dump:
            rows = self.space.sample(wanted, rng)
            rows[:, : len(prefix)] = prefix
            return rows[self._feasible.contains(rows)]
        if not self._feasible.has_completion(prefix):
            return np.empty((0, len(self.space.layers)), self.space.dtype)
        # Of a complete model all draws are the same: its accuracy is then a mean over mini-batches.
        return self._feasible.sample(wanted, rng, prefix)


def _to_json(grown: PoolExtension) -> dict[str, list[list[object]]]:
    def rows(members: Sequence[PartialModel]) -> list[list[object]]:
        # JSON has no infinity: a model without a feasible completion has no potential.
        return [[list(m.codes), m.potential if np.isfinite(m.potential) else None] for m in members]

    return {"candidates": rows(grown.candidates), "pool": rows(grown.pool)}


def _from_json(document: dict[str, list[list[object]]]) -> PoolExtension:
    def members(rows: list[list[object]]) -> tuple[PartialModel, ...]:
        return tuple(
            PartialModel(tuple(int(c) for c in codes), -np.inf if p is None else float(p))  # type: ignore[attr-defined, arg-type]
            for codes, p in rows
        )

    return PoolExtension(members(document["candidates"]), members(document["pool"]))
