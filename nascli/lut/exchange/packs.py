"""Packs: the raw samples of one setup in one Parquet file, to be handed to a colleague or committed to a project.

A pack has one row per sample. Its metadata contain the format, the setup, and a digest of all rows, by which damage
is found. Nothing in a pack is executed. Packs are written in version 3. Versions 1 (without generations and waiting
times) and 2 (without modes and throttling) can be read too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from nascli.errors import Remedy, StoreError
from nascli.files import write_atomically
from nascli.lut.keys import Setup, program_key
from nascli.lut.statistics import Sample
from nascli.lut.store.columns import SampleColumns
from nascli.lut.store.store import Store
from nascli.spaces.programs import Program

FORMAT = "nascli-pack"
VERSION = 3
_MAX_FILE_BYTES = 1 << 31
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
        setup: The setup in which they were taken.
        facts: What was recorded about its device.
        operators: Label and canonical program text by operator key.
        columns: The samples.
    """

    setup: Setup
    facts: dict[str, str]
    operators: dict[str, tuple[str, str]]
    columns: SampleColumns

    @property
    def count(self) -> int:
        """Number of samples."""
        return len(self.columns)

    @cached_property
    def samples(self) -> dict[str, list[Sample]]:
        """The samples by operator key."""
        return self.columns.samples()


def read_store(store: Store, setup: Setup) -> Pack:
    """Make a pack of a setup's samples in a store.

    Raises:
        StoreError: The store has no samples of the setup, or an operator of it has no program.
    """
    facts = store.facts(setup)
    columns = store.columns(setup)
    if facts is None or not len(columns):
        raise StoreError(
            f"nothing was measured for {setup.label}.", "See what there is.", Remedy(job="list_tables")
        )
    texts = store.texts(setup)
    for label, text in texts.values():
        if not text:
            raise StoreError(
                f"{label} of {setup.label} is a fused layer without a program; packs need the program of every row.",
                "Share the file that the table was imported from.",
            )
    return Pack(setup, facts, texts, columns)


def _table(pack: Pack) -> pa.Table:
    columns = pack.columns

    def text(values: list[str]) -> pa.Array:
        # Each operator's text once, and a number for each row, so that a pack of many rounds stays small.
        return pa.DictionaryArray.from_arrays(
            pa.array(columns.owner, pa.int32()), pa.array(values, pa.string())
        ).cast(pa.string())

    arrays = {
        "operator": text(columns.operators),
        "label": text([pack.operators[key][0] for key in columns.operators]),
        "program": text([pack.operators[key][1] for key in columns.operators]),
        "round": pa.array(columns.round),
        "anchor": pa.array(columns.anchor),
        "seconds": pa.ListArray.from_arrays(
            pa.array(columns.ends.astype(np.int32)), pa.array(columns.seconds)
        ),
        "taken_at": pa.array(columns.taken_at),
        "generation": pa.array(columns.generation),
        "waited": pa.array(columns.waited, mask=np.isnan(columns.waited)),
        "throttled": pa.array(columns.throttled),
    }
    return pa.Table.from_pydict(arrays, schema=_SCHEMA)


def _digest(pack: Pack, version: int = VERSION) -> str:
    if version < 3:
        return _row_digest(pack, version)
    columns = pack.columns
    state = hashlib.sha256()
    state.update(json.dumps([pack.setup.to_json(), pack.facts], sort_keys=True).encode())
    for key in columns.operators:
        label, text = pack.operators[key]
        state.update(f"{key}\0{label}\0{text}\0".encode())
    state.update(np.bincount(columns.owner, minlength=len(columns.operators)).astype("<i8").tobytes())
    for name in ("anchor", "generation", "round", "taken_at", "throttled", "waited"):
        values = getattr(columns, name)
        # The same bytes on every machine.
        state.update(values.astype("<f8" if values.dtype.kind == "f" else "<i8").tobytes())
    state.update(columns.lengths.astype("<i8").tobytes() + columns.seconds.astype("<f8").tobytes())
    return state.hexdigest()


def _row_digest(pack: Pack, version: int) -> str:
    """Compute the digest of versions 1 and 2, sample by sample."""
    state = hashlib.sha256()
    setup = pack.setup.to_json()
    del setup["mode"]
    state.update(json.dumps([setup, pack.facts], sort_keys=True).encode())
    for key in sorted(pack.samples):
        label, text = pack.operators[key]
        state.update(f"{key}\0{label}\0{text}\0".encode())
        for sample in sorted(pack.samples[key], key=lambda s: s.round):
            waited = np.nan if sample.waited is None else sample.waited
            newer = [] if version == 1 else [sample.generation, waited]
            numbers = np.array(
                [sample.round, sample.anchor, sample.taken_at, *newer, *sample.seconds], dtype="<f8"
            )
            state.update(len(numbers).to_bytes(8, "little") + numbers.tobytes())
    return state.hexdigest()


def write_pack(pack: Pack, path: Path) -> None:
    """Write a pack; a file that exists is replaced at once, or not at all.

    Raises:
        StoreError: The file cannot be written.
    """
    about = {
        "format": FORMAT,
        "version": VERSION,
        "setup": pack.setup.to_json(),
        "facts": pack.facts,
        "digest": _digest(pack),
    }
    table = _table(pack).replace_schema_metadata({"nascli": json.dumps(about, sort_keys=True)})
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd")
    try:
        write_atomically(path, buffer.getvalue().to_pybytes())
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from error


