"""What all benchmarks share: arguments, environment, and how results are written."""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Target:
    """A figure to reach: `at_least` or `at_most` the target."""

    name: str
    value: float
    target: float
    at_least: bool

    def document(self) -> dict[str, Any]:
        met = self.value >= self.target if self.at_least else self.value <= self.target
        return {"name": self.name, "value": self.value, "target": self.target, "met": bool(met)}


def parse_arguments(description: str, **sizes: int) -> argparse.Namespace:
    """`--quick`, and an option for each size that a study lets one choose, with its default."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a smoke test: small sizes, few repeats")
    for name, value in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=value, help=f"default: {value}")
    return parser.parse_args()


def repeated(function: Callable[[], Any], repeats: int) -> list[float]:
    """Seconds of each of several runs, after one that does not count."""
    function()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        taken.append(time.perf_counter() - start)
    return taken


def spread(values: Sequence[float]) -> str:
    """Median [minimum, maximum] with three digits."""
    return f"{statistics.median(values):.3g} [{min(values):.3g}, {max(values):.3g}]"


def environment() -> dict[str, Any]:
    from nascli.profiles.devices.device import this_cpu

    cpu = this_cpu()
    packages = ("nascli", "numpy", "scipy", "onnxruntime", "torch")
    versions = {"python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"cpu": cpu.title, "cores": cpu.cores, "versions": versions}


def write(
    name: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    targets: Sequence[Target],
    notes: str,
    quick: bool,
    pictures: Mapping[str, str] | None = None,
    points: Mapping[str, Any] | None = None,
) -> None:
    """Print the table; write it as .json and .md, unless this is only a smoke test.

    `pictures` are SVG files by name, shown in the .md; `points` is what they were drawn from, kept in the .json.
    """
    documents = [target.document() for target in targets]
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    lines += ["", "| target | measured | wanted | met |", "|---|---|---|---|"]
    for target, document in zip(targets, documents, strict=True):
        sign = ">=" if target.at_least else "<="
        met = "yes" if document["met"] else "no"
        lines.append(f"| {target.name} | {target.value:.4g} | {sign} {target.target:g} | {met} |")
    sys.stdout.write("\n".join(lines) + "\n")
    if quick:
        return
    about = {
        "name": name,
        "command": " ".join([f"python -m benchmarks.{name}", *sys.argv[1:]]),
        "date": datetime.date.today().isoformat(),
        **environment(),
    }
    RESULTS.mkdir(exist_ok=True)
    document = {
        **about,
        "columns": list(columns),
        "rows": [list(r) for r in rows],
        "targets": documents,
        "notes": notes,
    }
    if points:
        document["points"] = points
    for picture, drawing in (pictures or {}).items():
        (RESULTS / f"{name}-{picture}.svg").write_text(drawing)
        lines += ["", f"![{picture}]({name}-{picture}.svg)"]
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")
    versions = ", ".join(f"{k} {v}" for k, v in about["versions"].items())
    head = [
        f"# {name}",
        "",
        f"`{about['command']}`, {about['date']}, {about['cpu']}, {about['cores']} cores; {versions}.",
        "",
        notes.strip(),
        "",
    ]
    (RESULTS / f"{name}.md").write_text("\n".join([*head, *lines]) + "\n")
