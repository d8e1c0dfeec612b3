"""Packs: a table's raw samples in one Parquet file, to hand to a colleague or commit to a project.

One row per sample; the file's metadata says what it is and carries a digest of all rows, so that damage is
found. Nothing in a pack is executed. Format version 3; versions 1, without generations and waits, and 2,
without modes and throttling, are read too.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from nascli.errors import StoreError
from nascli.files import write_atomically
from nascli.lut.keys import Setup, program_key
from nascli.lut.statistics import Sample
from nascli.lut.store import Store
from nascli.spaces.primitives import Program

FORMAT = "nascli-pack"
VERSION = 3
_LARGEST_FILE = 1 << 31
_SCHEMA = pa.schema(
    [
        ("operator", pa.string()),
        ("label", pa.string()),
        ("program", pa.string()),
        ("round", pa.int64()),
        ("anchor", pa.float64()),
        ("seconds", pa.list_(pa.float64())),
        ("taken_at", pa.float64()),
        ("generation", pa.int64()),
        ("waited", pa.float64()),
        ("throttled", pa.bool_()),
    ]
)
_SCHEMAS = {1: pa.schema(list(_SCHEMA)[:-3]), 2: pa.schema(list(_SCHEMA)[:-1]), 3: _SCHEMA}


@dataclass(frozen=True)
class Pack:
    """The samples of one setup.

    Attributes:
        setup: where they were taken.
        facts: what was recorded of the device.
        operators: label and program by key.
        samples: bursts by operator key.
    """

    setup: Setup
    facts: dict[str, str]
    operators: dict[str, tuple[str, Program]]
    samples: dict[str, list[Sample]]

    @property
    def count(self) -> int:
        """Number of samples."""
        return sum(len(rows) for rows in self.samples.values())


def read_store(store: Store, setup: Setup) -> Pack:
    """The pack of a setup as the store has it.

    Raises:
        StoreError: nothing was measured there.
    """
    facts = store.facts(setup)
    samples = store.history(setup)
    if facts is None or not samples:
        raise StoreError(f"nothing was measured for {setup.label}.", "See what there is: nascli lut list")
    operators = store.operators(setup)
    known: dict[str, tuple[str, Program]] = {}
    for key in samples:
        label, program = operators[key]
        if program is None:
            raise StoreError(
                f"{label} of {setup.label} is a fused layer without an operator; such tables are not handed "
                "on as packs.",
                "Hand on the file that it was imported from.",
            )
        known[key] = (label, program)
    return Pack(setup, facts, known, samples)


@dataclass(frozen=True)
class _Columns:
    """A pack's samples as columns, sorted by operator and round."""

    operators: list[str]
    per_operator: list[int]
    numbers: dict[str, npt.NDArray[Any]]
    lengths: npt.NDArray[np.int64]
    seconds: npt.NDArray[np.float64]


def _columns(pack: Pack) -> _Columns:
    keys = sorted(pack.samples)
    rows = [sample for key in keys for sample in sorted(pack.samples[key], key=lambda s: s.round)]
    count = len(rows)
    return _Columns(
        keys,
        [len(pack.samples[key]) for key in keys],
        {
            "round": np.fromiter((s.round for s in rows), np.int64, count),
            "anchor": np.fromiter((s.anchor for s in rows), np.float64, count),
            "taken_at": np.fromiter((s.taken_at for s in rows), np.float64, count),
            "generation": np.fromiter((s.generation for s in rows), np.int64, count),
            "waited": np.fromiter(
                (np.nan if s.waited is None else s.waited for s in rows), np.float64, count
            ),
            "throttled": np.fromiter((s.throttled for s in rows), np.bool_, count),
        },
        np.fromiter((len(s.seconds) for s in rows), np.int64, count),
        np.concatenate([s.seconds for s in rows]) if rows else np.empty(0),
    )


