"""Every cost model keeps the contract that third parties' are held to."""

import itertools

import numpy as np
import pytest

from nascli.costmodel import ChainCost, counted, table_latency
from nascli.costmodel.space_costs import branch_count
from nascli.costmodel.staged_costs import fit_staged_cost, staged_macs
from nascli.lut import LatencyTable, Setup
from nascli.lut.in_context.carriers import subjects_in_context
from nascli.lut.keys import program_key
from nascli.lut.statistics import Measurement
from nascli.spaces import Layer, Space
from nascli.spaces.catalog import load_space, load_space_of_any_kind
from nascli.spaces.operators.basic import conv_block
from nascli.spaces.operators.inverted_residual import mbconv
from nascli.testing.cost_models import ChainCostContract, CostModelContract

SMALL = load_space("proxyless-mini:depth=1,width=0.25,resolution=8")
BRANCHES = Space(
    "branches",
    (),
    (
        ("stem", conv_block((1, 4, 4), 8)),
        *(
            Layer(
                f"n{i}",
                tuple(mbconv((8, 4, 4), 8, kernel=k, expand=e) for k in (3, 5) for e in (1, 2)),
                "normal",
                2,
            )
            for i in range(3)
        ),
    ),
)


class TestMacs(ChainCostContract):
    def space(self):
        return SMALL

    def cost(self):
        return counted(SMALL, "macs")


class TestWeights(TestMacs):
    def cost(self):
        return counted(SMALL, "weight_bytes")


class TestLatencyOfATable(TestMacs):
    def cost(self):
        rng = np.random.default_rng(3)
        figures = {
            program_key(o.program): Measurement(float(rng.uniform(1e-4, 1e-2)), 0, 1, 6)
            for o in subjects_in_context(SMALL.distinct_placements())
        }
        # A carrier with its operator takes as long as the carrier alone, and more.
        for operator in subjects_in_context(SMALL.distinct_placements()):
            if operator.family.startswith("carrier"):
                figures[program_key(operator.program)] = Measurement(float(rng.uniform(2e-2, 3e-2)), 0, 1, 6)
        setup = Setup("d", "r", "1", "fp32", 16, 1)
        return table_latency(SMALL, LatencyTable(setup, figures, {}), "profile")


class TestBoundaryTerms(TestMacs):
    def cost(self):
        rng = np.random.default_rng(4)
        sizes = [len(layer.candidates) for layer in SMALL.layers]
        return ChainCost(
            "latency",
            "time",
            1e-3,
            tuple(rng.uniform(1e-4, 1e-3, n) for n in sizes),
            kind="calibrated",
            pairwise=tuple(rng.uniform(0, 1e-4, pair) for pair in itertools.pairwise(sizes)),
        )


class TestMacsOfBranches(ChainCostContract):
    def space(self):
        return BRANCHES

    def cost(self):
        return counted(BRANCHES, "macs")


class TestNumberOfBranches(TestMacsOfBranches):
    def cost(self):
        return branch_count(BRANCHES)


class TestMacsOfStages(CostModelContract):
    def space(self):
        return load_space_of_any_kind("nss-expanded-mini:depths=4,widths=16")

    def cost(self):
        return staged_macs(self.space())


class TestLatencyOfStages(TestMacsOfStages):
    def cost(self):
        space, rng = self.space(), np.random.default_rng(5)
        codes = space.sample(40, rng)
        seconds = 1e-3 + staged_macs(space)(codes) * 1e-11 * np.exp(rng.normal(0, 0.02, 40))
        return fit_staged_cost(space, codes, seconds)[0]


def test_the_contract_finds_a_cost_that_looks_at_its_neighbours():
    class Relative(TestMacs):
        def cost(self):
            exact = super().cost()

            class Cost:
                name, minimum, maximum = "macs", 0.0, 2.0

                def __call__(self, codes):
                    return exact(codes) / exact(codes).mean() if len(codes) else np.empty(0)

            return Cost()

    with pytest.raises(AssertionError):
        Relative().test_a_figure_does_not_depend_on_the_others()


def test_the_contract_finds_bounds_that_are_not_reached():
    class Loose(TestMacs):
        def cost(self):
            exact = super().cost()

            class Cost(ChainCost):
                minimum = property(lambda self: 0.0)

            return Cost(exact.name, exact.dimension, exact.offset, exact.unary)

    Loose().test_no_architecture_is_beyond_its_bounds()
    with pytest.raises(AssertionError):
        Loose().test_its_bounds_are_reached()
