"""Exact feasible sets compared with rejection sampling, and array scoring compared with a dictionary loop."""

from __future__ import annotations

import math
import statistics

import numpy as np

from benchmarks._report import Target, parse_arguments, repeated, spread, write
from nascli.costmodel import BoundedCost, ChainCost, Constraint, FeasibleSet, counted, k_best
from nascli.spaces import Operator, Space, make_space

NOTES = """
Single path: the 21 layers of up to 20 candidates of `pcnas-large`, under a synthetic real-valued latency (MACs times a
factor drawn per candidate). Multi-branch: `nse-27`, 22 layers of 27 branches, at most 5 per layer, under a window of
real MACs. The feasible share is the exact number of feasible architectures divided by the size of the space. Rejection
sampling draws uniformly and keeps what fits, in vectorised blocks. Where the share is too small for a run to see an
acceptance, its rate is its draws per second times the share (marked as computed). The dictionary loop is the method of
published tools: it builds a text key per layer from the operator's arguments and shapes and looks it up, one by one; in
the last row the keys are ready. Several budgets: the same latency together with MACs and parameters, bounded at
quantiles of uniform draws. The count of a large set is an estimate there, and it is compared with uniform draws. All
figures are for one core. Every architecture that was returned was checked against the real constraint.
"""


def latency_of(space: Space) -> ChainCost:
    rng = np.random.default_rng(0)
    macs = counted(space, "macs")
    unary = tuple(u * 1e-11 * (1 + 0.3 * rng.random(len(u))) + 1e-5 * rng.random(len(u)) for u in macs.unary)
    return ChainCost("latency", "time", 1e-3, unary)


def at_most(cost: ChainCost, high: float) -> BoundedCost:
    return BoundedCost(Constraint(cost.name, -np.inf, high), cost)


def budget_of_share(space: Space, cost: ChainCost, share: float) -> BoundedCost:
    """The budget under which about `share` of the space lies, found by bisection on the exact count."""
    low, high = cost.minimum, cost.maximum
    for _ in range(25):
        middle = (low + high) / 2
        inside = FeasibleSet(space, [at_most(cost, middle)], resolution=0.125).log10_count()
        if inside - np.log10(float(space.size)) > np.log10(share):
            high = middle
        else:
            low = middle
    return at_most(cost, high)


def key_of(candidate: Operator, layer: int) -> str:
    arguments = "-".join(f"{name}:{value}" for name, value in candidate.arguments)
    shapes = "x".join(map(str, candidate.input)), "x".join(map(str, candidate.output))
    return f"{layer}-{candidate.family}-input:{shapes[0]}-output:{shapes[1]}-{arguments}"


def keyed_loop(space: Space, cost: ChainCost, codes: np.ndarray) -> list[float]:
    table = {
        key_of(candidate, number): float(value)
        for number, (layer, values) in enumerate(zip(space.layers, cost.unary, strict=True))
        for candidate, value in zip(layer.candidates, values, strict=True)
    }
    layers = [layer.candidates for layer in space.layers]
    return [
        cost.offset + sum(table[key_of(layers[n][code], n)] for n, code in enumerate(row))
        for row in codes.tolist()
    ]


def ready_loop(space: Space, cost: ChainCost, codes: np.ndarray) -> list[float]:
    table = {
        f"layer{number}-{candidate.label}": float(value)
        for number, (layer, values) in enumerate(zip(space.layers, cost.unary, strict=True))
        for candidate, value in zip(layer.candidates, values, strict=True)
    }
    keys = [[f"layer{n}-{c.label}" for c in layer.candidates] for n, layer in enumerate(space.layers)]
    return [cost.offset + sum(table[keys[n][code]] for n, code in enumerate(row)) for row in codes.tolist()]


def several_budgets(
    space: Space, cost: ChainCost, n: int, repeats: int, draws: int
) -> tuple[list[list[str]], list[float]]:
    """Two and three bounded costs: how the number of feasible architectures compares with what uniform draws say."""
    codes = space.sample(draws, np.random.default_rng(8))
    macs, params = counted(space, "macs"), counted(space, "params")

    def bounded(one: ChainCost, low: float | None, high: float) -> BoundedCost:
        ends = np.quantile(one(codes), [low or 0.0, high])
        return BoundedCost(
            Constraint(one.name, -np.inf if low is None else float(ends[0]), float(ends[1])), one
        )

    cases = {
        "two upper bounds": [bounded(cost, None, 0.5), bounded(macs, None, 0.5)],
        "three upper bounds": [bounded(one, None, 0.5) for one in (cost, macs, params)],
        "three windows": [bounded(one, 0.4, 0.6) for one in (cost, macs, params)],
    }
    rows, differences = [], []
    for name, budgets in cases.items():
        prepared = repeated(lambda b=budgets: FeasibleSet(space, b), repeats)
        feasible = FeasibleSet(space, budgets)
        drawn = float(feasible.contains(codes).mean())
        found = 10 ** (feasible.log10_count() - math.log10(space.size))
        differences.append(abs(found / drawn - 1))
        rates = [n / t for t in repeated(lambda f=feasible: f.sample(n, np.random.default_rng(9)), repeats)]
        assert feasible.contains(feasible.sample(n, np.random.default_rng(3))).all()
        rows.append(
            [
                f"{name}, share {found:.2e} (by {draws:,} uniform draws {drawn:.2e})",
                f"{spread([t * 1e3 for t in prepared])} ms",
                f"{spread(rates)} /s",
                "",
                "",
                "none (drawn anew)",
            ]
        )
    return rows, differences


