import pytest

from nascli.costmodel.network_figures import FEW_USES, network_figures, program_figures
from nascli.errors import MissingMeasurementsError
from nascli.lut import LatencyTable, Measurement, Setup, program_key
from nascli.lut.in_context.carriers import subjects_in_context
from nascli.spaces.network import Network
from nascli.spaces.operators.basic import conv_block, head

# 8 x 8 positions, 3x3 convolution of 4 to 16 channels, then a classifier of 16 to 10.
NETWORK = Network("n", (("conv", conv_block((4, 8, 8), 16)), ("head", head((16, 8, 8), 10))))


def table(network, batch=1, missing=()):
    operators = subjects_in_context(network.placements)
    estimates = {
        program_key(o.program): Measurement(1e-3 * (1 + i), 1e-3, 1e-3, 6)
        for i, o in enumerate(operators)
        if o not in missing
    }
    return LatencyTable(Setup("d", "r", "1", "fp32", batch, 1), estimates, {})


def test_counts_by_hand():
    found = program_figures(NETWORK.program, 1)
    conv, classifier = 4 * 16 * 9, 16 * 10
    assert found.weight_bytes == 4 * (conv + 16 + classifier + 10)
    # 64 uses of each weight of the convolution, and one of each of the classifier.
    assert found.few_use_bytes == 4 * (conv + classifier)
    # Convolution, pooling, classifier; an activation is fused.
    assert found.primitives == 3
    elements = (4 * 64 + 16 * 64) + (16 * 64 + 16) + (16 + 10)
    assert found.activation_bytes == 4 * elements


def test_a_batch_uses_weights_more_often_and_moves_more_activations():
    one, many = program_figures(NETWORK.program, 1), program_figures(NETWORK.program, 16)
    assert many.few_use_bytes == 4 * 16 * 10 and FEW_USES < 16 * 64
    assert many.activation_bytes == 16 * one.activation_bytes
    assert (many.weight_bytes, many.primitives) == (one.weight_bytes, one.primitives)


def test_sums_are_those_of_the_table():
    found = network_figures(NETWORK, known := table(NETWORK), "")
    assert found.alone == pytest.approx(sum(known.lookup(o.program).seconds for o in NETWORK.operators))
    assert found.in_context > 0 and found.opaque_share == 0.0


def test_an_operator_that_was_not_timed_alone_is_named():
    with pytest.raises(MissingMeasurementsError, match="1 of 2 operators"):
        network_figures(NETWORK, table(NETWORK, missing=NETWORK.operators[:1]), "")
