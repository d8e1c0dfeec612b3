"""Tables of other tools, by format. Each reader is one file of this folder and returns operators with seconds.

A row with an impossible value ends the import with an error that names it. A row that the format itself marks as
failed, or whose operator nascli has no primitives for, is left out and counted.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from nascli.errors import Remedy, StoreError, UnknownNameError
from nascli.lut.exchange.foreign.rows import ForeignTable
from nascli.lut.keys import Setup, program_key
from nascli.lut.statistics import Sample
from nascli.lut.store.store import Store
from nascli.plugins import load_members

_MAX_FILE_BYTES = 1 << 28
# Rounds that each file has for the rows of one operator.
_ROUNDS_PER_FILE = 1024
Reader = Callable[[bytes], ForeignTable]


@cache
def foreign_formats() -> dict[str, Reader]:
    """The readers of all formats, by name. A file beside this one lists its own in ``FORMATS``."""
    readers: dict[str, Reader] = {}
    for module in load_members("nascli.lut.exchange.foreign").values():
        readers |= getattr(module, "FORMATS", {})
    return readers


def read_foreign(path: Path, form: str) -> ForeignTable:
    """Read a table in another tool's format.

    Args:
        path: The file.
        form: A name out of `foreign_formats`.

    Raises:
        UnknownNameError: There is no format with this name.
        StoreError: The file cannot be read, is damaged, has no usable row, or has an impossible value; the error
            names the row.
    """
    formats = foreign_formats()
    if form not in formats:
        raise UnknownNameError("format", form, ["pack", *formats])
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise StoreError(f"{path} is larger than {_MAX_FILE_BYTES} bytes")
        table = formats[form](path.read_bytes())
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
    except StoreError as error:
        raise StoreError(f"{path}: {error.message}", error.hint, *error.remedies) from error
    # A file of unknown origin may make a reader fail in any way; nothing was imported by then.
    except Exception as error:
        raise StoreError(f"{path} is not a {form} table: {type(error).__name__}: {error}") from error
    if not table.rows:
        raise StoreError(f"{path} has no {form} row that can be used", table.summary or None)
    for row in table.rows:
        if not (math.isfinite(row.seconds) and row.seconds > 0):
            raise StoreError(f"{path}: {row.label} takes {row.seconds} s; a latency is finite and above 0")
    return table


def import_foreign(
    tables: Sequence[tuple[Path, ForeignTable]], setup: Setup, form: str, store: Store
) -> list[dict[str, Any]]:
    """Add tables of one device and batch to a store. Each file is one repetition, and all repetitions are kept.

    Args:
        tables: Each file with its contents.
        setup: The setup that the figures belong to.
        form: The name of the format, which is recorded.
        store: The store that is written.

    Returns:
        One JSON document for each file: the number of its operators and samples, the number of samples that are
        new, and what was left out.

    Raises:
        StoreError: A file is of another batch, or the store has measurements of its own in this setup.
    """
    for path, table in tables:
        if table.batch is not None and table.batch != setup.batch:
            raise StoreError(f"{path} was measured at batch {table.batch}, not {setup.batch}.")
    facts = store.facts(setup)
    if facts is not None and facts.get("origin") != "imported":
        raise StoreError(
            f"the store has figures of its own for {setup.label}; imported ones do not mix with them.",
            "Name another runtime for the imported table.",
            Remedy(arguments={"runtime": None}),
        )
    store.add_setup(setup, {"origin": "imported", "format": form})
    documents = []
    for path, table in tables:
        digest = hashlib.sha256(path.read_bytes()).digest()
        # The repetition's number is taken from the file's digest, so that the same file again adds nothing.
        repetition = int.from_bytes(digest[:5], "big")
        samples: dict[str, list[Sample]] = {}
        for row in table.rows:
            key = program_key(row.program) if row.program is not None else row.key
            rows_of_key = samples.setdefault(key, [])
            round_ = repetition * _ROUNDS_PER_FILE + len(rows_of_key)
            rows_of_key.append(Sample(round_, np.array([row.seconds]), 1.0, 0.0))
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
