"""What joining branches costs, on a device whose truth is chosen."""

import numpy as np
import pytest

from nascli.costmodel import table_latency
from nascli.errors import ConstraintError
from nascli.lut import LatencyTable, Setup, program_key
from nascli.lut.in_context.carriers import subjects_in_context
from nascli.lut.in_context.joins import Join, join_costs, join_models, parallel_carrier
from nascli.lut.statistics import Measurement
from nascli.spaces import load_space
from nascli.spaces.primitives import Add, Conv, Gain

SETUP = Setup("d", "r", "1", "fp32", 1, 1)
SPACE = load_space("nse-19-mini:width=0.5")


def seconds(program):
    """A device: 1 to enter and leave, a convolution its output channels, an addend 0.25, a gain 0.5."""
    total = 1.0
    for node in program.nodes:
        if isinstance(node.primitive, Conv):
            total += node.primitive.out / 100
        elif isinstance(node.primitive, Add):
            total += 0.25 * (len(node.inputs) - 1)
        elif isinstance(node.primitive, Gain):
            total += 0.5
    return total


def table(models):
    return LatencyTable(
        SETUP, {program_key(m.program): Measurement(seconds(m.program), 0, 99, 6) for m in models}, {}
    )


def test_join_of_k_branches_is_found_between_and_at_the_measured_numbers():
    costs = table(join_models(SPACE))
    for layer in SPACE.layers:
        found = join_costs(costs, layer)
        normal = layer.join == "normal"
        for k in range(layer.max_branches + 1):
            if normal:
                expected = 0.0 if k == 0 else 0.25 * k + 0.5
            else:
                expected = {0: np.inf, 1: 0.0}.get(k, 0.25 * (k - 1) + 0.5)
            assert found[k] == pytest.approx(expected), (layer.name, k)


def test_the_sum_of_a_multi_branch_network_is_the_device_s():
    models = [*subjects_in_context(SPACE.distinct_placements()), *join_models(SPACE)]
    cost = table_latency(SPACE, table(models), "cmd")
    codes = SPACE.sample(20, np.random.default_rng(0))
    truth = [seconds(SPACE.network(row).program) for row in codes]
    assert np.allclose(cost(codes), truth)


def test_joins_that_were_not_measured_are_an_error_with_the_command():
    with pytest.raises(ConstraintError, match="joining the branches") as caught:
        table_latency(SPACE, table(subjects_in_context(SPACE.distinct_placements())), "nascli profile X")
    assert "nascli profile X" in str(caught.value)


def test_single_path_spaces_have_no_joins():
    assert join_models(load_space("proxyless-mini")) == []


def test_parallel_convolutions_share_their_input():
    program = parallel_carrier(Join(SPACE.layers[0].output, 3, True)).program
    assert sum(isinstance(n.primitive, Conv) for n in program.nodes) == 5
