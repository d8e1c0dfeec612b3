import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nascli.errors import NascliError, SpaceError
from nascli.search.autospace.search import (
    canonical_cells,
    cell_macs,
    compensated_gradient,
    distance,
    first_population,
    format_cells,
    is_connected,
    members_to_replace,
    mutate,
    tournament,
)
from nascli.search.autospace.settings import GENES, AutoSpaceSettings
from nascli.spaces import count, load_space
from nascli.spaces.builtin.cells import cell_of
from nascli.spaces.operators.dag_cell import REFERENCE
from nascli.spaces.primitives import Shape

SMALL = AutoSpaceSettings(cells=3, population=40, first_team=3, last_team=10)


def random_cells(n, seed):
    rng = np.random.default_rng(seed)
    cells = np.concatenate(
        [rng.integers(0, 6, (n, 6)), rng.integers(0, 3, (n, 1)), rng.integers(0, 2, (n, 1))], axis=1
    ).astype(np.int8)
    return cells


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 2]), st.sampled_from([8, 12]))
def test_madds_and_reachability_are_the_operator_s(seed, stride, out):
    cells = random_cells(8, seed)
    shape = Shape(8, 7, 9)
    given_madds = cell_macs(cells, shape, out, stride)
    for row, macs, ok in zip(cells.tolist(), given_madds, is_connected(cells), strict=True):
        try:
            operator = cell_of(shape, out, stride, tuple(row))
        except SpaceError as error:
            assert "not reached" in str(error) and not ok
            continue
        assert ok
        assert count(operator.program).macs == macs, row


def test_the_reference_is_an_inverted_residual():
    from nascli.spaces.operators.inverted_residual import mbconv

    ours = cell_of(Shape(8, 7, 7), 8, 1, (*REFERENCE, 1, 0))
    theirs = mbconv((8, 7, 7), 8, kernel=3, expand=6)
    assert count(ours.program).macs == count(theirs.program).macs
    assert distance(np.array([[*REFERENCE, 1, 0]], dtype=np.int8))[0] == 0


def test_populations_stay_valid_near_and_within_their_madds():
    rng = np.random.default_rng(0)
    cells = first_population(4, SMALL, rng)
    assert cells.shape == (4, 40, GENES) and is_connected(cells).all()
    assert (distance(canonical_cells(cells)) <= 3).all()
    assert len(np.unique(cells[0], axis=0)) > 20
    shape = Shape(16, 14, 14)
    most = float(cell_macs(np.array([[*REFERENCE, 1, 0]], dtype=np.int8), shape, 16, 1)[0])
    limits = [(shape, 16, 1, most)] * 4
    moved = mutate(cells, 2, SMALL, rng, near=False, limits=limits)
    changed = np.any(canonical_cells(moved) != canonical_cells(cells), axis=2)
    assert changed.mean() > 0.5 and is_connected(moved).all()
    assert np.array_equal(moved[~changed], cells[~changed])
    assert (cell_macs(canonical_cells(moved[changed]), shape, 16, 1) <= most).all()
    outside = np.ones(GENES, dtype=bool)
    outside[2:5] = False
    assert np.array_equal(moved[..., outside], cells[..., outside])


def test_tournaments_by_hand():
    fitness = np.array([[0.1, 0.9, 0.5, 0.7], [4.0, 3.0, 2.0, 1.0]])
    rng = np.random.default_rng(0)
    assert tournament(fitness, 2, 4, rng).tolist() == [[1, 3], [0, 1]]
    drawn = np.array([tournament(fitness, 1, 1, rng)[0, 0] for _ in range(400)])
    assert np.all(np.abs(np.bincount(drawn, minlength=4) / 400 - 0.25) < 0.08)
    for row in tournament(fitness, 4, 2, rng):
        assert sorted(row) == [0, 1, 2, 3]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_canonical_cells_stay_so_reach_their_output_and_cost_no_more(seed):
    cells = random_cells(12, seed)
    cells = cells[is_connected(cells)]
    plain = canonical_cells(cells)
    assert np.array_equal(canonical_cells(plain), plain) and is_connected(plain).all()
    shape = Shape(4, 5, 5)
    assert (cell_macs(plain, shape, 4, 1) <= cell_macs(cells, shape, 4, 1)).all()


