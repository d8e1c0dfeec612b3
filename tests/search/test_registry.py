from enum import IntEnum
from importlib.metadata import EntryPoint

import pytest

from nascli.errors import NascliError, UnknownNameError
from nascli.search import registry
from nascli.search.algorithm import SearcherAlgorithm
from nascli.search.registry import (
    algorithm_names,
    default_algorithm,
    default_searcher,
    find_algorithm,
    find_searcher,
    preset_names,
)

NAME = "of-a-third-party"


def install(monkeypatch, value):
    """Make a value the entry point of an installed package."""

    class Point(EntryPoint):
        def load(self):
            return value

    points = {NAME: Point(NAME, "package:VALUE", registry.GROUP)}
    monkeypatch.setattr(
        registry, "find_entry_points", lambda group: points if group == registry.GROUP else {}
    )


class Other(type(find_algorithm("random"))):
    name = NAME


def test_an_algorithm_of_another_package_is_found(monkeypatch):
    other = Other()
    install(monkeypatch, other)
    assert find_algorithm(NAME) is other and find_searcher(NAME) is other and NAME in algorithm_names()


def test_an_entry_point_that_is_no_algorithm_is_told(monkeypatch):
    # Neither another type, nor an algorithm of another name.
    for value in ("nothing", find_algorithm("random")):
        install(monkeypatch, value)
        with pytest.raises(NascliError, match=r"is not a nascli.search.algorithm.Algorithm"):
            find_algorithm(NAME)


def test_streams_that_overlap_with_others_are_refused(monkeypatch):
    monkeypatch.setattr(Other, "streams", IntEnum("OtherStream", {"DRAWS": 41}), raising=False)
    install(monkeypatch, Other())
    with pytest.raises(NascliError, match=r"OtherStream.DRAWS = 41"):
        find_algorithm(NAME)


def test_names_that_there_are():
    names = algorithm_names()
    assert names == sorted(names) and default_algorithm() in names and find_searcher(default_searcher())
    with pytest.raises(UnknownNameError, match="spos"):
        find_algorithm("sposs")
    with pytest.raises(UnknownNameError, match="guided"):
        find_searcher("nse")


def test_one_algorithm_is_the_default_and_all_have_the_small_preset():
    algorithms = [find_algorithm(name) for name in algorithm_names()]
    assert [each.name for each in algorithms if each.is_default] == [default_algorithm()]
    assert preset_names()[0] == "small" and all("small" in each.presets for each in algorithms)
    assert isinstance(find_searcher(default_algorithm()), SearcherAlgorithm)
