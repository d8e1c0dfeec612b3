import numpy as np
import pytest

from nascli.costmodel import BoundedCost, Constraint, FeasibleSet, best, counted
from nascli.errors import InfeasibleError, NascliError
from nascli.progress import Silent
from nascli.search.pcnas.search import PcnasSearch
from nascli.search.pcnas.settings import PcnasSettings
from nascli.search.run_folder import StateFile
from nascli.spaces import load_space

SPACE = load_space("pcnas-small-mini:width=0.5")
RNG = np.random.default_rng(5)
SCORES = [RNG.random(len(layer.candidates)) for layer in SPACE.layers]


def additive(codes):
    return sum(SCORES[i][codes[:, i]] for i in range(codes.shape[1]))


class Table:
    """An engine whose accuracy is a sum per layer, so that the best pool is known."""

    def __init__(self, fail_at=None):
        self.stages, self.asked, self.fail_at = [], [], fail_at

    def train(self, stage, path):
        if stage == self.fail_at:
            raise KeyboardInterrupt
        self.stages.append(stage)
        self.paths = [path(step) for step in range(20)]

    def quick_accuracies(self, codes, rng):
        self.asked.append(codes)
        return additive(codes)


def feasible(share=None):
    cost = counted(SPACE, "macs")
    if share is None:
        return FeasibleSet(SPACE, [])
    codes = SPACE.sample(4000, np.random.default_rng(0))
    limit = float(np.quantile(cost(codes), share))
    return FeasibleSet(SPACE, [BoundedCost(Constraint("macs", -np.inf, limit), cost)])


def search(inside, tmp_path=None, **settings):
    file = None if tmp_path is None else tmp_path / "story.json"
    return PcnasSearch(inside, PcnasSettings(**{"pool": 3, "draws": 60, **settings}), 1, StateFile(file))


def test_without_a_limit_the_pool_s_best_is_the_optimum():
    history = search(feasible(), draws=400).grow(Table(), Silent())
    assert len(history) == len(SPACE.layers)
    assert list(history[-1].pool[0].choices) == best(feasible(), SCORES).tolist()


def test_every_completion_and_every_member_is_feasible():
    inside = feasible(0.05)
    engine = Table()
    history = search(inside).grow(engine, Silent())
    assert all(inside.contains(codes).all() for codes in engine.asked)
    pool = np.array([member.choices for member in history[-1].pool], dtype=SPACE.dtype)
    assert inside.contains(pool).all()
    # Under the limit the pool comes close to the exact optimum, and beats random architectures.
    optimum = additive(best(inside, SCORES)[None])[0]
    random = additive(inside.sample(2000, np.random.default_rng(1)))
    assert additive(pool).max() > np.quantile(random, 0.99)
    assert additive(pool).max() > 0.9 * optimum


def test_training_completes_members_of_the_pool():
    engine = Table()
    history = search(feasible(0.5)).grow(engine, Silent())
    members = [member.choices for member in history[-1].pool]
    assert all(tuple(path) in members for path in engine.paths)
    assert engine.stages == list(range(len(SPACE.layers) + 1))


def test_a_killed_search_goes_on_as_if_nothing_had_happened(tmp_path):
    whole = search(feasible(0.3)).grow(Table(), Silent())
    with pytest.raises(KeyboardInterrupt):
        search(feasible(0.3), tmp_path).grow(Table(fail_at=4), Silent())
    engine = Table()
    again = search(feasible(0.3), tmp_path).grow(engine, Silent())
    assert again == whole
    assert len(engine.asked) == len(SPACE.layers) - 4


def test_dumping_loses_draws_where_feasible_completions_do_not():
    inside = feasible(0.02)
    exact, dumped = search(inside), search(inside, dump=True)
    rng = np.random.default_rng(0)
    prefix = tuple(int(c) for c in inside.sample(1, rng)[0][:2])
    assert len(exact.completions(prefix, rng)) == 60
    assert len(dumped.completions(prefix, rng)) < 30


def test_no_feasible_completion_is_minus_infinity_and_an_empty_pool_an_error():
    inside = feasible(0.02)
    cost = counted(SPACE, "macs")
    most_expensive = tuple(int(np.argmax(u)) for u in cost.unary)
    found = search(inside).potentials(Table(), [most_expensive[:-1], (0,)], 3)
    assert found[0] == -np.inf and np.isfinite(found[1])
    with pytest.raises(InfeasibleError, match=r"at layer \d+ .*none of"):
        search(inside).extend(Table(), [most_expensive[:-1]], len(most_expensive) - 1)


def test_what_pcnas_cannot_do_is_refused():
    with pytest.raises(NascliError, match="multi-branch"):
        PcnasSearch(FeasibleSet(load_space("nse-19-mini"), []), PcnasSettings(), 0, StateFile(None))
    with pytest.raises(NascliError, match="pool >= 1"):
        PcnasSettings(pool=0)
