from nascli.spaces import count, make_space
from nascli.spaces.operators.basic import head, squeeze_excite
from nascli.spaces.operators.inverted_residual import mbconv
from nascli.spaces.operators.registry import operator


def test_mbconv_by_hand():
    # 16 channels at 8x8, expansion 6, kernel 3, to 24 channels at stride 2.
    counts = count(mbconv((16, 8, 8), 24, stride=2).program)
    expand, depthwise, project = 16 * 96 * 64, 96 * 9 * 16, 96 * 24 * 16
    assert counts.macs == expand + depthwise + project
    weights = 16 * 96 + 96 * 9 + 96 * 24
    assert counts.weights == weights
    assert counts.params == weights + 2 * (96 + 96 + 24)
    assert counts.weight_bytes == 4 * (weights + 96 + 96 + 24)


def test_head_by_hand():
    counts = count(head((8, 2, 2), 10, features=32).program)
    assert counts.macs == 8 * 32 * 4 + 32 * 10
    assert counts.params == 8 * 32 + 2 * 32 + 32 * 10 + 10


def test_squeeze_excite_by_hand():
    @operator
    def only_se(x):
        """SE alone."""
        return squeeze_excite(x, 4)

    counts = count(only_se((16, 5, 5)).program)
    assert counts.macs == 16 * 4 * 2
    assert counts.params == 16 * 4 * 2 + 4 + 16


def test_peak_of_a_residual_keeps_its_input_alive():
    # Expanded to 12 channels twice in a row while the 2-channel input waits for the addition.
    counts = count(mbconv((2, 4, 4), 2).program)
    assert counts.peak_bytes == 4 * 16 * (2 + 12 + 12)


def test_network_counts_are_the_sum_of_its_blocks(rng):
    space = make_space("proxyless-mini")
    network = space.network(space.sample(1, rng)[0])
    assert network.counts.macs == count(network.program).macs
    assert network.counts.params == count(network.program).params
    assert network.counts.peak_bytes == max(count(o.program).peak_bytes for o in network.operators)
