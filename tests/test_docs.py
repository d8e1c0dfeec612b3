"""Commands and Python in README, docs, and notebooks: those of blocks run, made smaller; those in tables parse.

`make`, `pip`, `mkdocs`, and the searches in the table of algorithms are not run here, since tests of their own run them.
"""

import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from pydoc import locate

import click
import pytest
from click.testing import CliRunner
from image_files import write_cells, write_images
from preloaded import Python
from simulated_devices import fill_references

from nascli.cli import main
from nascli.errors import NascliError
from nascli.paths import default_store
from nascli.pipeline.run.settings import choose_preset
from nascli.pipeline.train.recipes import chosen_recipe
from nascli.search.registry import algorithm_names

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Less of everything: what is tested is that the commands work, not what they find.
TINY = "proxyless-mini:resolution=8,width=0.25,depth=1"
SMALL = 'nascli.space("proxyless-mini", resolution=8, width=0.25, depth=1)'
SHORT = ["evolution.population=4", "evolution.generations=2", "supernet.epochs=1", "retraining.epochs=1"]
LESS = {
    "search": ["--population", "4", "--generations", "2", "--supernet-epochs", "1", "--retrain-epochs", "1"],
    "sweep": ["--population", "4", "--generations", "2", "--supernet-epochs", "1", "--retrain-epochs", "1"],
    "train": ["--epochs", "1"],
}


def blocks(page, *languages):
    text = page.read_text()
    for match in re.finditer(r"```(\w*)[^\n]*\n(.*?)```", text, re.S):
        if match[1] in languages:
            yield match[2]


def documented(page):
    for block in blocks(page, "", "console", "bash"):
        for line in block.splitlines():
            if line.startswith("nascli "):
                yield line.split("  #")[0].strip()


def inline(page):
    """Whole searches between backticks; other inline commands are descriptions."""
    for command in re.findall(r"`(nascli [^`]+)`", page.read_text()):
        if re.search(r"--(constraint|budget) ", command) and not re.search(r"\b[A-Z]{2,}\b", command):
            yield command


ALL = [
    (page.name, command) for page in PAGES for command in dict.fromkeys([*documented(page), *inline(page)])
]


def resolve(words):
    """The command that words name, with what is left of them."""
    group, left = main, list(words)
    while isinstance(group, click.Group) and left and left[0] in group.commands:
        group = group.commands[left.pop(0)]
    return group, left


def test_there_are_commands_to_run():
    assert len(ALL) > 25 and len({page for page, _ in ALL}) >= 5


@pytest.mark.parametrize(("page", "command"), ALL)
def test_documented_commands_parse(page, command):
    found, left = resolve(shlex.split(command)[1:])
    assert not isinstance(found, click.Group), f"{page}: no such command: {command}"
    with found.make_context("x", left) as context:
        assert context.command is found


def reduced(command):
    words = shlex.split(command)[1:]
    name = words[0]
    if "--space" in words:
        at = words.index("--space") + 1
        if words[at].startswith(("proxyless-mini", "fbnet-mini")):
            words[at] = TINY
    elif name in ("search", "profile", "calibrate", "sweep"):
        words += ["--space", TINY]
    words = [re.sub(r"latency=[\d.]+ms", "latency=50ms", word) for word in words]
    # In place of the photographs, which are not everywhere, the sandbox has generated ones.
    words = ["elpv:cells" if word == "elpv" else word for word in words]
    if name == "train" and "--epochs" in words:
        words[words.index("--epochs") + 1] = "1"
        return words
    return words + LESS.get(name, [])


def ran(words, expect=(0,)):
    result = CliRunner().invoke(main, words)
    assert result.exit_code in expect, (words, result.output, result.exception)
    assert "Traceback" not in result.output
    return result


