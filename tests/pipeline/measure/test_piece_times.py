import math

import pytest
from simulated_devices import DEVICES, ENTRY, truth

from nascli.lut.statistics import Measurement
from nascli.pipeline.measure.piece_times import PieceModels
from nascli.spaces.operators.basic import conv_block, head
from nascli.spaces.operators.inverted_residual import mbconv
from nascli.spaces.programs import chain

PIECES = (
    conv_block((3, 16, 16), 8, kernel=3, stride=2),
    mbconv((8, 8, 8), 8, kernel=3, expand=6),
    mbconv((8, 8, 8), 8, kernel=3, expand=6),
    head((8, 8, 8), 10),
)


def figure(seconds, half=0.0):
    return Measurement(seconds, seconds - half, seconds + half, 6)


def by_device(device):
    return lambda program: figure(truth(program, device))


def test_where_times_add_up_each_piece_has_its_own_and_the_ends_share_the_entry():
    models = PieceModels("n", PIECES, 1)
    find = by_device(DEVICES["alpha"])
    own = [truth(piece.program, DEVICES["alpha"]) - ENTRY for piece in PIECES]
    own[0] += ENTRY / 2
    own[-1] += ENTRY / 2
    times = models.times(find, find(models.whole))
    assert [t.measurement.seconds for t in times] == pytest.approx(own)
    assert [t.spread for t in times] == pytest.approx([0] * 4, abs=1e-12)


def test_equal_pieces_are_measured_once():
    models = PieceModels("n", PIECES, 1)
    labels = [operator.label for operator in models.operators()]
    # The whole, three pairs, and three different pieces.
    assert len(labels) == 7
    assert (
        labels[0].startswith("network n ") and sum(label.startswith("carrier of ") for label in labels) == 3
    )
    assert models.whole == chain([piece.program for piece in PIECES])


def test_a_case_by_hand():
    models = PieceModels("n", PIECES[:3], 1)
    first, second, third = (piece.program for piece in PIECES[:3])
    known = {
        first: figure(10e-6, 1e-6),
        second: figure(20e-6, 2e-6),
        chain([first, second]): figure(26e-6, 3e-6),
        chain([second, third]): figure(38e-6, 4e-6),
        models.whole: figure(60e-6, 5e-6),
    }
    times = models.times(known.get, known[models.whole])
    # Cuts cost 4 and 2 us: 10 - 2, 20 - 2 - 1, and 20 - 1 us, 44 together; 16 us are spread by weights.
    weights = [8 * 27 + 8, 2 * 8 * 48 + 9 * 48 + 2 * 48 + 8]
    total = weights[0] + 2 * weights[1]
    spread = [16e-6 * w / total for w in (weights[0], weights[1], weights[1])]
    assert [t.spread for t in times] == pytest.approx(spread)
    assert [t.measurement.seconds for t in times] == pytest.approx(
        [8e-6 + spread[0], 17e-6 + spread[1], 19e-6 + spread[2]]
    )
    assert sum(t.measurement.seconds for t in times) == pytest.approx(60e-6)
    # The second and the third are one model: (T12 + T23 - T1 - T3) / 2.
    half = math.sqrt(3**2 + 4**2 + 1 + 2**2) / 2 * 1e-6
    assert times[1].measurement.high - times[1].measurement.seconds == pytest.approx(half)
    assert times[0].measurement.rounds == 6


def test_a_whole_that_takes_less_is_spread_by_time():
    models = PieceModels("n", PIECES, 1)
    find = by_device(DEVICES["alpha"])
    full = models.times(find, find(models.whole))
    less = models.times(find, figure(find(models.whole).seconds * 0.9))
    for a, b in zip(full, less, strict=True):
        assert b.measurement.seconds == pytest.approx(0.9 * a.measurement.seconds)


def test_large_weights_are_measured_in_copies_and_the_figure_is_that_of_one():
    pieces = [conv_block((256, 7, 7), 256, kernel=1), conv_block((256, 7, 7), 256, kernel=1)]
    models = PieceModels("n", pieces, 1)
    copies = [operator.program.copies for operator in models.operators()]
    assert copies[0] == 1 and min(copies[1:]) > 1
    find = by_device(DEVICES["beta"])
    times = models.times(find, find(models.whole))
    assert times[0].measurement.seconds == pytest.approx(find(models.whole).seconds / 2)


def test_one_piece_is_the_network():
    models = PieceModels("n", PIECES[:1], 1)
    find = by_device(DEVICES["alpha"])
    assert len(models.operators()) == 1
    (only,) = models.times(find, find(models.whole))
    assert only.measurement.seconds == pytest.approx(find(models.whole).seconds)