def _table(pack: Pack, columns: _Columns) -> pa.Table:
    repeated = np.repeat(np.arange(len(columns.operators)), columns.per_operator)

    def text(values: list[str]) -> pa.Array:
        # Each operator's text once, and a number per row: a file of many rounds stays small.
        return pa.DictionaryArray.from_arrays(
            pa.array(repeated, pa.int32()), pa.array(values, pa.string())
        ).cast(pa.string())

    numbers = columns.numbers
    offsets = np.concatenate([[0], np.cumsum(columns.lengths)]).astype(np.int32)
    arrays = {
        "operator": text(columns.operators),
        "label": text([pack.operators[key][0] for key in columns.operators]),
        "program": text([pack.operators[key][1].canonical for key in columns.operators]),
        "round": pa.array(numbers["round"]),
        "anchor": pa.array(numbers["anchor"]),
        "seconds": pa.ListArray.from_arrays(pa.array(offsets), pa.array(columns.seconds)),
        "taken_at": pa.array(numbers["taken_at"]),
        "generation": pa.array(numbers["generation"]),
        "waited": pa.array(numbers["waited"], mask=np.isnan(numbers["waited"])),
        "throttled": pa.array(numbers["throttled"]),
    }
    return pa.Table.from_pydict(arrays, schema=_SCHEMA)


def _digest(pack: Pack, version: int = VERSION) -> str:
    if version < 3:
        return _row_digest(pack, version)
    columns = _columns(pack)
    state = hashlib.sha256()
    state.update(json.dumps([pack.setup.to_json(), pack.facts], sort_keys=True).encode())
    for key in columns.operators:
        label, program = pack.operators[key]
        state.update(f"{key}\0{label}\0{program.canonical}\0".encode())
    state.update(np.array(columns.per_operator, dtype="<i8").tobytes())
    for name in sorted(columns.numbers):
        values = columns.numbers[name]
        # One kind of bytes on every machine.
        state.update(values.astype("<f8" if values.dtype.kind == "f" else "<i8").tobytes())
    state.update(columns.lengths.astype("<i8").tobytes() + columns.seconds.astype("<f8").tobytes())
    return state.hexdigest()


def _row_digest(pack: Pack, version: int) -> str:
    """The digest of versions 1 and 2, sample by sample."""
    state = hashlib.sha256()
    setup = pack.setup.to_json()
    del setup["mode"]
    state.update(json.dumps([setup, pack.facts], sort_keys=True).encode())
    for key in sorted(pack.samples):
        label, program = pack.operators[key]
        state.update(f"{key}\0{label}\0{program.canonical}\0".encode())
        for sample in sorted(pack.samples[key], key=lambda s: s.round):
            waited = np.nan if sample.waited is None else sample.waited
            newer = [] if version == 1 else [sample.generation, waited]
            numbers = np.array(
                [sample.round, sample.anchor, sample.taken_at, *newer, *sample.seconds], dtype="<f8"
            )
            state.update(len(numbers).to_bytes(8, "little") + numbers.tobytes())
    return state.hexdigest()


