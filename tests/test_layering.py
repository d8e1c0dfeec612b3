"""Who may import whom: dependencies point downward only."""

import ast
import re
import resource
import subprocess
import sys
from pathlib import Path

import click
import pytest

import nascli
from nascli.cli import main

ROOT = Path(nascli.__file__).parent
# What everything may use; among themselves, downward in this order.
GROUND = [
    "errors",
    "version",
    "progress",
    "remaining_time",
    "paths",
    "plugins",
    "random_streams",
    "units",
    "files",
    "execution",
]
# Each other part may import itself, the ground, and these.
ALLOWED = {
    "spaces": set(),
    "lut": {"spaces"},
    "profiles": {"spaces", "lut"},
    "costmodel": {"spaces", "lut"},
    "supernet": {"spaces", "costmodel"},
    "report": {"spaces"},
    "search": {"spaces", "lut", "costmodel", "supernet", "report"},
    "testing": {"spaces", "lut", "profiles", "costmodel", "supernet", "report", "search"},
    "pipeline": {"spaces", "lut", "profiles", "costmodel", "supernet", "search", "report"},
    "api": {"spaces", "lut", "profiles", "costmodel", "search", "pipeline"},
    "terminal": set(),
    "commands": {"spaces", "profiles", "search", "pipeline", "terminal"},
    "cli": {"commands", "spaces"},
    "__main__": {"cli"},
    "__init__": {"api"},
}
# Inside the pipeline: run uses train, which uses measure, which uses tables; inspect looks at all of them.
PIPELINE = ["tables", "measure", "train", "run", "inspect"]
# Heavy or special packages, and the only places that may import them.
HOMES = {
    # On a card torch may also provide memory and events.
    "torch": {"supernet", "search", "pipeline", "profiles/cuda/with_torch.py"},
    "onnxruntime": {
        "profiles/runtimes/ort_package.py",
    },
    "openvino": {"profiles/runtimes/openvino.py"},
    "cuda": {"profiles/cuda/with_cuda_core.py"},
    "pycuda": {"profiles/cuda/with_pycuda.py"},
    "pynvml": {"profiles/devices/cards.py"},
    "ray": {"search/evaluators/batched.py"},
    "fsspec": {"pipeline/tables/exchange.py"},
    "click": {"cli.py", "commands"},
    "rich": {"commands", "terminal.py"},
    "sqlite3": {"lut/store/database.py"},
    "sklearn": {"supernet"},
    "pickle": {"lut/exchange/foreign/safe_pickle.py"},
    "yaml": {"lut/exchange/foreign/yaml_tables.py"},
}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            if node.module == "nascli":
                yield from (f"nascli.{alias.name}" for alias in node.names)


FILES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_dependencies_point_downward(path):
    relative = path.relative_to(ROOT)
    part = relative.parts[0].removesuffix(".py")
    for name in imports(path):
        pieces = name.split(".")
        if pieces[0] != "nascli":
            home = HOMES.get(pieces[0])
            allowed = home is None or any(str(relative).startswith(place) for place in home)
            assert allowed, f"{relative} imports {name}, which belongs in {home}"
        elif len(pieces) > 1 and pieces[1] not in ("__version__", part):
            below = GROUND[: GROUND.index(part)] if part in GROUND else [*GROUND, *ALLOWED[part]]
            assert pieces[1] in below, f"{relative} imports {name}"
        elif part == "pipeline" and relative.parts[1] in PIPELINE and pieces[1:2] == ["pipeline"]:
            own = PIPELINE.index(relative.parts[1])
            assert PIPELINE.index(pieces[2]) <= own, f"{relative} imports {name}"


def test_no_import_runs_in_a_circle():
    """Imports inside functions count too: they hide a circle, and do not open it."""
    modules = {".".join(path.relative_to(ROOT.parent).with_suffix("").parts): path for path in FILES}
    graph = {}
    for name, path in modules.items():
        reached = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                submodules = {f"{node.module}.{alias.name}" for alias in node.names} & set(modules)
                reached |= submodules or {node.module, f"{node.module}.__init__"} & set(modules)
        graph[name] = reached
    # Whoever imports nobody that is left, or is imported by nobody, is taken out, until only circles are left.
    while free := [
        name
        for name, reached in graph.items()
        if not reached & set(graph) or not any(name in others for others in graph.values())
    ]:
        for name in free:
            del graph[name]
    assert not graph, {name: sorted(reached & set(graph)) for name, reached in graph.items()}


def test_every_part_has_a_rule():
    parts = {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in FILES}
    assert parts == {*GROUND, *ALLOWED}


