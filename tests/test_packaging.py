"""The wheel in an environment that has nothing but what it declares."""

import importlib.metadata
import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import nascli

ROOT = Path(__file__).parent.parent


def built(folder, kind):
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (file,) = folder.iterdir()
    return file


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return built(tmp_path_factory.mktemp("wheel"), "wheel")


def declared(*extras):
    """The names of all distributions that nascli needs with these extras, and that those need."""
    found, waiting = {}, [("nascli", frozenset(extras))]
    while waiting:
        name, wanted = waiting.pop()
        for text in importlib.metadata.requires(name) or []:
            need = Requirement(text)
            environments = [{"extra": extra} for extra in wanted] or [{"extra": ""}]
            if need.marker is not None and not any(need.marker.evaluate(e) for e in environments):
                continue
            key = re.sub(r"[-_.]+", "-", need.name).lower()
            if key not in found:
                found[key] = need
                waiting.append((need.name, frozenset(need.extras)))
    return set(found)


def environment(folder, wheel, *extras):
    """A venv with the wheel, and links to the declared distributions only."""
    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for name in declared(*extras):
        distribution = importlib.metadata.distribution(name)
        for top in {
            file.parts[0] for file in distribution.files or [] if file.parts[0] not in ("..", "__pycache__")
        }:
            link, target = site / top, Path(str(distribution.locate_file(top)))
            if target.exists() and not link.exists():
                link.symlink_to(target)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return folder / "bin" / "python"


def ran(python, *words, home, expect=0):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [str(python), "-m", "nascli", *words], capture_output=True, text=True, timeout=240, cwd=home,
        env={**clean, "NASCLI_HOME": str(home)},
    )  # fmt: skip
    assert done.returncode == expect, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"nascli", f"nascli-{nascli.__version__}.dist-info"}
    for needed in ("nascli/py.typed", "nascli/report/base.html.j2", "nascli/profiles/devices/titanxp.toml",
                   "nascli/costmodel/roofline/efficiency.npz"):  # fmt: skip
        assert needed in names
    inside = {
        str(p.relative_to(ROOT))
        for p in (ROOT / "nascli").rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }
    assert inside == {name for name in names if name.startswith("nascli/")}


def test_the_source_distribution_can_test_itself(tmp_path):
    with tarfile.open(built(tmp_path, "sdist")) as archive:
        names = archive.getnames()
    inside = {"/".join(name.split("/")[1:]) for name in names}
    assert {"pyproject.toml", "README.md", "LICENSE", "tests/test_packaging.py", "docs/tutorial.md",
            "examples/my_space.py", "benchmarks/profiling.py"} <= inside  # fmt: skip
    assert not any(name.startswith((".venv", "runs", "benchmarks/results")) for name in inside)


def test_the_core_alone_counts_and_reads_tables(wheel, tmp_path):
    python = environment(tmp_path / "env", wheel)
    assert nascli.__version__ in ran(python, "--version", home=tmp_path)
    assert "pip install 'nascli[cpu]'" in re.sub(r"\s+", " ", ran(python, "doctor", "--json", home=tmp_path))
    assert "300,774,272" in ran(python, "count", "mobilenetv2", home=tmp_path)
    text = ran(python, "profile", "--space", "proxyless-mini:resolution=8", home=tmp_path, expect=1)
    assert "pip install 'nascli[cpu]'" in text


def test_with_onnxruntime_it_measures_and_predicts_without_torch(wheel, tmp_path):
    python = environment(tmp_path / "env", wheel, "cpu")
    probe = "import importlib.util as u; print(u.find_spec('torch'), u.find_spec('onnxruntime') is not None)"
    done = subprocess.run([str(python), "-c", probe], capture_output=True, text=True, check=True, env={})
    assert done.stdout.split() == ["None", "True"]
    space = "proxyless-mini:resolution=8,width=0.25,depth=1"
    ran(python, "profile", "--space", space, "--batch", "2", home=tmp_path)
    assert "ort-cpu" in ran(python, "lut", "list", home=tmp_path)
    ran(python, "lut", "export", "--batch", "2", "--out", "p.parquet", home=tmp_path)
    text = ran(python, "search", "--space", space, "--constraint", "latency=50ms", home=tmp_path, expect=1)
    assert "pip install 'nascli[search]'" in text
