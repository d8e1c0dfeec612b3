import dataclasses
import json

import pytest

from nascli.errors import UnknownNameError
from nascli.pipeline.inspect.names import completions
from nascli.pipeline.inspect.recipes import describe_recipe, list_recipes
from nascli.supernet.recipes.registry import find_recipe, recipe_names
from nascli.supernet.training.recipe import Recipe


def test_all_recipes_are_listed():
    rows = list_recipes()
    assert [row.name for row in rows if row.kind == "retraining"] == recipe_names()
    assert [row.name for row in rows if row.kind == "supernet"] == recipe_names("supernet")
    pcnas = next(row for row in rows if row.name == "pcnas" and row.kind == "retraining")
    assert (pcnas.epochs, pcnas.batch, pcnas.rate, pcnas.schedule) == (300, 512, 0.1, "cosine")
    assert "mixup" in pcnas.to_json()["open_fields"]


def test_a_name_stands_for_the_recipes_of_both_kinds():
    kinds = {name: [each.kind for each in describe_recipe(name)] for name in ("nse", "counted", "nse-small")}
    assert kinds == {"nse": ["retraining", "supernet"], "counted": ["retraining"], "nse-small": ["supernet"]}
    with pytest.raises(UnknownNameError, match="unknown recipe 'nsee'. Did you mean nse"):
        describe_recipe("nsee")


def test_every_field_is_beside_what_is_known_of_it():
    description = describe_recipe("nse")[0]
    fields = {field.name: field for field in description.fields}
    assert list(fields) == [field.name for field in dataclasses.fields(Recipe)]
    assert (fields["rate"].value, fields["rate"].mark, fields["rate"].where) == (0.8, "stated", "appendix B")
    assert fields["label_smoothing"].mark == "open" and fields["betas"].mark == "unused"
    assert fields["betas"].to_json()["value"] == [0.9, 0.999]
    document = json.loads(json.dumps(description.to_json()))
    assert document["paper"].startswith("Ci et al. 2021")
    assert {field["name"]: field["value"] for field in document["fields"]}["rate"] == find_recipe("nse").rate


def test_shells_complete_recipes_by_their_kind():
    assert completions("recipes") == sorted(recipe_names())
    assert completions("supernet recipes") == sorted(recipe_names("supernet"))
    assert completions("all recipes") == sorted({*recipe_names(), *recipe_names("supernet")})
