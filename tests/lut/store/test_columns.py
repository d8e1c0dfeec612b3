import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nascli.errors import StoreError
from nascli.lut import Sample
from nascli.lut.store.columns import SampleColumns

TIMES = st.floats(1e-9, 10.0)
SAMPLES = st.dictionaries(
    st.sampled_from(["c", "a", "b"]),
    st.lists(
        st.tuples(
            st.integers(0, 50), st.lists(TIMES, min_size=1, max_size=4), TIMES, st.none() | st.floats(0, 1), st.booleans()
        ),
        unique_by=lambda row: row[0], max_size=5,
    ),
)  # fmt: skip


def made(document):
    return {
        key: [Sample(r, np.array(s), anchor, 1.0 * r, r % 2, w, t) for r, s, anchor, w, t in rows]
        for key, rows in document.items()
    }


def plain(samples):
    return {
        key: [
            (s.round, s.seconds.tolist(), s.anchor, s.taken_at, s.generation, s.waited, s.throttled)
            for s in rows
        ]
        for key, rows in samples.items()
    }


@settings(max_examples=60, deadline=None)
@given(SAMPLES)
def test_columns_are_the_samples_in_order(document):
    given_samples = made(document)
    columns = SampleColumns.of(given_samples)
    expected = {k: sorted(rows, key=lambda s: s.round) for k, rows in given_samples.items() if rows}
    assert plain(columns.samples()) == plain(expected)
    assert columns.operators == sorted(expected) and len(columns) == sum(map(len, expected.values()))
    assert columns.sorted() is columns
    columns.check()


def test_what_is_out_of_order_is_put_in_order():
    one = SampleColumns(
        ["a", "b"], np.array([1, 0, 0]), np.array([0, 2, 1]), np.ones(3), np.array([1.0, 2.0, 3.0]),
        np.zeros(3, dtype=int), np.full(3, np.nan), np.zeros(3, dtype=bool), np.array([1, 2, 1]), np.array([9.0, 5.0, 6.0, 7.0]),
    )  # fmt: skip
    found = one.sorted().samples()
    assert [(s.round, s.seconds.tolist(), s.taken_at) for s in found["a"]] == [
        (1, [7.0], 3.0),
        (2, [5.0, 6.0], 2.0),
    ]
    assert found["b"][0].seconds.tolist() == [9.0]


@pytest.mark.parametrize(
    ("seconds", "anchor"),
    [
        ([1.0, -1.0], 1.0),
        ([np.nan], 1.0),
        ([np.inf], 1.0),
        ([0.0], 1.0),
        ([], 1.0),
        ([1.0], 0.0),
        ([1.0], np.nan),
    ],
)
def test_impossible_times_are_refused_by_name(seconds, anchor):
    good = Sample(0, np.array([1.0]), 1.0, 0.0)
    bad = Sample(0, np.array(seconds), anchor, 0.0)
    with pytest.raises(StoreError, match="of operator b"):
        SampleColumns.of({"a": [good], "b": [bad], "c": [good]}).check()


@pytest.mark.parametrize(("number", "taken_at"), [(-1, 0.0), (0, np.nan), (0, np.inf), (0, 1e300)])
def test_impossible_rounds_and_dates_are_refused(number, taken_at):
    with pytest.raises(StoreError, match="of operator a"):
        SampleColumns.of({"a": [Sample(number, np.array([1.0]), 1.0, taken_at)]}).check()
