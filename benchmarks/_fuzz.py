"""Feeding parsers with near misses and damaged files."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nascli.costmodel.constraints import intersect, parse_constraint
from nascli.errors import NascliError
from nascli.lut import LatencyTable, Sample, Setup, Store, program_key
from nascli.lut.columns import SampleColumns
from nascli.lut.foreign import read_foreign
from nascli.lut.packs import Pack, read_pack, write_pack
from nascli.pipeline.remote import read_plan, write_plan
from nascli.spaces import Architecture, load_space
from nascli.spaces.catalog import load_any
from nascli.spaces.library import mbconv
from nascli.spaces.operators import Operator
from nascli.spaces.primitives import Program
from nascli.units import parse_quantity

LIMIT_SECONDS = 5.0
SPACE = "proxyless-mini:resolution=8,width=0.25,depth=1"
Make = Callable[[random.Random, Path], Callable[[], object]]


@dataclass
class Result:
    tried: int = 0
    refused: int = 0
    failures: int = 0
    slowest: float = 0.0
    first: str = ""


WORDS = (
    "latency", "macs", "params", "memory", "bitops", "<=", "<", "=", ">=", "8", "8ms", "1e999", "-1", "0", "nan", "inf", "ms", "us",
    "G", "M", "k", "%", "@", "titanxp", " ", ":", ",", "=", "99999999999999999999999", "1e-999", "\x00", "\x1b[31m", "<script>",
    "../..", "é", "𝟠ms", "proxyless-mini", "resolution", "width", "nse-27-mini", "nss-elite", "ranges", "1to2x1to8", ".", "-",
    "branches", "classes", "inherited", "cells", "!!python/object", "__import__", "{", "}", "[", "]", '"', "'", "\n", "٣",
)  # fmt: skip


def near_miss(rng: random.Random) -> str:
    return "".join(rng.choice(WORDS) for _ in range(rng.randint(0, 9)))


def damaged(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        kind, at = rng.randint(0, 5), rng.randrange(max(1, len(out)))
        if kind == 0 and out:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del out[at : at + rng.randint(1, 200)]
        elif kind == 2:
            out[at:at] = out[at : at + rng.randint(1, 100)]
        elif kind == 3:
            out[at:at] = rng.randbytes(rng.randint(1, 40))
        elif kind == 4:
            out[at : at + 8] = b"\xff" * 8
        else:
            del out[at:]
    return bytes(out)


def mangled(document: object, rng: random.Random, depth: int = 0) -> object:
    """A JSON document with one or a few places replaced by something else."""
    odd = [
        None,
        -1,
        0,
        2**80,
        1e308,
        "",
        "x" * 2000,
        [],
        {},
        True,
        "<script>",
        [[[[[[]]]]]],
        "../../etc/passwd",
        float("nan"),
    ]
    if rng.random() < 0.12 or depth > 6:
        return rng.choice(odd)
    if isinstance(document, dict):
        found = {k: mangled(v, rng, depth + 1) if rng.random() < 0.4 else v for k, v in document.items()}
        if found and rng.random() < 0.15:
            found.pop(rng.choice(list(found)))
        if rng.random() < 0.1:
            found["extra"] = rng.choice(odd)
        return found
    if isinstance(document, list) and document:
        found_list = [mangled(v, rng, depth + 1) if rng.random() < 0.2 else v for v in document[:50]]
        return found_list if rng.random() < 0.9 else found_list[: len(found_list) // 2]
    return rng.choice(odd) if rng.random() < 0.3 else document


def _deep(rng: random.Random) -> bytes:
    return (b"[" if rng.random() < 0.5 else b'{"a":') * rng.choice([10, 1000, 100_000])


def _file(valid: Callable[[Path], Path], read: Callable[[Path], object], *, is_json: bool) -> Make:
    kept: dict[Path, bytes] = {}

    def make(rng: random.Random, folder: Path) -> Callable[[], object]:
        if folder not in kept:
            kept[folder] = valid(folder).read_bytes()
        data = kept[folder]
        if rng.random() < 0.01:
            changed = _deep(rng)
        elif is_json and rng.random() < 0.6:
            changed = json.dumps(mangled(json.loads(data), rng)).encode()
        else:
            changed = damaged(data, rng)
        path = folder / f"input{valid(folder).suffix}"
        for old in folder.glob("input*"):
            old.unlink()
        path.write_bytes(changed)
        return lambda: read(path)

    return make


def _once(write: Callable[[Path], None], name: str) -> Callable[[Path], Path]:
    def valid(folder: Path) -> Path:
        path = folder / name
        if not path.exists():
            write(path)
        return path

    return valid


SETUP = Setup("dev", "ort-cpu", "1", "fp32", 16, 1)
OPERATORS = [Operator(f"op{i}", (), mbconv((8, 4, 4), 8 * (i + 1)).program) for i in range(2)]
SAMPLES = {
    program_key(o.program): [Sample(r, np.full(3, 1e-3), 1e-3, 1.0) for r in range(4)] for o in OPERATORS
}


def _write_pack(path: Path) -> None:
    write_pack(
        Pack(
            SETUP,
            {"a": "b"},
            {program_key(o.program): (o.label, o.program.canonical) for o in OPERATORS},
            SampleColumns.of(SAMPLES),
        ),
        path,
    )


def _write_store(path: Path) -> None:
    with Store(path) as store:
        store.add_setup(SETUP, {"a": "b"})
        store.add_operators(OPERATORS)
        store.add_samples(SETUP, SAMPLES)
    import sqlite3

    with sqlite3.connect(path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _read_store(path: Path) -> object:
    with Store(path) as store:
        for setup, _, _ in store.setups():
            LatencyTable.read(store, setup)
            store.operators(setup)
            store.visits(setup)
        return store.integrity()


def _write_architecture(path: Path) -> None:
    space = load_space(SPACE)
    Architecture.of(space, space.sample(1, np.random.default_rng(0))[0], "one").save(path)


def _write_plan(path: Path) -> None:
    from nascli.pipeline.measuring import Where

    written = write_plan(SPACE, None, Where("cpu", "auto", 2, 1, "fp32", path), "host", path.parent)
    Path(written["plan"]).replace(path)


def _write_checkpoint(path: Path) -> None:
    import torch

    from nascli.supernet import checkpoint

    checkpoint.save(path, {"module/a": torch.zeros(4)}, {"step": 1})


def _read_checkpoint(path: Path) -> object:
    from nascli.supernet import checkpoint

    return checkpoint.load(path)


def _foreign(form: str, text: bytes) -> Make:
    def write(path: Path) -> None:
        path.write_bytes(text)

    return _file(_once(write, f"valid.{form}"), lambda path: read_foreign(path, form), is_json=False)


def _text(parse: Callable[[str], object]) -> Make:
    def make(rng: random.Random, folder: Path) -> Callable[[], object]:
        text = near_miss(rng)
        return lambda: parse(text)

    return make


CANONICAL = OPERATORS[0].program.canonical


def _program(rng: random.Random, folder: Path) -> Callable[[], object]:
    text = json.dumps(mangled(json.loads(CANONICAL), rng)) if rng.random() < 0.7 else near_miss(rng)
    return lambda: Program.from_canonical(text)


PARSERS: dict[str, Make] = {
    "constraints": _text(lambda t: intersect([parse_constraint(t)])),
    "units": _text(lambda t: parse_quantity(t, "time")),
    "space names": _text(load_any),
    "programs": _program,
    "architecture files": _file(_once(_write_architecture, "valid.json"), Architecture.load, is_json=True),
    "plans": _file(_once(_write_plan, "valid.plan"), read_plan, is_json=True),
    "packs": _file(_once(_write_pack, "valid.parquet"), read_pack, is_json=False),
    "stores": _file(_once(_write_store, "valid.sqlite"), _read_store, is_json=False),
    "checkpoints": _file(_once(_write_checkpoint, "valid.safetensors"), _read_checkpoint, is_json=False),
    "foreign yaml": _foreign("ofa", b"expanded_conv-input:14x14x8-output:14x14x8-expand:6-kernel:3-stride:1-idskip:1-se:0-hs:0:\n  mean: 0.5\n  count: 10\n"),
    "foreign trtexec": _foreign("trtexec", b'[{"count": 10}, {"name": "conv1 + relu", "timeMs": 5.0, "averageMs": 0.5, "percentage": 50.0}]'),
    "foreign csv": _foreign("csv", b"op,c_in,c_out,h,w,k,stride,ms\nconv,8,8,14,14,3,1,0.5\n"),
    "foreign pickle": _foreign("fbnet", b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94K\x01s."),
}  # fmt: skip


def fuzz(name: str, count: int, folder: Path) -> Result:
    """Feed one parser with so many inputs."""
    # Not Python's own hash, which differs from run to run.
    rng, result = random.Random(sum(map(ord, name))), Result()
    place = folder / name.replace(" ", "-")
    place.mkdir()
    for _ in range(count):
        work = PARSERS[name](rng, place)
        begun = time.perf_counter()
        try:
            work()
        except NascliError:
            result.refused += 1
        except Exception as error:
            result.failures += 1
            result.first = result.first or f" (first: {type(error).__name__}: {str(error)[:80]})"
        spent = time.perf_counter() - begun
        result.slowest = max(result.slowest, spent)
        if spent > LIMIT_SECONDS:
            result.failures += 1
            result.first = result.first or f" (first: {spent:.0f} s)"
        result.tried += 1
    return result
