"""Every benchmark runs as a smoke test, and committed results say what they must."""

import json
import re
from pathlib import Path

import pytest
from preloaded import Python

ROOT = Path(__file__).parents[1]
NAMES = sorted(path.stem for path in (ROOT / "benchmarks").glob("[a-z]*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_smoke(name):
    done = Python(f"benchmarks.{name}", "--quick", cwd=ROOT, quick_measuring=True).finish(timeout=300)
    assert done.returncode == 0, done.stderr
    assert "| target | measured | wanted | met |" in done.stdout


@pytest.mark.parametrize(
    "path", sorted((ROOT / "benchmarks" / "results").glob("*.json")), ids=lambda p: p.stem
)
def test_committed_results(path):
    document = json.loads(path.read_text())
    assert path.stem in NAMES and path.with_suffix(".md").exists()
    for key in ("command", "date", "cpu", "cores", "versions", "targets", "rows", "notes"):
        assert document[key]
    for target in document["targets"]:
        assert set(target) == {"name", "value", "target", "met"}
    assert not re.search(r"(?<![\w.])/[a-z]+/[a-z]", path.read_text()), "no absolute paths in results"
