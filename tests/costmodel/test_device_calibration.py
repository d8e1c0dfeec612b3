import time

import numpy as np
import pytest

from nascli.costmodel.device_calibration import (
    MIN_FAMILIES,
    MeasuredReference,
    _non_negative,
    _quantile,
    calibrate_device,
)
from nascli.costmodel.network_figures import NetworkFigures, ProgramFigures
from nascli.errors import ConstraintError


def figures(rng, *, opaque=0.0):
    """A network of 1 to 30 ms; weights, activations, and primitives vary independently of it."""
    in_context = float(np.exp(rng.uniform(np.log(1e-3), np.log(3e-2))))
    weights = int(rng.uniform(1e6, 4e7))
    program = ProgramFigures(
        weights, int(weights * rng.uniform(0.3, 1)), int(rng.uniform(1e6, 5e7)), int(rng.integers(20, 200))
    )
    return NetworkFigures(in_context, in_context * rng.uniform(0.95, 1.3), program, opaque)


def references(rng, families, truth, *, offset=0.0, noise=0.0):
    """One to three networks of each family; families differ from the truth by offsets of their own."""
    found = []
    for k in range(families):
        own = rng.normal(0, offset)
        for i in range(1 + k % 3):
            f = figures(rng)
            found.append(
                MeasuredReference(f"n{k}.{i}", f"f{k}", f, truth(f) * np.exp(own + rng.normal(0, noise)))
            )
    return found


def linear(f):
    # 0.05 ms per MB.
    return 1.2 * f.in_context + 5e-11 * f.program.weight_bytes


def test_a_factor_and_a_cost_of_weights_are_recovered(rng):
    found = calibrate_device(references(rng, 12, linear))
    assert found.correction.coefficients == pytest.approx({"in context": 1.2, "weights": 5e-11}, rel=1e-6)
    assert np.abs(found.errors).max() < 1e-6 and np.abs(found.plain_errors).min() > 0.1
    new = figures(rng)
    low, high = found.interval(new, 0.9)
    assert found.seconds(new) == pytest.approx(linear(new)) and low == pytest.approx(high)


def test_a_sum_that_is_right_stays_as_it_is(rng):
    found = calibrate_device(references(rng, 10, lambda f: f.in_context))
    assert found.correction.coefficients == {"in context": 1.0}


def test_no_coefficient_is_negative(rng):
    found = calibrate_device(references(rng, 12, lambda f: f.in_context - 1e-11 * f.program.weight_bytes))
    assert min(found.correction.coefficients.values()) >= 0


def test_subsets_give_what_scipy_gives(rng):
    from scipy.optimize import nnls

    for _ in range(20):
        columns = rng.random((9, 3)) + np.array([1, 0, 0])
        target = columns @ [1, -0.3, 0.4]
        columns = columns / target[:, None]
        weights = rng.random((4, 9))
        for found, w in zip(_non_negative(columns, weights), weights, strict=True):
            expected, _ = nnls(columns * np.sqrt(w)[:, None], np.sqrt(w))
            assert found == pytest.approx(expected, abs=1e-5)


def test_a_term_that_no_network_has_is_left_out(rng):
    def without(reference):
        f = reference.figures
        program = ProgramFigures(f.program.weight_bytes, 0, f.program.activation_bytes, f.program.primitives)
        return MeasuredReference(
            reference.name,
            reference.family,
            NetworkFigures(f.in_context, f.alone, program, 0.0),
            reference.seconds,
        )

    found = calibrate_device([without(r) for r in references(rng, 12, linear)])
    assert found.correction.coefficients == pytest.approx({"in context": 1.2, "weights": 5e-11}, rel=1e-6)