def test_help_is_quick_and_loads_nothing_heavy():
    code = (
        "import sys, nascli.cli\n"
        "try: nascli.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'onnxruntime', 'onnx', 'pandas', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    times = []
    for _ in range(3):
        # Processor time of the child: what other tests do meanwhile is not its own.
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "nascli", "--help"], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times) < 0.5


def test_nothing_dangerous_is_called():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert name not in {
                    "eval",
                    "exec",
                    "pickle.load",
                    "pickle.loads",
                    "yaml.load",
                }, f"{path.relative_to(ROOT)} calls {name}"
                # Without this argument, a file of weights may run any code.
                safe = {"weights_only": "True"}.items() <= {
                    k.arg: ast.unparse(k.value) for k in node.keywords
                }.items()
                assert name != "torch.load" or safe, f"{path.relative_to(ROOT)} calls {name}"
                assert name != "print", f"{path.relative_to(ROOT)} prints"


# Another program's own options, which follow its name.
FOREIGN = re.compile(r"(?:pip install|nvidia-smi|ray start|cpupower|trtexec)(?:\s+-\S+)*")
FOLDERS_OF_COMMANDS = ("commands", "cli.py")


def commands_of(group):
    for command in group.commands.values():
        yield command
        if isinstance(command, click.Group):
            yield from commands_of(command)


def spelled_for_the_terminal():
    """What is spelled like an option of nascli, or like a command of it that somebody types."""
    parameters = [p for command in (main, *commands_of(main)) for p in command.params]
    options = {
        name for p in parameters if isinstance(p, click.Option) for name in (*p.opts, *p.secondary_opts)
    }
    words = sorted({re.escape(name) for name in options if name.startswith("--")}, key=len, reverse=True)
    assert "\\-\\-lock\\-clocks" in words
    names = "|".join(map(re.escape, main.commands))
    return re.compile(rf"(?<![\w-])(?:{'|'.join(words)})(?![\w-])|\bnascli (?:--|(?:{names})\b)")


TERMINAL = spelled_for_the_terminal()


def strings(node):
    """The strings of a module except docstrings; what an f-string inserts stands as {} in its text."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                yield from strings(part.value)
    else:
        for child in ast.iter_child_nodes(node):
            yield from strings(child)


def names_something_to_type(text):
    return TERMINAL.search(FOREIGN.sub("", text)) is not None


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_options_and_commands_are_named_by_the_commands_alone(path):
    """The library says what to do in words and as a `Remedy`; nascli/commands/hints.py says what to type."""
    if path.relative_to(ROOT).parts[0] not in FOLDERS_OF_COMMANDS:
        named = [text for text in strings(ast.parse(path.read_text())) if names_something_to_type(text)]
        assert not named, f"{path.relative_to(ROOT)} names what to type: {named}"


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.j2")), ids=lambda p: p.name)
def test_pages_name_no_commands(path):
    assert not re.search(r"\bnascli (?:--|[a-z])", path.read_text())


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ('hint = "lower --confidence."', True),
        ('hint = f"as in --space {name}"', True),
        ('hint = f"{number}--older-than" if late else f"{\'--store\'}"', True),
        ('hint = "See: nascli lut list"', True),
        ('hint = f"type nascli --use {file}"', True),
        ('def run():\n    """The job of `nascli search --space`."""', False),
        ('hint = "a --confidence-interval, a nascli table"', False),
        (
            'hint = "nvidia-smi --query-supported-clocks=gr --format=csv, or pip install --upgrade nascli"',
            False,
        ),
        ('hint = "nvidia-smi --query-supported-clocks=gr, or --format csv"', True),
    ],
)
def test_the_rule_finds_what_somebody_adds(source, named):
    assert any(map(names_something_to_type, strings(ast.parse(source)))) is named


# What is spelled like an option and is another program's.
FOREIGN_OPTIONS = ("ray start", "--reset-gpu-clocks")
NO_OPTIONS = (
    "api.py",
    "execution.py",
    "pipeline/measure",
    "pipeline/tables",
    "pipeline/inspect",
    "pipeline/train",
    "supernet",
    "report",
)


@pytest.mark.parametrize("place", NO_OPTIONS)
def test_options_are_named_by_the_commands_alone(place):
    for path in FILES:
        if not str(path.relative_to(ROOT)).startswith(place):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                own = not any(program in ast.unparse(node) for program in FOREIGN_OPTIONS)
                assert not (own and re.search(r"(?<![\w-])--[a-z]", node.value)), f"{path}: {node.value!r}"