def read_pack(path: Path) -> Pack:
    """Read a pack, and check its digest, its programs, and its values.

    Raises:
        StoreError: The file is missing, is not a pack, is damaged, was written by a newer nascli, or has
            impossible values.
    """
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise StoreError(f"{path} is larger than {_MAX_FILE_BYTES} bytes")
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
    columns = {name: table.column(name).combine_chunks() for name in table.column_names}
    count = len(table)
    encoded = columns["operator"].dictionary_encode()
    keys = encoded.dictionary.to_pylist()
    key_of_row = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    rank = np.argsort(np.argsort(np.array(keys, dtype=object))) if keys else np.empty(0, dtype=np.int64)
    _, first_row = np.unique(key_of_row, return_index=True)
    operators: dict[str, tuple[str, str]] = {}
    labels, texts = (columns[name].take(pa.array(first_row)).to_pylist() for name in ("label", "program"))
    for key, label, text in zip(keys, labels, texts, strict=True):
        # Parsed and written again: a text may be another spelling of the same program, or not a program.
        program = Program.from_canonical(text)
        if program_key(program) != key:
            raise StoreError(f"operator {key} does not match its program")
        operators[key] = (str(label), program.canonical)
    offsets = columns["seconds"].offsets.to_numpy().astype(np.int64)
    seconds = columns["seconds"].values.to_numpy(zero_copy_only=False)

    def numbers(name: str, missing: Any) -> npt.NDArray[Any]:
        if name not in columns:
            return np.full(count, missing)
        return columns[name].to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]

    samples = SampleColumns(
        operators=sorted(keys),
        owner=rank[key_of_row].astype(np.int64),
        round=numbers("round", 0).astype(np.int64),
        anchor=numbers("anchor", 1.0).astype(float),
        taken_at=numbers("taken_at", 0.0).astype(float),
        generation=numbers("generation", 0).astype(np.int64),
        waited=numbers("waited", np.nan).astype(float),
        throttled=numbers("throttled", False).astype(bool),
        lengths=np.diff(offsets),
        seconds=seconds[offsets[0] : offsets[-1]].astype(float) if count else np.empty(0),
    ).sorted()
    samples.check()
    facts = {str(name): str(value) for name, value in about["facts"].items()}
    return Pack(setup, facts, operators, samples)


def import_pack(pack: Pack, store: Store) -> int:
    """Add those samples of a pack that a store lacks.

    Returns:
        The number of samples that are new; 0 if the pack was imported before.

    Raises:
        StoreError: The store cannot be written.
    """
    store.add_setup(pack.setup, pack.facts)
    store.add_texts(pack.operators)
    total = 0
    while True:
        known = store.columns(pack.setup)
        new = SampleColumns.of(new_samples(known.samples(), pack.samples)) if len(known) else pack.columns
        if not len(new):
            return total
        added = store.add_columns(pack.setup, new)
        total += added
        if added == len(new):
            return total
        # Another process has used some of these rounds meanwhile, so their samples get others.


def combine_packs(packs: list[Pack]) -> Pack:
    """Combine several packs of one setup into one.

    Raises:
        StoreError: There is no pack, or the setups differ; the error names the fields and both values.
    """
    if not packs:
        raise StoreError("there is nothing to merge.")
    first = packs[0]
    operators: dict[str, tuple[str, str]] = {}
    samples: dict[str, list[Sample]] = {}
    for pack in packs:
        differences = first.setup.differences(pack.setup)
        if differences:
            raise StoreError(
                f"packs of different setups do not mix: {'; '.join(differences)}.",
                "Import them into a store instead, where each setup keeps its own table.",
            )
        operators |= pack.operators
        for key, rows in new_samples(samples, pack.samples).items():
            samples.setdefault(key, []).extend(rows)
    return Pack(first.setup, first.facts, operators, SampleColumns.of(samples))


def describe(pack: Pack) -> dict[str, Any]:
    """Return setup, facts, and the numbers of operators and samples of a pack as a JSON document."""
    return {
        "setup": asdict(pack.setup),
        "facts": pack.facts,
        "operators": len(pack.operators),
        "samples": pack.count,
    }


Samples = Mapping[str, Sequence[Sample]]


def new_samples(known: Samples, offered: Samples) -> dict[str, list[Sample]]:
    """Return the samples of `offered` that are not among `known`, by operator key.

    Two samples are the same if they were taken at the same time and have the same values, whatever their rounds. A
    new sample whose round is used already gets the next free one, so that no store's samples replace another's.
    """
    new: dict[str, list[Sample]] = {}
    for key, samples in offered.items():
        by_round = {sample.round: _content(sample) for sample in known.get(key, ())}
        contents = set(by_round.values())
        next_round = 1 + max([*by_round, *(sample.round for sample in samples)], default=-1)
        for sample in samples:
            content = _content(sample)
            is_used = sample.round in by_round
            # Figures of other tools carry no time, and may well repeat themselves in another round.
            if content in contents and (is_used or sample.taken_at > 0):
                continue
            if is_used:
                sample, next_round = replace(sample, round=next_round), next_round + 1
            new.setdefault(key, []).append(sample)
    return new


def _content(sample: Sample) -> tuple[float, float, bytes]:
    return sample.taken_at, sample.anchor, sample.seconds.tobytes()
