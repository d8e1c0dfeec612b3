import pytest

from nascli.pipeline.inspect.names import completions
from nascli.profiles.runtimes.registry import all_runtimes
from nascli.search.registry import algorithm_names, find_algorithm
from nascli.spaces import space_names

KINDS = ["spaces", "devices", "runtimes", "precisions", "data", "algorithms", "presets", "recipes"]


@pytest.mark.parametrize("kind", KINDS)
def test_names_of_every_kind_are_sorted_and_different(kind):
    names = completions(kind)
    assert names and names == sorted(set(names)) and all(isinstance(name, str) for name in names)


def test_names_are_those_that_the_registries_know():
    assert completions("spaces") == sorted(space_names())
    assert completions("algorithms") == sorted(algorithm_names())
    assert completions("runtimes") == sorted(["all", "auto", "fastest", *all_runtimes()])
    assert set(completions("presets")) >= set(find_algorithm("spos").presets)
    assert {"cpu", "titanxp"} <= set(completions("devices")) and "digits" in completions("data")


def test_an_unknown_kind_is_a_mistake_of_the_caller():
    with pytest.raises(KeyError):
        completions("magic")
