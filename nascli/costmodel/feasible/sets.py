"""The exact set of architectures within a budget: counted, sampled and searched without rejection.

A dynamic programme from the last layer to the first knows, for every layer and every budget that may be
left, the weight of all feasible completions; walking forward by it draws exactly from the feasible set.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nascli.costmodel.feasible.diagnosis import explain_infeasible, find_feasible
from nascli.costmodel.feasible.grid import ROUNDING, Axis, Budget, exact_size, make_axis
from nascli.costmodel.feasible.layers import (
    Arithmetic,
    Branches,
    BranchLaw,
    Counts,
    Layer,
    Single,
    Sums,
    Table,
)
from nascli.costmodel.feasible.paired import Paired
from nascli.errors import ConstraintError, InfeasibleError
from nascli.spaces.space import Codes, Space
from nascli.spaces.space import Layer as SpaceLayer

Array = npt.NDArray[np.float64]
Law = Array | BranchLaw
# States per layer: one axis, several axes; multi-branch layers keep a table per number of branches.
_STATES = {False: (1 << 16, 1 << 18), True: (1 << 14, 1 << 16)}
_MOST_STATES = 1 << 22
_FINEST = 64.0
# The largest primes below 2^62: two residues still add up within 64 bits.
_PRIMES = tuple(
    2**62 - k for k in (57, 87, 117, 143, 153, 167, 171, 195, 203, 273, 287, 317, 443, 483, 495, 575)
)


class FeasibleSet:
    """All architectures of a space that satisfy every budget."""

    def __init__(self, space: Space, budgets: Sequence[Budget], *, resolution: float = 1.0) -> None:
        """Prepare the tables.

        Args:
            space: single-path or multi-branch.
            budgets: any number of windows on chain costs of that space.
            resolution: multiplies the number of grid cells; finer grids lose less at the bounds.

        Raises:
            InfeasibleError: no architecture satisfies them; says which bind and by how much.
            ConstraintError: a feasible set so close to its bounds that no affordable grid resolves it.
        """
        self.space = space
        self.budgets = tuple(budgets)
        for budget in self.budgets:
            _check_alone(space, budget)
        binding = [budget for budget in self.budgets if budget.binds]
        while True:
            self._prepare(binding, resolution)
            if self._entry(self._tables, (), np.array(self._start)) > 0:
                return
            if all(axis.exact for axis in self.axes) or resolution >= _FINEST:
                break
            # Too coarse, perhaps: what rounding lost must not be called infeasible.
            resolution *= 4
        witness = find_feasible(space, binding)
        if witness is None:
            raise InfeasibleError(*explain_infeasible(space, binding))
        raise ConstraintError(
            f"architectures such as {witness} satisfy the constraints, but lie closer to the bounds than the "
            f"grid can tell ({self._slack_text()}).",
            "Widen a bound by that much, or pass a larger resolution.",
        )

    def _prepare(self, binding: Sequence[Budget], resolution: float) -> None:
        self.axes = _axes(self.space, binding, resolution)
        self._shape = tuple(axis.size for axis in self.axes) or (1,)
        self._start = tuple(size - 1 for size in self._shape)
        self._layers = _layers(self.space, self.axes)
        self._uniform: list[Law] = [_uniform_law(layer) for layer in self.space.layers]
        self._tables = self.backward(Sums(), self._uniform)

    @property
    def slack(self) -> dict[str, float]:
        """By how much at most, in the cost's unit, the grid tightens each bound; 0 where it is exact."""
        tightened = {budget.cost.name: 0.0 for budget in self.budgets}
        return tightened | {axis.budget.cost.name: axis.slack for axis in self.axes}

    def _slack_text(self) -> str:
        return ", ".join(f"{a.budget.cost.name} {a.budget.cost.format(a.slack)}" for a in self.axes)

    def count(self, prefix: Sequence[int] = ()) -> int:
        """Number of feasible architectures on the grid, exactly, that begin with `prefix`."""
        left = self._after(prefix)
        if left is None:
            return 0
        if self.space.size < 2**63:
            tables = self.backward(Counts(None), self._uniform)
            return int(self._entry(tables, prefix, left))
        residues, modulus = 0, 1
        for prime in _PRIMES:
            tables = self.backward(Counts(prime), self._uniform)
            residue = int(self._entry(tables, prefix, left))
            # The Chinese remainder theorem, one prime at a time.
            residues += modulus * ((residue - residues) * pow(modulus, -1, prime) % prime)
            modulus *= prime
            if modulus > self.space.size:
                return residues
        raise ConstraintError(f"{self.space.name} is too large to count exactly; see log10_count")

    def log10_count(self) -> float:
        """Decimal logarithm of the number of feasible architectures, in floating point."""
        return math.log10(float(self._entry(self._tables, (), np.array(self._start))))

    def contains(self, codes: Codes) -> npt.NDArray[np.bool_]:
        """Which of `(n, layers)` architectures satisfy the real constraints."""
        inside = np.ones(len(codes), dtype=bool)
        for budget in self.budgets:
            inside &= budget.holds(budget.cost(codes))
        return inside

    def sample(self, n: int, rng: np.random.Generator, prefix: Sequence[int] = ()) -> Codes:
        """`(n, layers)` architectures, uniform over those that begin with `prefix`.

        Raises:
            InfeasibleError: nothing feasible begins with the prefix.
        """
        return self._draw(self._uniform, self._tables, n, rng, prefix)

    def weighted(self, laws: Sequence[Law], n: int, rng: np.random.Generator) -> Codes:
        """`(n, layers)` architectures with probability proportional to the product of their weights.

        Args:
            laws: per layer `(candidates,)` weights, or a `BranchLaw` for a multi-branch layer.
            n: how many.
            rng: the source of randomness.

        Raises:
            InfeasibleError: no architecture of positive weight is feasible.
        """
        return self._draw(laws, self.backward(Sums(), laws), n, rng, ())

    def distinct(self, n: int, rng: np.random.Generator) -> Codes:
        """Up to `n` different architectures, uniform over the sets of that size; all if there are fewer."""
        if self.count() <= 4 * n:
            every = self.enumerate()
            chosen = rng.permutation(len(every))[:n]
            return every[np.sort(chosen)]
        found: dict[tuple[int, ...], None] = {}
        while len(found) < n:
            # At most a quarter of the set is taken, so every round brings new ones.
            for row in self.sample(n - len(found), rng):
                found.setdefault(tuple(int(code) for code in row))
        return np.array(list(found), dtype=self.space.dtype)

    def enumerate(self, most: int = 1_000_000) -> Codes:
        """Every feasible architecture on the grid, in lexical order.

        Raises:
            ConstraintError: more than `most`.
        """
        if self.log10_count() > math.log10(most) + 1e-9:
            raise ConstraintError(
                f"more than {most} architectures are feasible (10^{self.log10_count():.1f})"
            )
        rows: list[tuple[int, ...]] = [()]
        for layer in self.space.layers:
            codes = _codes_of(layer)
            rows = [
                (*row, code)
                for row, code in itertools.product(rows, codes)
                if self.has_completion((*row, code))
            ]
        return np.array(rows, dtype=self.space.dtype).reshape(len(rows), len(self.space.layers))

    def has_completion(self, prefix: Sequence[int]) -> bool:
        """Whether anything feasible on the grid begins with `prefix`; by the tables that are there already."""
        left = self._after(prefix)
        return left is not None and bool(self._entry(self._tables, prefix, left) > 0)

    def mutate(self, parent: Codes, probability: float, n: int, rng: np.random.Generator) -> Codes:
        """`(n, layers)` children of one parent.

        The plain operator redraws each gene with `probability`, uniformly over the layer's choices; this
        is its distribution conditioned on the child being feasible.
        """
        laws: list[Law] = []
        for layer, code in zip(self.space.layers, parent, strict=True):
            if layer.join == "single":
                share = np.full(layer.size, probability / layer.size)
                share[int(code)] += 1 - probability
                laws.append(share)
            else:
                ones = np.ones(len(layer.candidates))
                free = probability / layer.size
                laws.append(BranchLaw(ones, ones, free, ((int(code), 1 - probability),)))
        return self.weighted(laws, n, rng)

    def cross(self, first: Codes, second: Codes, n: int, rng: np.random.Generator) -> Codes:
        """`(n, layers)` children that take each gene from either parent, given that they are feasible."""
        laws: list[Law] = []
        for layer, a, b in zip(self.space.layers, first, second, strict=True):
            if layer.join == "single":
                share = np.zeros(layer.size)
                share[int(a)] += 0.5
                share[int(b)] += 0.5
                laws.append(share)
            else:
                ones = np.ones(len(layer.candidates))
                laws.append(BranchLaw(ones, ones, 0.0, ((int(a), 0.5), (int(b), 0.5))))
        return self.weighted(laws, n, rng)

    def backward(
        self, arithmetic: Arithmetic, laws: Sequence[Law], *, spent_whole: bool = False
    ) -> list[Table]:
        """Tables of completions before each layer and after the last.

        Args:
            arithmetic: what is accumulated.
            laws: per layer the weights.
            spent_whole: of completions that leave no cell of any budget, instead of what the bounds allow.
        """
        end = arithmetic.zeros(self._shape)
        inside = np.ones(self._shape, dtype=bool)
        for number, axis in enumerate(self.axes):
            index = np.arange(axis.size).reshape([-1 if i == number else 1 for i in range(len(self.axes))])
            inside &= index <= (0 if spent_whole else axis.leftover)
        end[inside] = arithmetic.unit
        tables = [end]
        for layer, law in zip(reversed(self._layers), reversed(list(laws)), strict=True):
            tables.append(layer.backward(tables[-1], arithmetic, law))  # type: ignore[arg-type]
        tables.reverse()
        return tables

    def _draw(
        self,
        laws: Sequence[Law],
        tables: list[Table],
        n: int,
        rng: np.random.Generator,
        prefix: Sequence[int],
    ) -> Codes:
        start = self._after(prefix)
        if start is None or not self._entry(tables, prefix, start) > 0:
            raise InfeasibleError(
                f"nothing feasible begins with {list(prefix)}." if prefix else "no weight is feasible."
            )
        codes = np.empty((n, len(self._layers)), dtype=self.space.dtype)
        codes[:, : len(prefix)] = np.asarray(prefix, dtype=self.space.dtype)
        left = np.tile(start, (n, 1))
        before = codes[:, len(prefix) - 1].astype(np.int64) if prefix else np.zeros(n, dtype=np.int64)
        for number in range(len(prefix), len(self._layers)):
            layer, law, after = self._layers[number], laws[number], tables[number + 1]
            if isinstance(layer, Paired):
                drawn, left = layer.forward(after, law, left, before, rng)  # type: ignore[arg-type]
                before = drawn
            else:
                drawn, left = layer.forward(after, law, left, rng)  # type: ignore[arg-type]
            codes[:, number] = drawn
        return codes

    def _after(self, prefix: Sequence[int]) -> npt.NDArray[np.int64] | None:
        """What is left after a prefix; None if it overdraws a budget."""
        left = np.array(self._start, dtype=np.int64)
        before = 0
        for layer, code in zip(self._layers, prefix, strict=False):
            if isinstance(layer, Branches):
                step = layer.step_of(int(code))
            elif isinstance(layer, Paired):
                step = layer.steps[before, int(code)]
            else:
                step = layer.steps[int(code)]
            before = int(code)
            left = left - step
        return left if np.all(left >= 0) else None

    def _entry(self, tables: list[Table], prefix: Sequence[int], left: npt.NDArray[np.int64]) -> float:
        table = tables[len(prefix)]
        if table.ndim > len(self._shape):
            table = table[int(prefix[-1]) if prefix else 0]
        return table[tuple(left)]  # type: ignore[no-any-return]


