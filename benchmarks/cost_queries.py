"""The speed of cost queries: whole populations beside a dictionary loop, and the gradient of the expected cost."""

from __future__ import annotations

import statistics

import numpy as np
from torch import Tensor

from benchmarks._report import Target, parse_arguments, repeated, spread, write
from nascli.costmodel import counted
from nascli.spaces import load_space

NOTES = """
The benchmark asks for the MACs of random architectures; a latency is the same array operation on other figures.
dictionary: a loop with one key per layer and operator, as other tools read lookup tables, with the figures already
summed per operator. Gradient: the expected cost under probabilities, forward and backward in torch. Runs of the ways
alternate.
"""


def by_dictionary(table: dict, rows: list[list[int]], offset: float, multi: bool) -> list[float]:
    found = []
    for row in rows:
        total = offset
        for layer, code in enumerate(row):
            if not multi:
                total += table[f"layer{layer}-op{code}"]
                continue
            bit = 0
            while code:
                if code & 1:
                    total += table[f"layer{layer}-op{bit}"]
                code >>= 1
                bit += 1
        found.append(total)
    return found


def power_penalty(demand: Tensor, target: float, *, alpha: float, beta: float = 2.0) -> Tensor:
    """alpha * |demand - target| ** beta (NSE, Eq. 5; published with beta = 2)."""
    return alpha * (demand - target).abs() ** beta


def main() -> None:
    import torch

    from nascli.supernet.differentiable import ExpectedCost

    quick = parse_arguments(__doc__ or "").quick
    rows, ratios = [], []
    for spec in ("proxyless", "spos", "nse-27"):
        space = load_space(spec)
        cost = counted(space, "macs")
        codes = space.sample(2_000 if quick else 100_000, np.random.default_rng(0))
        few = codes[: len(codes) // 10].tolist()
        table = {
            f"layer{i}-op{j}": float(v) for i, values in enumerate(cost.unary) for j, v in enumerate(values)
        }
        slow_answers = by_dictionary(table, few, cost.offset, space.multi_branch)
        assert np.allclose(slow_answers, cost(codes[: len(few)]))
        fast, slow = [], []
        for _ in range(2 if quick else 7):
            fast += repeated(lambda c=cost, x=codes: c(x), 1)
            slow += repeated(lambda t=table, f=few, c=cost, s=space: by_dictionary(t, f, c.offset, s.multi_branch), 1)  # fmt: skip
        quickly = [len(codes) / s for s in fast]
        slowly = [len(few) / s for s in slow]
        expected = ExpectedCost(cost, scale=1e6)
        thetas = [torch.zeros(len(u), requires_grad=True) for u in cost.unary]

        def gradient(thetas=thetas, expected=expected, space=space) -> None:
            p = [torch.sigmoid(t) if space.multi_branch else torch.softmax(t, 0) for t in thetas]
            power_penalty(expected(p), 300.0, alpha=1e-5).backward()

        taken = repeated(gradient, 3 if quick else 30)
        ratio = statistics.median(quickly) / statistics.median(slowly)
        ratios.append(ratio)
        rows.append([spec, spread(quickly), spread(slowly), f"{ratio:.0f}", spread([t * 1e3 for t in taken])])
    targets = [Target("worst ratio to the dictionary loop", min(ratios), 10.0, True)]
    columns = ["space", "ours, architectures/s", "dictionary, architectures/s", "ratio", "gradient, ms"]
    write("cost_queries", columns, rows, targets, NOTES, quick)


if __name__ == "__main__":
    main()
