import pytest

from nascli.errors import SpaceError
from nascli.spaces import count
from nascli.spaces.operators.bottlenecks import dconv, dwconv, nconv, rconv
from nascli.spaces.operators.dag_cell import EDGE_OPERATORS, cell
from nascli.spaces.operators.inverted_residual import mbconv
from nascli.spaces.operators.residual_blocks import basic_block, regnet_block
from nascli.spaces.operators.shuffle_blocks import choice, choice_x, shufflenet_block


def test_nse_operations_expand_even_at_one():
    macs = count(dwconv((8, 6, 6), 12, kernel=5, stride=2).program).macs
    assert macs == 8 * 8 * 36 + 8 * 25 * 9 + 8 * 12 * 9


def test_strides_of_the_dense_operations_by_hand():
    # 1xk takes the stride along the width, kx1 along the height.
    rectangular = count(rconv((4, 8, 8), 6, kernel=5, expand=2, stride=2).program).macs
    assert rectangular == 4 * 8 * 64 + 8 * 8 * 5 * (8 * 4) + 8 * 8 * 5 * 16 + 8 * 6 * 16
    assert (
        count(nconv((4, 8, 8), 6, expand=2, stride=2).program).macs
        == 4 * 8 * 64 + 8 * 8 * 9 * 16 + 8 * 6 * 16
    )
    double = count(dconv((4, 8, 8), 6, expand=2, stride=2).program).macs
    assert double == 4 * 8 * 64 + 8 * 8 * 9 * 64 + 8 * 8 * 9 * 16 + 8 * 6 * 16


def test_grouped_projections():
    plain, grouped = dwconv((8, 4, 4), 8, expand=2), dwconv((8, 4, 4), 8, expand=2, groups_in=2, groups_out=2)
    assert count(plain.program).macs - count(grouped.program).macs == (8 * 16 + 16 * 8) * 16 // 2


def test_the_reference_cell_is_the_inverted_residual():
    for out, stride in ((8, 1), (12, 2)):
        assert (
            count(cell((8, 6, 6), out, stride=stride).program).macs
            == count(mbconv((8, 6, 6), out, stride=stride).program).macs
        )


def test_cells_of_all_kinds_are_programs():
    for code in range(1, len(EDGE_OPERATORS)):
        for join in ("add", "concat"):
            for stride in (1, 2):
                for expanded in (0, 1, 2):
                    made = cell(
                        (8, 7, 7),
                        12,
                        edges=(code,) * 6,
                        join=join,
                        stride=stride,
                        expanded=expanded,
                        expand=2,
                    )
                    assert made.output == (12, -(-7 // stride), -(-7 // stride))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: cell((8, 4, 4), 8, edges=(1, 0, 1, 0, 0, 0)), "output is not reached"),
        (lambda: cell((8, 4, 4), 8, edges=(0, 0, 1, 0, 1, 1)), "output is not reached"),
        (lambda: cell((8, 4, 4), 8, edges=(1, 2)), "6 edges with operators 0..5"),
        (lambda: cell((8, 4, 4), 8, join="glue"), "'add' or 'concat'"),
        (lambda: cell((8, 4, 4), 8, expanded=3), "expanded in 0..2"),
        (lambda: choice((8, 4, 4), 12), "keeps the channels, got 8 and out=12"),
        (lambda: choice((8, 4, 4), 8, stride=2), "adds channels, got 8 and out=8"),
        (lambda: choice_x((7, 4, 4), 7), "splits the channels in half, got 7"),
        (lambda: shufflenet_block((8, 4, 4), 9, stride=2), "more channels, an even number"),
        (lambda: regnet_block((8, 4, 4), 12), "group_width must divide out, got 8 and 12"),
        (lambda: basic_block((8, 4, 4), 2, width=0.1), "at least 1"),
        (lambda: dwconv((9, 4, 4), 8, groups_in=2), "groups must divide the channels, got groups=2, in=9"),
        (lambda: mbconv((8, 4, 4), 8, stride=0), "stride must be at least 1"),
        (lambda: dwconv((8, 4, 4), 8, dilation=0), "dilation must be at least 1"),
    ],
)
def test_rules_name_operator_and_values(make, message):
    with pytest.raises(SpaceError, match=message):
        make()


def test_bit_widths_count_every_convolution_of_a_block():
    counts = count(basic_block((8, 4, 4), 16, stride=2, weight_bits=2, activation_bits=4).program)
    assert counts.bitops == counts.macs * 8