def _axes(space: Space, binding: Sequence[Budget], resolution: float) -> list[Axis]:
    one, several = _STATES[space.multi_branch]
    total = min(_MOST_STATES, int((one if len(binding) < 2 else several) * resolution))
    if any(b.cost.pairwise is not None for b in binding):
        widest = max(len(layer.candidates) for layer in space.layers)
        total = max(1024, total // widest * 4)
    # Lossless axes that are small leave their share to the others.
    order = sorted(binding, key=lambda b: exact_size(b) or math.inf)
    axes: dict[int, Axis] = {}
    for position, budget in enumerate(order):
        share = max(4, int(total ** (1 / (len(order) - position))))
        axis = make_axis(budget, share)
        total = max(4, total // axis.size)
        axes[id(budget)] = axis
    return [axes[id(budget)] for budget in binding]


def _layers(space: Space, axes: Sequence[Axis]) -> list[Layer | Paired]:
    if any(axis.budget.cost.pairwise is not None for axis in axes):
        return [_paired(space, axes, number) for number in range(len(space.layers))]
    layers: list[Layer | Paired] = []
    for number, layer in enumerate(space.layers):
        if axes:
            steps = np.stack([axis.choices[number] for axis in axes], axis=1)
        else:
            steps = np.zeros((len(layer.candidates), 1), dtype=np.int64)
        if layer.join == "single":
            layers.append(Single(steps))
            continue
        least = layer.least
        allowed = tuple(range(least, min(layer.most, len(layer.candidates)) + 1))
        joins = np.zeros((layer.most + 1, steps.shape[1]), dtype=np.int64)
        for column, axis in enumerate(axes):
            assert axis.joins is not None
            joins[:, column] = axis.joins[number]
            allowed = tuple(k for k in allowed if joins[k, column] >= 0)
        layers.append(Branches(steps, np.maximum(joins, 0), allowed))
    return layers


def _paired(space: Space, axes: Sequence[Axis], number: int) -> Paired:
    before = 1 if number == 0 else len(space.layers[number - 1].candidates)
    here = len(space.layers[number].candidates)
    columns = [np.broadcast_to(np.atleast_2d(axis.choices[number]), (before, here)) for axis in axes]
    return Paired(np.stack(columns, axis=2))


def _uniform_law(layer: SpaceLayer) -> Law:
    ones = np.ones(len(layer.candidates))
    return ones if layer.join == "single" else BranchLaw(ones, ones)


def _codes_of(layer: SpaceLayer) -> list[int]:
    if layer.join == "single":
        return list(range(len(layer.candidates)))
    least = layer.least
    candidates = range(len(layer.candidates))
    sets = itertools.chain.from_iterable(
        itertools.combinations(candidates, k) for k in range(least, layer.most + 1)
    )
    return sorted(sum(1 << i for i in chosen) for chosen in sets)


def _check_alone(space: Space, budget: Budget) -> None:
    constraint, cost = budget.constraint, budget.cost
    if constraint.high < cost.least * (1 - ROUNDING):
        cheapest = find_feasible(space, (), minimise=cost)
        raise InfeasibleError(
            f"no architecture of {space.name} satisfies {constraint}: the cheapest has {cost.name} "
            f"{cost.format(cost.least)} (codes {cheapest}).",
            f"Allow at least {cost.format(cost.least)}, or choose a smaller space.",
        )
    if constraint.low > cost.most * (1 + ROUNDING):
        raise InfeasibleError(
            f"no architecture of {space.name} satisfies {constraint}: the dearest has {cost.name} "
            f"{cost.format(cost.most)}.",
            f"Ask for at most {cost.format(cost.most)}, or choose a larger space.",
        )
