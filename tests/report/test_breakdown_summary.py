import pytest
from breakdown_cases import network, piece, repeating

from nascli.report.breakdown_summary import match_kinds, match_pieces


def test_equal_pieces_stand_in_one_row_and_the_longest_comes_first():
    rows = repeating().by_time
    assert [row.name for row in rows] == ["attention ×3", "attention", "conv 3x3", "pool"]
    first = rows[0]
    assert first.numbers == "2, 4, 5" and first.seconds == pytest.approx(6e-3)
    # Equal pieces have one error, which does not average out.
    assert first.half_width == pytest.approx(6e-4)
    assert first.macs_per_second == pytest.approx(3e6 / 6e-3) and first.attained == pytest.approx(0.5)
    assert first.runtime_seconds == pytest.approx(6e-3)
    assert [row.first.number for row in repeating().in_order] == list(range(6))
    kinds = repeating().by_kind
    assert (kinds[0].name, kinds[0].numbers) == ("attention ×4", "2, 4, … 6")


def test_the_headline_counts_the_fewest_pieces_with_half_of_the_time():
    assert repeating().headline == "60% of net's 10.0 ms are in 3 of 6 pieces"
    assert (
        network([piece(0, "a", 3e-3), piece(1, "b", 1e-3)]).headline
        == "75% of net's 4.00 ms is in 1 of 2 pieces"
    )
    assert network([piece(0, "a", 3e-3)]).headline == "net takes 3.00 ms, in one piece"


def test_findings_by_hand():
    kinds, slow, best, outside = repeating().findings
    assert kinds == "Most of the time is in: 4 × attention 75%, conv 3x3 10%, pool 5%."
    assert slow == (
        "1 piece runs at under 20% of the roofline, and takes 5% of the time: pool (piece 3, 10%)."
    )
    # Half of 8.5 ms and 0.05 ms, of 10 ms.
    assert best == "At the best of the device, all pieces would take 4.30 ms, 43% of the time."
    assert outside == "The network itself takes 1.00 ms longer than its pieces in a chain."
    less = network([piece(0, "a", 3e-3), piece(1, "b", 1e-3)], outside=-1e-3).findings
    assert "1.00 ms less than its pieces" in less[-1]
    assert "the lowest is a (piece 1) at 50%" in less[1]


def test_a_piece_without_time_attains_nothing_and_breaks_nothing():
    empty = network([piece(0, "a", 3e-3), piece(1, "b", 0.0, least=1e-6)])
    row = empty.in_order[1]
    assert row.attained is None and row.macs_per_second == 0 == row.bytes_per_second
    assert empty.findings


def test_networks_are_matched_by_key_and_by_kind():
    first = repeating()
    second = network([piece(0, "attention", 3e-3, key="a"), piece(1, "MLP", 1e-3)])
    (match,) = match_pieces(first, second)
    assert match.row.first.key == "a" and match.difference == pytest.approx(-3e-3)
    kinds = match_kinds(first, second)
    assert [(m.row.first.kind, round(m.difference * 1e3, 1)) for m in kinds] == [
        ("attention", -4.5),
        ("conv 3x3", -1.0),
        ("MLP", 1.0),
        ("pool", -0.5),
    ]
