import pytest

from nascli.errors import ConstraintError, SpaceError
from nascli.search.nse.second_space import second_space
from nascli.spaces import load_space
from nascli.spaces.builtin.branches import NSE_27, NSE_SECOND, format_inherited, parse_inherited

SPACE = load_space("nse-27-mini:resolution=8")


def test_a_second_space_has_what_it_inherits_in_front():
    inherited = [(3, 17), (), (0,), (5,), (), (1, 2, 26), (9,)]
    text = format_inherited(inherited)
    assert text == "3.17--0-5--1.2.26-9" and parse_inherited(text) == inherited and parse_inherited("") == []
    space = load_space(f"nse-second-mini:resolution=8,inherited={text}")
    plain = load_space("nse-second-mini:resolution=8")
    for layer, old, first, chosen in zip(space.layers, plain.layers, SPACE.layers, inherited, strict=True):
        assert layer.candidates[: len(chosen)] == tuple(first.candidates[i] for i in chosen)
        assert layer.candidates[len(chosen) :] == old.candidates
    assert len(space.layers[0].candidates) == 2 + len(NSE_SECOND) <= 62 and len(NSE_27) == 27


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1-2", "7 layers, and operations are inherited for 2"),
        ("x", "look like"),
        ("27------", "below 27"),
        ("1.1------", "different"),
    ],
)
def test_what_cannot_be_inherited(text, message):
    with pytest.raises(SpaceError, match=message):
        load_space(f"nse-second-mini:resolution=8,inherited={text}")


def test_a_run_that_cannot_be_continued(tmp_path):
    second = load_space("nse-second-mini:resolution=8")
    with pytest.raises(ConstraintError, match="no finished search by NSE"):
        second_space(second, tmp_path)
    with pytest.raises(ConstraintError, match="inherits nothing"):
        second_space(SPACE, tmp_path)
    (tmp_path / "story.json").write_text(
        '{"rounds": [{"aggregated": [[3, 17], [], [0], [5], [], [1], [9]]}]}'
    )
    # A killed run has rounds, but no result.
    with pytest.raises(ConstraintError, match="no finished search by NSE"):
        second_space(second, tmp_path)
    (tmp_path / "result.json").write_text("{}")
    # Operation 9 of the other space of 19 operations is another one.
    (tmp_path / "settings.json").write_text('{"space": "nse-19-mini:width=0.5"}')
    with pytest.raises(ConstraintError, match="searched nse-19-mini"):
        second_space(second, tmp_path)
    (tmp_path / "settings.json").write_text('{"space": "nse-27-mini:width=0.5"}')
    assert dict(second_space(second, tmp_path).parameters)["inherited"] == "3.17--0-5--1-9"