def test_one_wrong_measurement_is_named_and_changes_little(rng):
    good = references(rng, 14, linear, noise=0.005)
    wrong = MeasuredReference(good[3].name, good[3].family, good[3].figures, good[3].seconds * 2)
    found = calibrate_device([*good[:3], wrong, *good[4:]])
    assert found.contradicting == (wrong.name,)
    new = [figures(rng) for _ in range(20)]
    assert [found.seconds(f) for f in new] == pytest.approx([linear(f) for f in new], rel=0.03)


@pytest.mark.parametrize("offset", [0.03, 0.1])
def test_intervals_cover_new_families_as_often_as_they_say(offset):
    """Families with offsets of their own: a network of another family lies in the 90 % interval 85 to 95 times of 100."""
    rng = np.random.default_rng(1)
    inside = []
    for _ in range(25):
        # With 19 families the rank of the interval's end is exact: the 18th of 20.
        found = calibrate_device(references(rng, 19, linear, offset=offset, noise=0.01))
        for _ in range(40):
            new = figures(rng)
            seconds = linear(new) * np.exp(rng.normal(0, offset) + rng.normal(0, 0.01))
            low, high = found.interval(new, 0.9)
            inside.append(low <= seconds <= high)
    assert 0.85 <= np.mean(inside) <= 0.95


def test_an_interval_contains_the_prediction_and_grows_with_the_confidence(rng):
    found = calibrate_device(references(rng, 12, linear, offset=0.05))
    new = figures(rng)
    narrow, wide = found.interval(new, 0.5), found.interval(new, 0.9)
    assert wide[0] <= narrow[0] <= found.seconds(new) <= narrow[1] <= wide[1]
    assert 0 < found.half_width(0.5) < found.half_width(0.9)


def test_a_quantile_counts_families_equally():
    # By hand: two networks of one family and one of each of two others, and one family more at infinity.
    values, weights = np.array([3.0, 1.0, 2.0, 4.0]), np.array([1 / 8, 1 / 8, 1 / 4, 1 / 4])
    assert [_quantile(values, weights, level) for level in (0.125, 0.3, 0.375, 0.5, 0.75)] == [1, 2, 2, 3, 4]


def test_a_confidence_needs_families(rng):
    found = calibrate_device(references(rng, MIN_FAMILIES, linear))
    found.interval(figures(rng), 0.9)
    for call in (found.half_width, lambda level: found.interval(figures(rng), level)):
        with pytest.raises(ConstraintError, match="9 families of networks give intervals of at most 90%"):
            call(0.95)


def test_too_few_families_and_impossible_figures_are_refused(rng):
    with pytest.raises(ConstraintError, match="at least 9 families, got 15 networks of 8"):
        calibrate_device(references(rng, 8, linear))
    good = references(rng, 9, linear)
    for bad in (0.0, float("nan"), -1.0):
        broken = MeasuredReference("broken", "f0", good[0].figures, bad)
        with pytest.raises(ConstraintError, match=r"broken has .* \(measured\)"):
            calibrate_device([broken, *good[1:]])
    nothing = NetworkFigures(0.0, 0.0, good[0].figures.program, 0.0)
    with pytest.raises(ConstraintError, match="sum in context"):
        calibrate_device([MeasuredReference("empty", "f0", nothing, 1.0), *good[1:]])


def test_what_lies_outside_of_the_range_is_told(rng):
    known = references(rng, 12, linear)
    found = calibrate_device(known)
    inside = known[4].figures
    assert found.outside(inside) == ()
    program = inside.program
    heavy = ProgramFigures(10**9, program.few_use_bytes, program.activation_bytes, program.primitives)
    slow = NetworkFigures(10.0, 10.0, heavy, 0.4)
    latency, weights, pieces = found.outside(slow)
    assert latency.startswith("its latency") and weights.startswith("1000.0 MB") and pieces.startswith("40%")


def test_it_takes_well_under_a_second(rng):
    known = references(rng, 22, linear, offset=0.05)
    began = time.process_time()
    calibrate_device(known)
    assert time.process_time() - began < 1.5
