"""Networks that another tool measures: their models, and a CSV form that takes the latencies.

For a device on which nascli does not run, such as a phone: the ONNX models are carried there, whatever measures
models there measures them, and the form brings the figures back.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nascli.errors import NascliError, Remedy, StoreError
from nascli.files import write_atomically
from nascli.profiles.onnx.graphs import onnx_bytes
from nascli.spaces.architecture import Architecture
from nascli.spaces.space import Space

FORM = "measurements.csv"
_UNITS = {"seconds": 1.0, "ms": 1e-3, "us": 1e-6}
_LARGEST_FILE = 1 << 24


def write_form(space: Space, rows: Sequence[Sequence[int]], folder: Path, batch: int) -> list[Path]:
    """Write architectures of a space as files and ONNX models, and a form for their latencies.

    Args:
        space: What the rows belong to.
        rows: The choices of each architecture.
        folder: Where the files are written; made if need be.
        batch: Batch size of the models, whose weights are random.

    Returns:
        the files: `NN.architecture.json` and `NN.onnx` of each architecture, and last the form, `measurements.csv`,
        with the columns network, codes, and an empty ms.

    Raises:
        StoreError: The folder has a form already, which may be filled in, or it cannot be written.
    """
    form = folder / FORM
    if form.exists():
        raise StoreError(f"{form} exists; it may hold figures.", "Name another folder.")
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["network", "codes", "ms"])
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, row in enumerate(rows, 1):
            name = f"{number:02d}"
            architecture = Architecture.of(space, np.array([row]), name)
            files = [folder / f"{name}.architecture.json", folder / f"{name}.onnx"]
            architecture.save(files[0])
            write_atomically(files[1], onnx_bytes(architecture.network.program, batch))
            lines.writerow([f"{name}.onnx", " ".join(map(str, architecture.choices)), ""])
            written += files
        # Last: a folder with a form is complete.
        write_atomically(form, text.getvalue().encode())
    except OSError as error:
        raise StoreError(f"cannot write {folder}: {error.strerror}.", "Name another folder.") from error
    return [*written, form]


def read_form(space: Space, path: Path) -> dict[tuple[int, ...], float]:
    """Latencies of whole networks from a CSV file.

    Args:
        space: What the architectures belong to.
        path: A file with a column codes (the architecture's integers, separated by spaces) and one column named
            seconds, ms, or us. Lines without a latency are skipped; of an architecture with several lines the
            median counts.

    Returns:
        seconds by the choices of each architecture.

    Raises:
        StoreError: The file cannot be read, lacks a column, or has a line that is no measurement, by number.
    """
    found: dict[tuple[int, ...], list[float]] = {}
    reader = csv.DictReader(io.StringIO(_text(path)))
    columns = reader.fieldnames or []
    units = [unit for unit in _UNITS if unit in columns]
    if "codes" not in columns or len(units) != 1:
        raise StoreError(
            f"{path} needs a column codes and exactly one column named seconds, ms, or us; found: "
            f"{', '.join(columns) or 'no columns'}.",
            "Have such a form written.",
            Remedy(job="transfer", arguments={"write_networks": "FOLDER"}),
        )
    try:
        for row in reader:
            if not (row[units[0]] or "").strip():
                continue
            seconds = float(row[units[0]]) * _UNITS[units[0]]
            if not 0 < seconds < float("inf"):
                raise ValueError(f"a latency must be finite and above 0, got {row[units[0]]}")
            codes = [int(code) for code in (row["codes"] or "").split()]
            found.setdefault(tuple(space.check(np.array([codes], dtype=np.int64))[0].tolist()), []).append(
                seconds
            )
    except (NascliError, ValueError, OverflowError, csv.Error) as error:
        raise StoreError(f"{path}, line {reader.line_num}: {error}") from error
    return {codes: float(np.median(values)) for codes, values in found.items()}


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise StoreError(f"{path} is larger than {_LARGEST_FILE} bytes")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise StoreError(f"{path} is no text: {error}") from error
