from pathlib import Path

import pytest

from nascli.errors import NascliError, SpaceError
from nascli.spaces import load_space
from nascli.spaces.catalog import use_file

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_a_python_file_brings_operators_and_spaces():
    space = load_space(f"{EXAMPLES / 'my_space.py'}:ghosts:resolution=8")
    assert (space.input == (1, 8, 8) and space.size == 4**3 * 4 * 3 * 3) or space.size > 1
    assert space.network([0] * 6).output == (10, 1, 1)
    lines = (EXAMPLES / "my_space.py").read_text().splitlines()
    assert len(lines) < 40
    with pytest.raises(SpaceError, match="name a space of the file"):
        load_space(str(EXAMPLES / "my_space.py"))


def test_a_toml_file_describes_a_space():
    space = load_space(f"{EXAMPLES / 'my_space.toml'}:classes=7")
    assert space.name == "toml-mbconv" and space.output.channels == 7
    assert [len(layer.candidates) for layer in space.layers] == [4, 4, 2, 3, 3]
    assert load_space("toml-mbconv").input == (1, 16, 16)


GOOD = """
name = "t"
input = [1, 8, 8]
[[blocks]]
name = "l"
candidates = [{operator = "mbconv", arguments = {out = 8}}, {operator = "mbconv", arguments = {out = 8, kernel = 5}}]
"""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("name = \"t\"", "nome = \"t\""), "name: Field required|unknown key nome"),
        (("input = [1, 8, 8]", "input = [1, 8]"), "input"),
        (("input = [1, 8, 8]", "input = [1, 8, -8]"), "input.2"),
        (("name = \"l\"", "name = \"l\"\nrepaet = 3"), "unknown key blocks.0.repaet"),
        (("name = \"l\"", "name = \"l\"\nrepeat = \"3\""), "repeat"),
        (("name = \"l\"", "name = \"../l\""), "blocks.0.name"),
        (("mbconv", "mbcomv"), "unknown operator 'mbcomv'. Did you mean mbconv"),
        (("kernel = 5", "kernel = 4"), "block l: operator mbconv.*kernels are odd"),
        (("kernel = 5", "cernel = 5"), "unexpected keyword"),
        (("out = 8, kernel", "out = 16, kernel"), "all candidates must map"),
        (("name = \"t\"", "name = \"proxyless\""), "comes with nascli"),
        (("candidates", "kandidates"), "unknown key"),
        (("[[blocks]]", "[[blocks"), "not valid TOML"),
    ],
)  # fmt: skip
def test_wrong_files_are_told_where(tmp_path, change, message):
    path = tmp_path / "space.toml"
    path.write_text(GOOD)
    assert use_file(path) == ["t"]
    path.write_text(GOOD.replace(*change, 1))
    with pytest.raises(NascliError, match=message):
        use_file(path)


def test_sizes_that_are_none_are_told(tmp_path):
    text = (Path(__file__).parents[2] / "examples" / "my_space.toml").read_text()
    assert "kernel = 3" in text
    for wrong in ("0.5", "[3]", "[1, 2, 3]"):
        path = tmp_path / "s.toml"
        path.write_text(text.replace("kernel = 3", f"kernel = {wrong}", 1))
        with pytest.raises(SpaceError):
            load_space(str(path))


def test_layers_may_be_multi_branch(tmp_path):
    path = tmp_path / "space.toml"
    path.write_text(
        GOOD.replace('name = "t"', 'name = "tb"').replace(
            'name = "l"', 'name = "l"\nbranches = 2\nrepeat = 2'
        )
    )
    space = load_space(str(path))
    assert space.multi_branch and [layer.join for layer in space.layers] == ["reduction", "normal"]


def test_other_files_are_refused(tmp_path):
    for name, content, message in [
        ("a.yaml", "x", "ends in .py or .toml"),
        ("b.py", "raise ValueError('no')", "ValueError: no"),
        ("c.toml", " " * (1 << 21), "larger than"),
    ]:
        (tmp_path / name).write_text(content)
        with pytest.raises(SpaceError, match=message):
            use_file(tmp_path / name)
