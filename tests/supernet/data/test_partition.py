import numpy as np
import pytest

from nascli.errors import DataError
from nascli.supernet.data.partition import hold_out, split_order

NAMES = ("a", "b", "c")


def test_a_number_is_held_out_equally_of_each_class():
    labels = np.array([0] * 10 + [1] * 6 + [2] * 4)
    order = split_order(20)
    rest, held = hold_out(order, labels, 7, NAMES, "validation")
    assert np.bincount(labels[held]).tolist() == [3, 2, 2]
    assert sorted([*rest, *held]) == list(range(20))
    # The last ones of each class in the order, as a hand count finds them.
    for number, count in enumerate([3, 2, 2]):
        own = [row for row in order.tolist() if labels[row] == number]
        assert sorted(own[-count:]) == sorted(row for row in held.tolist() if labels[row] == number)
    # Both keep the order.
    position = {row: place for place, row in enumerate(order.tolist())}
    assert [position[row] for row in held] == sorted(position[row] for row in held)


def test_a_share_is_held_out_of_each_class():
    labels = np.array([0] * 10 + [1] * 6 + [2] * 4)
    _, held = hold_out(split_order(20), labels, 0.5, NAMES, "validation")
    assert np.bincount(labels[held]).tolist() == [5, 3, 2]
    # 3.3, 1.98, 1.32: the sum is 6.6, so 7 images; the largest remainders are those of b and c... and a.
    _, held = hold_out(split_order(20), labels, 0.33, NAMES, "validation")
    assert np.bincount(labels[held]).tolist() == [3, 2, 2]


def test_a_class_keeps_an_image():
    labels = np.array([0, 0, 0, 0, 1])
    _, held = hold_out(np.arange(5), labels, 0.5, ("a", "b"), "validation")
    assert np.bincount(labels[held], minlength=2).tolist() == [2, 0]
    with pytest.raises(DataError, match="class b has 1 images.*hold 2 of them out for the validation part"):
        hold_out(np.arange(5), labels, 4, ("a", "b"), "validation")