@pytest.mark.parametrize("seed", range(4))
def test_canonical_cells_compute_what_the_cells_do(seed):
    import torch

    from nascli.spaces.operators.dag_cell import roles
    from nascli.supernet.convolutions import NormalisedConv
    from nascli.supernet.modules import ProgramModule

    cells = random_cells(30, seed)
    cells = cells[is_connected(cells)]
    torch.manual_seed(seed)
    x = torch.randn(2, 4, 5, 5)
    changed = 0
    for row, plain in zip(cells.tolist(), canonical_cells(cells).tolist(), strict=True):
        changed += row != plain
        known, outputs = {}, []
        for genes in (row, plain):
            module = ProgramModule(cell_of(Shape(4, 5, 5), 6, 2, tuple(genes)).program).eval()
            named = roles(4, 6, tuple(genes[:6]), genes[6], 6, "concat" if genes[7] else "add")
            convs = [m for m in module.children() if isinstance(m, NormalisedConv)]
            for role, conv in zip(named, convs, strict=True):
                if role in known:
                    conv.load_state_dict(known[role])
                known.setdefault(role, conv.state_dict())
            outputs.append(module(x))
        assert torch.allclose(*outputs, atol=1e-5), (row, plain)
    assert changed > 5


def test_canonical_cells_by_hand():
    # Node 1 leads nowhere; node 2 alone has one arrival, so its join and the expansion of node 1 say nothing.
    cells = np.array(
        [[1, 2, 0, 0, 0, 1, 1, 1], [1, 0, 2, 0, 0, 1, 2, 1], [1, 0, 0, 5, 0, 0, 2, 1]], dtype=np.int8
    )
    assert canonical_cells(cells).tolist() == [
        [0, 2, 0, 0, 0, 1, 2, 0],
        [1, 0, 2, 0, 0, 1, 2, 0],
        [0, 0, 0, 5, 0, 0, 0, 0],
    ]


def test_who_makes_room_by_hand():
    fitness = np.array([[0.0, -1.0, 5.0, -2.0, -9.0]])
    seen = np.array([[3, 1, 2, 1, 0]])
    rng = np.random.default_rng(0)
    assert members_to_replace(fitness, seen, np.array([[3]]), 2, rng).tolist() == [[1, 0]]
    # The one never judged goes last, however low it stands.
    assert members_to_replace(fitness, seen, np.empty((1, 0), dtype=int), 5, rng).tolist() == [
        [3, 1, 0, 2, 4]
    ]


def test_compensation_by_hand():
    g, now, then = np.array([0.5, -1.0]), np.array([2.0, 1.0]), np.array([1.0, 3.0])
    assert compensated_gradient(g, now, then, 0.4).tolist() == pytest.approx(
        [0.5 + 0.4 * 0.25, -1.0 - 0.4 * 2]
    )
    assert np.array_equal(compensated_gradient(g, now, then, 0.0), g)


def test_an_update_of_the_paper_s_size_takes_less_than_a_second():
    paper = AutoSpaceSettings()
    rng = np.random.default_rng(0)
    cells = first_population(21, paper, rng)
    reference = np.array([[*REFERENCE, 1, 0]], dtype=np.int8)
    shape = Shape(24, 28, 28)
    limits = [(shape, 24, 1, 1.2 * float(cell_macs(reference, shape, 24, 1)[0]))] * 21
    start = time.process_time()
    mutate(cells, 1, paper, rng, near=True, limits=limits)
    tournament(rng.random((21, 1000)), 9, 250, rng)
    assert time.process_time() - start < 1.0


def test_teams_grow_and_settings_are_checked():
    paper = AutoSpaceSettings()
    assert [paper.team(s) for s in (0.0, 0.5, 1.0)] == [30, 140, 250]
    for wrong in (
        {"cells": 2000},
        {"window": 9},
        {"first_team": 300},
        {"warmup": 0},
        {"compensation": "x"},
        {"mutants": 0},
    ):
        with pytest.raises(NascliError):
            AutoSpaceSettings(**wrong)


def test_learned_cells_make_a_space_like_any_other():
    cells = first_population(7, SMALL, np.random.default_rng(1))[:, :3]
    space = load_space(f"autospace-mini:cells={format_cells(list(cells))}")
    assert len(space.layers) == 7 and load_space(space.spec).digest == space.digest
    assert space.network(space.sample(1, np.random.default_rng(0))[0]).output == (10, 1, 1)
    assert load_space("autospace-mini").size > 1
    for text in ("12", "1020011x", "99999999", "10200110-10200110", "00000010"):
        with pytest.raises(SpaceError):
            load_space(f"autospace-mini:cells={text}")