def main() -> None:
    quick = parse_arguments(__doc__ or "").quick
    repeats, n = (2, 2000) if quick else (9, 100_000)
    rows: list[list[str]] = []
    targets: list[Target] = []
    space = make_space("pcnas-large")
    cost = latency_of(space)

    def propose() -> np.ndarray:
        return space.sample(n, np.random.default_rng(1))

    draws = n / statistics.median(repeated(lambda: cost(propose()), max(2, repeats // 3)))
    preparing: list[float] = []
    for share in (0.5, 1e-3, 1e-6, 1e-9, 1e-12):
        budget = budget_of_share(space, cost, share)
        prepared = repeated(lambda b=budget: FeasibleSet(space, [b]), repeats)
        preparing += prepared
        feasible = FeasibleSet(space, [budget])
        real = feasible.count() / space.size
        taken = repeated(lambda f=feasible: f.sample(n, np.random.default_rng(2)), repeats)
        assert feasible.contains(feasible.sample(n, np.random.default_rng(3))).all()
        rates = [n / t for t in taken]
        rejected = draws * real
        rows.append(
            [
                f"single path, share {real:.1e}",
                f"{spread([t * 1e3 for t in prepared])} ms",
                f"{spread(rates)} /s",
                f"{rejected:.3g} /s" + (" (computed)" if real < 1e-5 else ""),
                f"{statistics.median(rates) / rejected:.3g}x",
                f"{feasible.slack['latency'] / budget.constraint.high:.1e}",
            ]
        )
        if share == 1e-9:
            targets.append(Target("samples/s, single path, share 1e-9", statistics.median(rates), 1e5, True))
        if share == 1e-12:
            targets.append(Target("samples/s, single path, share 1e-12", statistics.median(rates), 1e5, True))
    targets.append(Target("preparation, ms", statistics.median(preparing) * 1e3, 50, False))

    several, counts = several_budgets(space, cost, n, repeats, 20_000 if quick else 1_000_000)
    rows += several
    targets.append(
        Target(
            "several budgets, count against uniform draws, largest relative difference",
            max(counts),
            0.05,
            False,
        )
    )

    feasible = FeasibleSet(space, [budget_of_share(space, cost, 1e-6)])
    scores = [np.random.default_rng(4).standard_normal(layer.size) for layer in space.layers]
    for name, function in (
        ("exact count", feasible.count),
        ("100 best of an additive score", lambda: k_best(feasible, scores, 100)),
        ("25 mutants of one parent", lambda: feasible.mutate(feasible.sample(1, np.random.default_rng(0))[0], 0.1, 25, np.random.default_rng(1))),
    ):  # fmt: skip
        rows.append([name, "", f"{spread([t * 1e3 for t in repeated(function, repeats)])} ms", "", "", ""])

    branches = make_space("nse-27")
    macs = counted(branches, "macs")
    window = BoundedCost(Constraint("macs", 300e6, 350e6), macs)
    m = 500 if quick else 10_000
    prepared = repeated(lambda: FeasibleSet(branches, [window]), repeats)
    wide = FeasibleSet(branches, [window])
    assert wide.contains(wide.sample(m, np.random.default_rng(5))).all()
    rates = [m / t for t in repeated(lambda: wide.sample(m, np.random.default_rng(6)), repeats)]
    share = 10 ** (wide.log10_count() - math.log10(branches.size))
    rows.append(
        [
            f"multi-branch nse-27, 300M..350M, share {share:.0e}",
            f"{spread([t * 1e3 for t in prepared])} ms",
            f"{spread(rates)} /s",
            "0 (computed)",
            "",
            f"{wide.slack['macs'] / 325e6:.1e}",
        ]
    )
    targets.append(Target("samples/s, multi-branch", statistics.median(rates), 1e4, True))

    codes = space.sample(20_000 if quick else 2_000_000, np.random.default_rng(7))
    few = codes[:2000]
    arrays = [len(codes) / t for t in repeated(lambda: cost(codes), repeats)]
    targets.append(Target("architectures scored/s", statistics.median(arrays), 20e6, True))
    for name, loop in (("a dictionary loop", keyed_loop), ("a loop over ready keys", ready_loop)):
        assert np.allclose(cost(few), loop(space, cost, few))
        loops = [len(few) / t for t in repeated(lambda f=loop: f(space, cost, few), repeats)]
        ratio = statistics.median(arrays) / statistics.median(loops)
        rows.append(
            [
                f"scoring, arrays against {name}",
                "",
                f"{spread(arrays)} /s",
                f"{spread(loops)} /s",
                f"{ratio:.3g}x",
                "",
            ]
        )
        if loop is keyed_loop:
            targets.append(Target("scoring against the dictionary loop, times", ratio, 100, True))
    columns = ["what", "preparation", "ours", "usual way", "ratio", "slack of the bound"]
    write("feasible_sets", columns, rows, targets, NOTES, quick)


if __name__ == "__main__":
    main()
