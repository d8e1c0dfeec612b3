import numpy as np
import pytest

from nascli.costmodel import Constraint, counted
from nascli.search.nse.rescaling import rescale_to_budget
from nascli.spaces import load_space
from nascli.spaces.architecture import singleton_space

SPACE = load_space("nse-27-mini:resolution=8")


def macs_of(space, code):
    return float(counted(space, "macs")(space.check(np.array([code])))[0])


def test_an_architecture_alone_is_itself():
    code = SPACE.sample(1, np.random.default_rng(1))[0].tolist()
    own, own_code = singleton_space(SPACE, code)
    assert macs_of(own, own_code) == macs_of(SPACE, code)
    assert own.network(own_code).program.canonical == SPACE.network(code).program.canonical
    single = load_space("pcnas-small-mini:resolution=8")
    code = single.sample(1, np.random.default_rng(1))[0].tolist()
    own, own_code = singleton_space(single, code)
    assert own.network(own_code).program.canonical == single.network(code).program.canonical


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("factor", [0.8, 1.0, 1.3])
def test_widths_come_as_near_to_the_budget_as_they_can_and_never_beyond(seed, factor):
    code = SPACE.sample(1, np.random.default_rng(seed))[0].tolist()
    budget = factor * macs_of(SPACE, code)
    found = rescale_to_budget(SPACE, code, [Constraint("macs", -np.inf, budget)])
    assert macs_of(found, code) <= budget
    width = float(dict(found.parameters).get("width", 1.0))
    # The next width is too wide, unless the widest that is tried was taken.
    wider = load_space(f"nse-27-mini:resolution=8,width={width * 1.2:.4f}")
    assert macs_of(wider, code) > budget or width >= 1.79
    if factor > 1:
        assert width > 1.0 and macs_of(found, code) > macs_of(SPACE, code)


def test_several_budgets_hold_and_what_nothing_meets_is_left_alone():
    code = SPACE.sample(1, np.random.default_rng(3))[0].tolist()
    budgets = [Constraint("macs", -np.inf, 1.5 * macs_of(SPACE, code)), Constraint("params", -np.inf, 20_000)]
    found = rescale_to_budget(SPACE, code, budgets)
    counts = found.network(code).counts
    assert counts.params <= 20_000 or found is SPACE
    assert rescale_to_budget(SPACE, code, [Constraint("macs", -np.inf, 1.0)]) is SPACE
    nowidth = load_space("nss-elite:ranges=1to2x1to8.1to2x1to8.1to2x1to8")
    assert rescale_to_budget(nowidth, [0] * len(nowidth.layers), budgets) is nowidth


def test_a_width_at_which_a_skipped_layer_must_not_be_skipped_is_passed_over():
    # Its first layer keeps its channels at the space's own width alone, and is skipped.
    space = load_space("nse-27-mini")
    architecture = (0, 163856, 294912, 0, 516, 3200, 16386)
    limit = 4e6
    made = rescale_to_budget(space, architecture, [Constraint("macs", -np.inf, limit)])
    own, choices = singleton_space(made, architecture)
    assert float(counted(own, "macs")(own.check(np.array([choices])))[0]) <= limit
