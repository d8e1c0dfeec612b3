"""The contract of a store. Subclass `StoreContract`, say how one is opened, and let pytest collect it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nascli.errors import StoreError
from nascli.lut.exchange.packs import import_pack, read_pack, read_store, write_pack
from nascli.lut.keys import Setup, program_key
from nascli.lut.statistics import Sample
from nascli.lut.store.store import Store
from nascli.spaces.operators.inverted_residual import mbconv

SETUP = Setup("device", "runtime", "1", "fp32", 16, 1)
OPERATORS = [mbconv((8, 4, 4), 8 * i) for i in (1, 2, 3)]
KEYS = [program_key(operator.program) for operator in OPERATORS]
ROUNDS = 4


def sample(number: int, round_: int, generation: int = 0) -> Sample:
    """A burst that no other is like."""
    seconds = np.array([1e-3 * (number + 1) + 1e-6 * run + 1e-7 * round_ for run in range(3 + round_)])
    return Sample(round_, seconds, 1e-3 + 1e-5 * round_, 5.0 + round_, generation, None if round_ else 0.25)


class StoreContract:
    """Tests that hold for any store of measurements."""

    def open(self, path: Path) -> Store:
        """A store at a place, made if there is none."""
        raise TypeError("override open()")

    def filled(self, path: Path) -> Store:
        """One with some rounds of every operator."""
        store = self.open(path)
        store.add_setup(SETUP, {"model": "A device"})
        store.add_operators(OPERATORS)
        for number, key in enumerate(KEYS):
            for round_ in range(ROUNDS):
                assert store.add_sample(SETUP, key, sample(number, round_))
        return store

    def test_samples_come_back_exactly(self, tmp_path: Path) -> None:
        """Every bit of them, in the order of their rounds; also after it was closed."""
        self.filled(tmp_path / "s").close()
        with self.open(tmp_path / "s") as store:
            found = store.samples(SETUP)
            assert sorted(found) == sorted(KEYS)
            for number, key in enumerate(KEYS):
                assert [s.round for s in found[key]] == list(range(ROUNDS))
                for got in found[key]:
                    wanted = sample(number, got.round)
                    assert np.array_equal(got.seconds, wanted.seconds)
                    assert replace(got, seconds=wanted.seconds) == wanted
            assert store.setups() == [(SETUP, {"model": "A device"}, len(OPERATORS))]
            label, program = store.all_operators()[KEYS[0]]
            assert program == OPERATORS[0].program and label == OPERATORS[0].label

    def test_a_round_is_kept_once(self, tmp_path: Path) -> None:
        """The first one counts; the second is told to be none."""
        with self.filled(tmp_path / "s") as store:
            before = store.samples(SETUP)[KEYS[0]][0].seconds
            assert store.add_sample(SETUP, KEYS[0], Sample(0, np.full(4, 9.0), 1.0, 6.0)) is False
            assert np.array_equal(store.samples(SETUP)[KEYS[0]][0].seconds, before)

    def test_many_are_kept_or_none(self, tmp_path: Path) -> None:
        """A batch with an unknown operator in it leaves nothing behind."""
        with self.filled(tmp_path / "s") as store:
            rows = {KEYS[0]: [sample(0, 9)], "unheard": [sample(0, 9)]}
            with pytest.raises(StoreError):
                store.add_samples(SETUP, rows)
            assert [s.round for s in store.samples(SETUP)[KEYS[0]]] == list(range(ROUNDS))
            assert store.add_samples(SETUP, {KEYS[0]: [sample(0, 9), sample(0, 0)]}) == 1

    @pytest.mark.parametrize("seconds", [[], [0.0], [-1.0], [np.nan], [np.inf]])
    def test_impossible_times_are_refused(self, tmp_path: Path, seconds: list[float]) -> None:
        """A table never holds them."""
        with self.filled(tmp_path / "s") as store, pytest.raises(StoreError, match="finite and positive"):
            store.add_sample(SETUP, KEYS[0], Sample(9, np.array(seconds), 1.0, 0.0))

    def test_unknown_setups_and_operators_are_refused(self, tmp_path: Path) -> None:
        """By name."""
        other = replace(SETUP, runtime_version="2")
        with self.filled(tmp_path / "s") as store:
            with pytest.raises(StoreError, match="does not know the setup"):
                store.add_sample(other, KEYS[0], sample(0, 9))
            for nobody in ("nobody", "n'o\"b,ody"):
                with pytest.raises(StoreError, match="does not know the operator n"):
                    store.add_sample(SETUP, nobody, sample(0, 9))
            assert store.samples(other) == {} and store.facts(other) is None

    def test_a_new_generation_counts_and_the_old_one_is_kept(self, tmp_path: Path) -> None:
        """An operator that is measured anew."""
        with self.filled(tmp_path / "s") as store:
            store.add_sample(SETUP, KEYS[1], sample(1, ROUNDS, generation=1))
            assert [s.round for s in store.samples(SETUP)[KEYS[1]]] == [ROUNDS]
            assert [s.round for s in store.history(SETUP)[KEYS[1]]] == [*range(ROUNDS), ROUNDS]
            assert len(store.samples(SETUP)[KEYS[0]]) == ROUNDS

    def test_two_that_are_open_see_each_other(self, tmp_path: Path) -> None:
        """What one has written the other reads, and neither doubles it."""
        with self.filled(tmp_path / "s") as first, self.open(tmp_path / "s") as second:
            assert first.add_sample(SETUP, KEYS[2], sample(2, 7))
            assert second.add_sample(SETUP, KEYS[2], sample(2, 7)) is False
            assert second.add_sample(SETUP, KEYS[2], sample(2, 8))
            assert [s.round for s in first.samples(SETUP)[KEYS[2]]] == [*range(ROUNDS), 7, 8]

    def test_a_removed_setup_takes_its_own_along(self, tmp_path: Path) -> None:
        """And nothing of another."""
        other = replace(SETUP, device="another")
        with self.filled(tmp_path / "s") as store:
            store.add_setup(other, {})
            store.add_sample(other, KEYS[0], sample(0, 0))
            assert store.remove_setup(SETUP) == ROUNDS * len(OPERATORS)
            assert store.samples(SETUP) == {} and [s for s, _, _ in store.setups()] == [other]
            assert len(store.samples(other)[KEYS[0]]) == 1 and store.integrity() == []

    def test_a_pack_carries_all_of_a_setup(self, tmp_path: Path) -> None:
        """Into an empty store, once."""
        with self.filled(tmp_path / "s") as store:
            write_pack(read_store(store, SETUP), tmp_path / "p.parquet")
            expected = store.columns(SETUP)
        with self.open(tmp_path / "t") as other:
            pack = read_pack(tmp_path / "p.parquet")
            assert import_pack(pack, other) == ROUNDS * len(OPERATORS)
            assert import_pack(pack, other) == 0
            got = other.columns(SETUP)
        assert got.operators == expected.operators and np.array_equal(got.seconds, expected.seconds)
        assert np.array_equal(got.round, expected.round) and np.array_equal(got.owner, expected.owner)
