"""Every number of every recipe and preset of the papers, against a table that was transcribed by hand."""

import dataclasses
import tomllib
from pathlib import Path

import pytest

from nascli.pipeline.run.plan import settings_by_name
from nascli.search.registry import algorithm_names, find_algorithm
from nascli.supernet.recipes.entry import ABSENT, COMPUTING, KINDS, OPEN, REFERRED, STATED, UNUSED
from nascli.supernet.recipes.registry import find_entry, find_recipe, find_supernet_recipe, recipe_entries
from nascli.supernet.training.recipe import Recipe

TABLE = tomllib.loads((Path(__file__).parents[2] / "data" / "paper_recipes.toml").read_text())
FIELDS = [field.name for field in dataclasses.fields(Recipe)]
RECIPES = [(kind, name) for kind in KINDS for name in TABLE[kind]]
PAPERS = [entry for entry in recipe_entries() if entry.paper]


def plain(value):
    return tuple(value) if isinstance(value, list) else value


def test_the_table_has_every_recipe_of_a_paper_and_no_other():
    assert {(entry.kind, entry.name) for entry in PAPERS} == set(RECIPES)


@pytest.mark.parametrize(("kind", "name"), RECIPES)
def test_a_recipe_has_the_numbers_of_its_paper(kind, name):
    row, entry = TABLE[kind][name], find_entry(kind, name)
    recipe = entry.recipe
    assert entry.paper.startswith(row["paper"])
    for mark, rows in ((STATED, row.get("stated", {})), (REFERRED, row.get("referred", {}))):
        for field, (value, where) in rows.items():
            note = entry.note(field)
            assert (field, getattr(recipe, field)) == (field, plain(value))
            assert (field, note.mark, note.where) == (field, mark, where)
    for field, value in row.get("open", {}).items():
        assert (field, getattr(recipe, field)) == (field, plain(value))
        assert (field, entry.note(field).mark) == (field, OPEN)


@pytest.mark.parametrize(("kind", "name"), RECIPES)
def test_what_neither_the_paper_states_nor_anybody_takes_is_absent(kind, name):
    row, entry = TABLE[kind][name], find_entry(kind, name)
    known = {field for group in ("stated", "referred", "open") for field in row.get(group, {})}
    defaults = Recipe(epochs=1)
    for field in set(FIELDS) - known:
        mark = entry.note(field).mark
        assert mark in (ABSENT, COMPUTING, UNUSED), (field, mark)
        # Nothing is used that is not in the table.
        if mark != UNUSED:
            assert getattr(entry.recipe, field) == getattr(defaults, field), field
    assert {field for field in known if entry.note(field).mark == UNUSED} == set()
    assert all(entry.note(field).words for field in FIELDS)


@pytest.mark.parametrize("name", TABLE["presets"])
def test_a_preset_has_the_numbers_of_its_paper(name):
    row, preset = TABLE["presets"][name], find_algorithm(name).preset("paper")
    expected = {key: value for key, (value, _) in row.get("stated", {}).items()} | row.get("open", {})
    found = {key: "none" if value is None else value for key, value in settings_by_name(preset).items()}
    assert found == {key: plain(value) for key, value in expected.items()}
    assert preset.supernet == find_supernet_recipe(row["supernet"])
    assert preset.retraining == find_recipe(row["retraining"])
    learned = row.get("space_recipe")
    assert preset.space_recipe == (None if learned is None else find_supernet_recipe(learned))


def test_the_table_has_every_preset_of_a_paper():
    built_in = {name for name in algorithm_names() if "paper" in find_algorithm(name).presets}
    assert set(TABLE["presets"]) == built_in


def test_an_entry_that_is_silent_about_a_field_is_refused():
    entry = dataclasses.replace(find_entry("retraining", "spos"), notes={})
    with pytest.raises(KeyError, match="rate"):
        entry.note("rate")