def write_pack(pack: Pack, path: Path) -> None:
    """Write a pack as one step.

    Raises:
        StoreError: the file cannot be written.
    """
    about = {
        "format": FORMAT,
        "version": VERSION,
        "setup": pack.setup.to_json(),
        "facts": pack.facts,
        "digest": _digest(pack),
    }
    table = _table(pack, _columns(pack)).replace_schema_metadata(
        {"nascli": json.dumps(about, sort_keys=True)}
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    try:
        write_atomically(path, sink.getvalue().to_pybytes())
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from error


def read_pack(path: Path) -> Pack:
    """Read a pack and check it through and through.

    Raises:
        StoreError: missing, damaged, impossible values, or written by a newer nascli.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise StoreError(f"{path} is larger than {_LARGEST_FILE} bytes")
        table = pq.read_table(pa.BufferReader(path.read_bytes()))
        about = json.loads((table.schema.metadata or {})[b"nascli"])
        if about["format"] != FORMAT:
            raise StoreError(f"{path} is not a pack")
        if about["version"] not in _SCHEMAS:
            raise StoreError(
                f"{path} is a pack of version {about['version']}; this nascli reads 1 to {VERSION}.",
                "Upgrade nascli: pip install --upgrade nascli",
            )
        pack = _parse(table, about)
        if _digest(pack, about["version"]) != about["digest"]:
            raise StoreError(f"{path} is damaged: its rows do not match its digest.", "Get the file again.")
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
    # A damaged file may fail anywhere inside Parquet's or JSON's readers.
    except Exception as error:
        raise StoreError(f"{path} is damaged or not a pack: {type(error).__name__}: {error}") from error
    return pack


def _parse(table: pa.Table, about: dict[str, Any]) -> Pack:
    if table.schema.remove_metadata() != _SCHEMAS[about["version"]]:
        raise StoreError("its columns are not those of a pack")
    known = {field.name for field in fields(Setup)} - ({"mode"} if about["version"] < 3 else set())
    given = about["setup"]
    if set(given) != known:
        raise StoreError(f"its setup has the fields {sorted(given)}, expected {sorted(known)}")
    setup = Setup(
        device=str(given["device"]),
        runtime=str(given["runtime"]),
        runtime_version=str(given["runtime_version"]),
        precision=str(given["precision"]),
        batch=int(given["batch"]),
        threads=int(given["threads"]),
        mode=str(given.get("mode", "")),
    )
    operators: dict[str, tuple[str, Program]] = {}
    samples: dict[str, list[Sample]] = {}
    columns = {name: table.column(name).combine_chunks() for name in table.column_names}
    seconds = columns["seconds"].values.to_numpy(zero_copy_only=False)
    offsets = columns["seconds"].offsets.to_numpy()
    anchors = columns["anchor"].to_numpy(zero_copy_only=False)
    used = seconds[offsets[0] : offsets[-1]] if len(table) else seconds[:0]
    if np.any(np.diff(offsets) < 1) or not np.all(np.isfinite(used) & (used > 0)) or not np.all(anchors > 0):
        raise StoreError(
            "impossible times: a latency that is not finite and positive, or a burst without runs"
        )
    count = len(table)
    generation = columns["generation"].to_pylist() if "generation" in columns else [0] * count
    waited = columns["waited"].to_pylist() if "waited" in columns else [None] * count
    throttled = columns["throttled"].to_pylist() if "throttled" in columns else [False] * count
    keys, labels = columns["operator"].to_pylist(), columns["label"].to_pylist()
    programs = columns["program"].to_pylist()
    rounds, taken_at = columns["round"].to_pylist(), columns["taken_at"].to_pylist()
    for index in range(count):
        key = keys[index]
        if key not in operators:
            program = Program.from_canonical(programs[index])
            if program_key(program) != key:
                raise StoreError(f"operator {key} does not match its program")
            operators[key] = (str(labels[index]), program)
            samples[key] = []
        samples[key].append(
            Sample(
                rounds[index],
                seconds[offsets[index] : offsets[index + 1]],
                float(anchors[index]),
                taken_at[index],
                generation[index],
                waited[index],
                throttled[index],
            )
        )
    facts = {str(k): str(v) for k, v in about["facts"].items()}
    return Pack(setup, facts, operators, samples)


def import_pack(pack: Pack, store: Store) -> int:
    """Add a pack's samples to a store; returns how many were new. Run again, it adds nothing."""
    store.add_setup(pack.setup, pack.facts)
    store.add_programs(pack.operators.values())
    return store.add_samples(pack.setup, pack.samples)


def merge(packs: list[Pack]) -> Pack:
    """Several packs of one setup as one.

    Raises:
        StoreError: setups that differ, naming the field and both values.
    """
    if not packs:
        raise StoreError("nothing to merge")
    first = packs[0]
    operators: dict[str, tuple[str, Program]] = {}
    samples: dict[str, dict[int, Sample]] = {}
    for pack in packs:
        differences = first.setup.differences(pack.setup)
        if differences:
            raise StoreError(
                f"packs of different setups do not mix: {'; '.join(differences)}.",
                "Import them into a store instead, where each setup keeps its own table.",
            )
        operators |= pack.operators
        for key, rows in pack.samples.items():
            taken = samples.setdefault(key, {})
            for sample in rows:
                taken.setdefault(sample.round, sample)
    return Pack(
        first.setup, first.facts, operators, {key: list(rows.values()) for key, rows in samples.items()}
    )


def describe(pack: Pack) -> dict[str, Any]:
    """What a pack is, as a document."""
    return {
        "setup": asdict(pack.setup),
        "facts": pack.facts,
        "operators": len(pack.operators),
        "samples": pack.count,
    }