@pytest.fixture
def sandbox(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NASCLI_HOME", str(tmp_path / "home"))
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    write_cells(tmp_path / "cells")
    return tmp_path


def test_the_tutorial_runs_from_top_to_bottom(sandbox, quick_measuring):
    for command in documented(ROOT / "docs" / "tutorial.md"):
        ran(reduced(command))
    assert {"runs", "comparison.html", "table.html", "net.onnx", "net.py", "net.safetensors"} <= {
        p.name for p in sandbox.iterdir()
    }
    # The last file needs no nascli.
    probe = (
        "import sys; sys.modules['nascli'] = None\n"
        "import net, torch\nfrom safetensors.torch import load_file\n"
        "m = net.Net(); m.load_state_dict(load_file('net.safetensors')); m.eval()\n"
        "print(tuple(m(torch.zeros(2, 1, 8, 8)).shape))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, cwd=sandbox)
    assert done.stdout.strip() == "(2, 10)", done.stderr
    write_images(sandbox / "photos")
    for page in ("device.md", "data.md", "recipes.md"):
        for command in documented(ROOT / "docs" / "guides" / page):
            ran(reduced(command))
    for page in (ROOT / "docs" / "formats.md", ROOT / "docs" / "guides" / "space.md", ROOT / "README.md"):
        for command in documented(page):
            ran(reduced(command))
    assert (sandbox / "cpu.parquet").exists()


def test_the_commands_for_a_network_of_one_s_own_run(sandbox, quick_measuring):
    import numpy as np
    from onnx_models import TRANSFORMER, floats, saved, transformer_weights

    conv = "g (float[1,3,224,224] x) => (float[1,4,56,56] y) { y = Conv <strides = [4, 4]> (x, w) }"
    saved(sandbox / "model.onnx", conv, {"w": floats(4, 3, 4, 4)})
    for name in ("first.onnx", "second.onnx"):
        saved(sandbox / name, TRANSFORMER, transformer_weights())
    words = "g (int64[N,T] input_ids) => (float[N,T,2] y) { y = Gather (table, input_ids) }"
    saved(sandbox / "text.onnx", words, {"table": floats(30_001, 2)})
    np.savez(sandbox / "inputs.npz", input_ids=np.ones((2, 9), np.int64))
    # Reference networks take minutes to measure.
    fill_references(default_store(), batch=1)
    commands = list(documented(ROOT / "docs" / "guides" / "network.md"))
    assert len(commands) >= 8
    for command in commands:
        ran(shlex.split(command)[1:])


def test_the_python_of_readme_runs(tmp_path, home):
    text = (
        python_of(ROOT / "README.md")
        .replace('nascli.space("proxyless-mini")', SMALL)
        .replace("latency=8ms", "latency=50ms")
    )
    executed(shortened(text), tmp_path, home)


def shortened(text):
    """The same script, whose searches train for one epoch."""
    return text.replace("seed=0)\nresult.", f"seed=0, changes={SHORT})\nresult.")


def python_of(page):
    return "\n".join(blocks(page, "python"))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """One store: all of them use the same small space, which is measured once."""
    return tmp_path_factory.mktemp("home")


def test_the_data_set_of_the_guide_is_read(tmp_path, monkeypatch):
    from nascli.supernet.data.images import load_images

    paths = write_images(tmp_path / "photos")
    rows = [f"{path.relative_to(tmp_path / 'photos')},{path.parent.name[-1]}" for path in paths]
    (tmp_path / "photos" / "table.csv").write_text("\n".join(rows))
    text = (ROOT / "docs" / "guides" / "data.md").read_text()
    (tmp_path / "my_images.py").write_text(python_of(ROOT / "docs" / "guides" / "data.md"))
    assert 'title="my_images.py"' in text
    monkeypatch.chdir(tmp_path)
    images = load_images("my_images.py:photos", 16)
    assert images.classes == 2 and len(images.train) == 14


@pytest.mark.parametrize("page", ["space.md", "evaluator.md", "python.md"])
def test_the_python_of_the_guides_runs(page, tmp_path, home):
    text = python_of(ROOT / "docs" / "guides" / page)
    assert text.count("\n") > 5
    executed(shortened(text), tmp_path, home)


def test_the_algorithm_of_the_guide_keeps_its_contract(tmp_path, home):
    text = (ROOT / "docs" / "guides" / "algorithm.md").read_text()
    for name, code in re.findall(r'```python title="([\w.]+)"\n(.*?)```', text, re.S):
        (tmp_path / name).write_text(code)
    contract = ["-q", "-p", "no:cacheprovider", "test_climbing.py"]
    done = Python("pytest", *contract, cwd=tmp_path, env={"NASCLI_HOME": str(home)}).finish(240)
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout
    use = (
        "import numpy as np, nascli\nfrom climbing import CLIMBING\nfrom rings import RINGS\n"
        "budget = nascli.constrain(nascli.space('proxyless-mini'), 'macs<=8M')\n"
        "found = CLIMBING.searcher(budget, CLIMBING.settings_for(10), np.random.default_rng(0)).ask()\n"
        "assert found.shape == (5, 10)\n"
        "assert RINGS.read(None, 8).images.shape == (600, 1, 8, 8)\n"
    )
    executed(use, tmp_path, home)


def test_every_hyper_parameter_that_the_documents_name_exists():
    named = set()
    for page in PAGES:
        named |= set(re.findall(r"(?:--set |`)([a-z_]+(?:\.[a-z_]+)+=[^`\s]+)", page.read_text()))
    # The setting of the guide's own algorithm, which the test above runs.
    named -= {"climbing.probability=0.1"}
    assert len(named) >= 6
    for change in sorted(named):
        assert any(accepts(name, change) for name in algorithm_names()), change


def accepts(algorithm, change):
    try:
        if change.startswith("recipe."):
            chosen_recipe("retraining", "small", changes=[change])
        else:
            choose_preset(algorithm, changes=[change])
    except NascliError:
        return False
    return True


def test_results_that_the_documents_name_exist():
    named = set()
    for page in PAGES:
        named |= set(re.findall(r"benchmarks/results/([\w-]+\.\w+)", page.read_text()))
    named |= set(re.findall(r"`(\w+\.md)`", (ROOT / "docs" / "studies.md").read_text()))
    assert len(named) > 12
    for name in named:
        assert (ROOT / "benchmarks" / "results" / name).exists(), name


@pytest.mark.parametrize("name", ["budgets", "tables"])
def test_the_notebooks_run(name, tmp_path, home):
    document = json.loads((ROOT / "examples" / f"{name}.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in document["cells"] if cell["cell_type"] == "code"]
    assert len(cells) >= 3 and all(not cell.get("outputs") for cell in document["cells"])
    executed("\n\n".join(cells), tmp_path, home)


def executed(text, folder, home):
    less = 'changes=["supernet.epochs=1", "retraining.epochs=1", "spos.population=4", "spos.generations=2"], seed=0)'
    lines = [
        line.replace("seed=0)", less) if "nascli.search(" in line else line for line in text.splitlines()
    ]
    (folder / "script.py").write_text("\n".join(lines))
    done = Python("script.py", cwd=folder, env={"NASCLI_HOME": str(home)}, quick_measuring=True).finish(240)
    assert done.returncode == 0, done.stderr


def test_the_documentation_builds_and_all_its_links_lead_somewhere(tmp_path):
    pytest.importorskip("mkdocs")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "-q", "--strict", "-d", str(tmp_path / "site")],
        cwd=ROOT, capture_output=True, text=True, timeout=240, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    reference = (tmp_path / "site" / "reference" / "index.html").read_text()
    assert "FeasibleSet" in reference and "uniform" in reference


def test_files_that_the_documents_link_to_exist():
    others = [ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")]
    for page in [*PAGES, *others]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_member_of_the_reference_exists():
    """mkdocstrings leaves out a member that its module does not have, without an error."""
    text = (ROOT / "docs" / "reference.md").read_text()
    found = 0
    for module, members in re.findall(r"^::: (\S+)\n(?:    options:\n      members: \[(.*)\])?", text, re.M):
        source = importlib.import_module(module)
        for name in filter(None, members.split(", ")):
            assert getattr(source, name).__module__ == module, f"{module} does not define {name}"
            found += 1
    assert found > 20


def test_modules_and_folders_that_the_documents_name_exist():
    contributing = ROOT / "CONTRIBUTING.md"
    checked = 0
    for page in [*PAGES, contributing, ROOT / "SECURITY.md"]:
        for name in re.findall(r"`([^`\s]+)`", page.read_text()):
            # Groups of entry points are spelled like modules.
            if re.fullmatch(r"nascli(\.\w+)+", name) and name not in ("nascli.algorithms", "nascli.datasets"):
                assert locate(name) is not None, f"{page.name}: {name}"
            # Other pages also name folders of runs and data; capitals stand for any name.
            elif name == name.lower() and re.fullmatch(
                r"(\w+/)+(\w+\.py)?" if page == contributing else r"(\w+/)+\w+\.py", name
            ):
                assert (ROOT / name).exists() or any((ROOT / "nascli").rglob(name)), f"{page.name}: {name}"
            else:
                continue
            checked += 1
    assert checked > 20


def test_the_recipe_of_the_guide_is_one(tmp_path):
    (text,) = blocks(ROOT / "docs" / "guides" / "recipes.md", "toml")
    (tmp_path / "mine.toml").write_text(text)
    recipe = chosen_recipe("retraining", str(tmp_path / "mine.toml"))
    assert (recipe.epochs, recipe.batch, recipe.rate, recipe.cutmix) == (90, 256, 0.125, 1.0)
    assert recipe.policy == "randaugment"
