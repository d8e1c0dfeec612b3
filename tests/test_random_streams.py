"""Random streams: numbers that never change, and that no two streams share."""

import ast
import importlib
from enum import IntEnum
from pathlib import Path

import numpy as np
import pytest

import nascli
from nascli.random_streams import RandomStream, generator, require_distinct_streams

ROOT = Path(nascli.__file__).parent


def all_streams():
    yield RandomStream
    for path in sorted(ROOT.glob("search/*/settings.py")):
        module = importlib.import_module(f"nascli.search.{path.parent.name}.settings")
        yield from (
            member
            for member in vars(module).values()
            if isinstance(member, type) and issubclass(member, IntEnum) and member is not IntEnum
        )


def test_a_stream_has_the_numbers_of_the_plain_list():
    expected = np.random.default_rng([5, 4, 17, 2]).random(8)
    assert np.array_equal(generator(5, RandomStream.MIXUP, 17, 2).random(8), expected)
    assert np.array_equal(
        generator(5, RandomStream.SEARCHER).random(8), np.random.default_rng([5, 11]).random(8)
    )


def test_no_number_stands_for_two_streams():
    streams = list(all_streams())
    names = {enumeration.__name__ for enumeration in streams}
    assert {
        "RandomStream",
        "PcnasStream",
        "NseStream",
        "NssStream",
        "AutoSpaceStream",
        "ProxylessStream",
    } <= names
    require_distinct_streams(streams)


def test_a_number_in_two_enumerations_is_refused():
    other = IntEnum("OtherStream", {"ORDER": 90, "PATHS": 3})
    with pytest.raises(ValueError, match=r"OtherStream\.PATHS = 3, RandomStream\.SUPERNET_PATHS = 3; change"):
        require_distinct_streams([RandomStream, other])


def test_a_number_twice_in_one_enumeration_is_refused():
    with pytest.raises(ValueError, match=r"Twice\.FIRST = 90, Twice\.SECOND = 90"):
        require_distinct_streams([IntEnum("Twice", {"FIRST": 90, "SECOND": 90})])


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_only_named_streams_are_drawn_from(path):
    if path.name == "random_streams.py":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("default_rng"):
            assert not any(isinstance(argument, ast.List | ast.Tuple) for argument in node.args), (
                f"{path.relative_to(ROOT)}:{node.lineno} draws from a list of numbers: use generator(seed, stream)"
            )
