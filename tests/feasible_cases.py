"""What tests of feasible sets share: small spaces, random costs, and the exhaustive answer."""

import itertools

import numpy as np

from nascli.costmodel import (
    BoundedCost,
    ChainCost,
    Constraint,
)
from nascli.spaces import Layer, Space
from nascli.spaces.operators.inverted_residual import mbconv

KEEP = [mbconv((4, 2, 2), 4, expand=e) for e in range(1, 8)]
DOWN = [mbconv((4, 2, 2), 4, expand=e, stride=2) for e in range(1, 4)]


def chain_space(sizes):
    return Space("chain", (), tuple(Layer(f"l{i}", tuple(KEEP[:n])) for i, n in enumerate(sizes)))


def branch_space(sizes, most=2):
    layers = [Layer(f"l{i}", tuple(KEEP[:n]), "normal", min(most, n)) for i, n in enumerate(sizes)]
    return Space("branches", (), (*layers, Layer("r", tuple(DOWN), "reduction", 2)))


def every(space):
    columns = []
    for layer in space.layers:
        codes = range(len(layer.candidates) if layer.join == "single" else 1 << len(layer.candidates))
        columns.append([code for code in codes if layer.problem(code) is None])
    return np.array(list(itertools.product(*columns)), dtype=space.dtype)


def random_cost(space, rng, *, name="macs", integer=True, pairwise=False, scale=20):
    def draw(*shape):
        return rng.integers(0, scale, shape).astype(float) if integer else rng.random(shape)

    unary = tuple(draw(len(layer.candidates)) for layer in space.layers)
    joins = pairs = None
    if space.multi_branch:
        joins = []
        for layer in space.layers:
            join = draw(layer.max_branches + 1)
            join[0] = np.inf if layer.join == "reduction" else 0.0
            joins.append(join)
        joins = tuple(joins)
    if pairwise:
        sizes = [len(layer.candidates) for layer in space.layers]
        pairs = tuple(draw(a, b) for a, b in itertools.pairwise(sizes))
    return ChainCost(name, "count", float(rng.integers(0, 5)), unary, joins, pairwise=pairs)


def window(cost, low, high):
    return BoundedCost(Constraint(cost.name, float(low), float(high)), cost)


def chi_square(drawn, expected, mass):
    keys = {tuple(row): i for i, row in enumerate(expected.tolist())}
    counts = np.zeros(len(keys))
    for row in drawn.tolist():
        counts[keys[tuple(row)]] += 1
    mean = mass / mass.sum() * len(drawn)
    statistic = float(((counts - mean) ** 2 / mean).sum())
    return statistic < len(keys) + 4.5 * np.sqrt(2 * len(keys))


def case(kind, sizes, seed, integer=True):
    rng = np.random.default_rng(seed)
    space = branch_space(sizes) if kind == "branches" else chain_space(sizes)
    return space, random_cost(space, rng, integer=integer, pairwise=kind == "paired" and len(sizes) > 1), rng


def random_scores(space, rng):
    return [rng.standard_normal(len(layer.candidates)) for layer in space.layers]
