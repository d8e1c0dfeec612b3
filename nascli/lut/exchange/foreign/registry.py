"""Tables of other tools: each format is one file here, and gives rows of operators with seconds.

A row that means something impossible stops the import and names itself; a row that the format itself marks as
failed, or an operator that nascli has no primitives for, is left out and counted aloud.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nascli.errors import StoreError, UnknownNameError
from nascli.lut.exchange.foreign import (
    csv_tables,
    fbnet,
    hw_nas_bench,
    pickled_lists,
    tinynas,
    trtexec,
    yaml_tables,
)
from nascli.lut.exchange.foreign.rows import ForeignRow, ForeignTable
from nascli.lut.keys import Setup, program_key
from nascli.lut.statistics import Sample
from nascli.lut.store.store import Store

_LARGEST_FILE = 1 << 28
Reader = Callable[[bytes], ForeignTable]
FORMATS: dict[str, Reader] = {
    "proxylessnas": yaml_tables.read_proxylessnas,
    "ofa": yaml_tables.read_ofa,
    "nse": pickled_lists.read,
    "tinynas": tinynas.read,
    "fbnet": fbnet.read,
    "hw-nas-bench": hw_nas_bench.read,
    "trtexec": trtexec.read,
    "csv": csv_tables.read,
}


def read_foreign(path: Path, form: str) -> ForeignTable:
    """Read a table in another tool's format.

    Raises:
        UnknownNameError: a format that nobody knows.
        StoreError: unreadable, damaged, or with impossible values; naming the row.
    """
    if form not in FORMATS:
        raise UnknownNameError("format", form, ["pack", *FORMATS])
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise StoreError(f"{path} is larger than {_LARGEST_FILE} bytes")
        found = FORMATS[form](path.read_bytes())
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
    except StoreError as error:
        raise StoreError(f"{path}: {error.message}", error.hint) from error
    # Files from elsewhere may break any reader in any way; whatever it says, nothing was imported.
    except Exception as error:
        raise StoreError(f"{path} is no {form} table: {type(error).__name__}: {error}") from error
    if not found.rows:
        raise StoreError(f"{path} holds no {form} row that can be used", found.summary or None)
    for row in found.rows:
        if not (math.isfinite(row.seconds) and row.seconds > 0):
            raise StoreError(f"{path}: {row.label} takes {row.seconds} s; a latency is finite and above 0")
    return found


def import_foreign(
    tables: Sequence[tuple[Path, ForeignTable]], setup: Setup, form: str, store: Store
) -> list[dict[str, Any]]:
    """Add tables of one device and batch to a store; each file is one repeat, and all repeats are kept.

    Returns:
        a document per file: its samples, how many were new, and what was left out.

    Raises:
        StoreError: a file of another batch, or figures of a different origin already in that table.
    """
    for path, table in tables:
        if table.batch is not None and table.batch != setup.batch:
            raise StoreError(f"{path} was measured at batch {table.batch}, not {setup.batch}.")
    known = {s: facts for s, facts, _ in store.setups()}.get(setup)
    if known is not None and known.get("origin") != "imported":
        raise StoreError(
            f"the store has figures of its own for {setup.label}; imported ones do not mix with them.",
            "Name another --runtime for the imported table.",
        )
    store.add_setup(setup, {"origin": "imported", "format": form})
    documents = []
    for path, table in tables:
        digest = hashlib.sha256(path.read_bytes()).digest()
        # The file's digest is the repeat's number: the same file again adds nothing, another one does.
        repeat = int.from_bytes(digest[:5], "big")
        samples: dict[str, list[Sample]] = {}
        taken: dict[str, int] = {}
        for row in table.rows:
            key = program_key(row.program) if row.program is not None else row.key
            number = taken[key] = taken.get(key, -1) + 1
            sample = Sample(repeat * 1024 + number, np.array([row.seconds]), 1.0, 0.0)
            samples.setdefault(key, []).append(sample)
        store.add_programs([(row.label, row.program) for row in table.rows if row.program is not None])
        store.add_named({row.key: row.label for row in table.rows if row.program is None})
        new = store.add_samples(setup, samples)
        documents.append(
            {
                "file": str(path),
                "operators": len(samples),
                "samples": len(table.rows),
                "new": new,
                "left_out": table.summary,
            }
        )
    return documents


__all__ = ["FORMATS", "ForeignRow", "ForeignTable", "import_foreign", "read_foreign"]
