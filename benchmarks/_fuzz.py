"""Feeds parsers with slightly damaged inputs. An input that reaches new lines of nascli is kept and changed further."""

from __future__ import annotations

import json
import pickle
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnx import parser as onnx_text

import nascli
from nascli.costmodel.constraints import intersect, parse_constraint
from nascli.errors import NascliError
from nascli.lut import LatencyTable, Sample, Setup, Store, program_key
from nascli.lut.exchange.foreign.registry import read_foreign
from nascli.lut.exchange.packs import Pack, read_pack, write_pack
from nascli.lut.store.columns import SampleColumns
from nascli.pipeline.measure.remote import read_plan, write_plan
from nascli.profiles.onnx.folding import fold_constants
from nascli.profiles.onnx.model_counts import count_onnx
from nascli.profiles.onnx.model_files import load_model
from nascli.profiles.onnx.networks import network_of
from nascli.profiles.onnx.whole_models import whole_program
from nascli.search.journal import Journal
from nascli.spaces import Architecture, load_space
from nascli.spaces.catalog import load_space_of_any_kind
from nascli.spaces.operators.definition import Operator
from nascli.spaces.operators.inverted_residual import mbconv
from nascli.spaces.programs import Program
from nascli.units import parse_quantity

LIMIT_SECONDS = 5.0
LARGEST_INPUT = 1 << 18
# So many inputs are watched line by line, which is slow; the others change what these found.
GUIDED = 2_500
SPACE = "proxyless-mini:resolution=8,width=0.25,depth=1"
ROOT = str(Path(nascli.__file__).parent)
WORDS = tuple(
    word.encode()
    for word in (
        "latency", "macs", "params", "memory", "bitops", "<=", "<", "=", ">=", "8", "8ms", "1e999", "-1", "0", "nan", "inf", "ms", "us",
        "G", "M", "k", "%", "@", "titanxp", " ", ":", ",", "99999999999999999999999", "1e-999", "\x00", "\x1b[31m", "<script>",
        "../..", "é", "𝟠ms", "proxyless-mini", "resolution", "width", "nse-27-mini", "nss-elite", "ranges", "1to2x1to8", ".", "-",
        "branches", "classes", "inherited", "cells", "!!python/object", "__import__", "{", "}", "[", "]", '"', "'", "\n", "٣", "null",
        "true", "&a", "*a", "[[blocks]]", "operator", "mbconv", "kernel", "expand",
    )
)  # fmt: skip


@dataclass
class Result:
    tried: int = 0
    refused: int = 0
    failures: int = 0
    lines: int = 0
    kept: int = 0
    slowest: float = 0.0
    first: str = ""


@dataclass(frozen=True)
class Parser:
    """What is fed.

    Attributes:
        seeds: valid inputs, made once in a folder.
        feed: reads an input; may write it into the folder first.
    """

    seeds: Callable[[Path], Sequence[bytes]]
    feed: Callable[[bytes, Path], object]


@dataclass
class Lines:
    """Lines of nascli that ran, and how the last input got on."""

    seen: set[tuple[str, int]] = field(default_factory=set)
    new: int = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        self.new = 0

        def local(frame, event, _):
            if event == "line":
                place = (frame.f_code.co_filename, frame.f_lineno)
                if place not in self.seen:
                    self.seen.add(place)
                    self.new += 1
            return local

        def calls(frame, event, _):
            return local if frame.f_code.co_filename.startswith(ROOT) else None

        sys.settrace(calls)
        try:
            yield
        finally:
            sys.settrace(None)


def damaged(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        kind, at = rng.randint(0, 7), rng.randrange(max(1, len(out)))
        if kind == 0 and out:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del out[at : at + rng.choice([1, 2, 8, 200])]
        elif kind == 2:
            out[at:at] = out[at : at + rng.randint(1, 100)]
        elif kind == 3:
            out[at:at] = rng.randbytes(rng.randint(1, 40))
        elif kind == 4:
            out[at : at + 8] = b"\xff" * 8
        elif kind == 5:
            out[at:at] = rng.choice(WORDS)
        elif kind == 6:
            word = rng.choice(WORDS)
            out[at : at + len(word)] = word
        else:
            del out[at:]
    return bytes(out[:LARGEST_INPUT])


def mangled(document: object, rng: random.Random, depth: int = 0) -> object:
    """A JSON document with one or a few places replaced by something else."""
    odd = [
        None, -1, 0, 2**80, 1e308, "", "x" * 2000, [], {}, True, "<script>", [[[[[[]]]]]], "../../etc/passwd", float("nan"),
    ]  # fmt: skip
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
        some = [mangled(v, rng, depth + 1) if rng.random() < 0.2 else v for v in document[:50]]
        return some if rng.random() < 0.9 else some[: len(some) // 2]
    return rng.choice(odd) if rng.random() < 0.3 else document


def changed(corpus: Sequence[bytes], rng: random.Random) -> bytes:
    """A new input: one that is known with something done to it, or two spliced."""
    data = rng.choice(corpus)
    if rng.random() < 0.01:
        return (b"[" if rng.random() < 0.5 else b'{"a":') * rng.choice([10, 1000, 100_000])
    if rng.random() < 0.4:
        try:
            return json.dumps(mangled(json.loads(data), rng)).encode()[:LARGEST_INPUT]
        except (ValueError, RecursionError, OverflowError):
            pass
    if rng.random() < 0.1:
        other = rng.choice(corpus)
        return (data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :])[:LARGEST_INPUT]
    return damaged(data, rng)


SETUP = Setup("dev", "ort-cpu", "1", "fp32", 16, 1)
OPERATORS = [Operator(f"op{i}", (), mbconv((8, 4, 4), 8 * (i + 1)).program) for i in range(2)]
SAMPLES = {
    program_key(o.program): [Sample(r, np.full(3, 1e-3), 1e-3, 1.0) for r in range(4)] for o in OPERATORS
}


def _text(parse: Callable[[str], object], *seeds: str) -> Parser:
    def feed(data: bytes, _: Path) -> object:
        return parse(data.decode(errors="replace"))

    return Parser(lambda _: [seed.encode() for seed in seeds], feed)


def _file(suffix: str, write: Callable[[Path], None], read: Callable[[Path], object]) -> Parser:
    def seeds(folder: Path) -> list[bytes]:
        path = folder / f"valid{suffix}"
        write(path)
        return [path.read_bytes()]

    def feed(data: bytes, folder: Path) -> object:
        for old in folder.glob("input*"):
            old.unlink()
        path = folder / f"input{suffix}"
        path.write_bytes(data)
        return read(path)

    return Parser(seeds, feed)


def _write_pack(path: Path) -> None:
    known = {program_key(o.program): (o.label, o.program.canonical) for o in OPERATORS}
    write_pack(Pack(SETUP, {"a": "b"}, known, SampleColumns.of(SAMPLES)), path)


def _write_store(path: Path) -> None:
    import sqlite3

    with Store(path) as store:
        store.add_setup(SETUP, {"a": "b"})
        store.add_operators(OPERATORS)
        store.add_samples(SETUP, SAMPLES)
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
    from nascli.profiles.target import TargetSpec

    written = write_plan(load_space(SPACE), TargetSpec(batch=2), path.parent)
    written.file.replace(path)


def _write_checkpoint(path: Path) -> None:
    import torch

    from nascli.supernet.training.checkpoint import save_checkpoint

    save_checkpoint(path, {"module/a": torch.zeros(4)}, {"step": 1})


def _read_checkpoint(path: Path) -> object:
    from nascli.supernet.training.checkpoint import load_checkpoint

    return load_checkpoint(path)


def _write_journal(path: Path) -> None:
    from nascli.search.base import Evaluation, Score

    journal = Journal(path)
    journal.add(Evaluation((1, 2, 3), Score(0.5, -1.0), 0.1))
    journal.add(Evaluation((3, 2, 1), None, 0.1, "no answer"))
    journal.close()


def _read_journal(path: Path) -> object:
    journal = Journal(path)
    try:
        return list(journal)
    finally:
        journal.close()


RUN_FILES = (
    "result.json",
    "costs.json",
    "settings.json",
    "evaluations.jsonl",
    "architecture.json",
    "story.json",
)


def _run_folders() -> Parser:
    """A finished run, one of whose files is not what it was: its page."""

    def seeds(folder: Path) -> list[bytes]:
        place = folder.resolve()
        words = [
            "search", "--constraint", "latency=1s", "--algorithm", "proxyless", "--space", SPACE, "--supernet-epochs", "1",
            "--retrain-epochs", "1", "--batch", "2", "--store", str(place / "s.sqlite"), "--out", str(place / "run"), "--quiet",
        ]  # fmt: skip
        subprocess.run([sys.executable, "-m", "nascli", *words], check=True, capture_output=True)
        found = []
        for name in RUN_FILES:
            data = (place / "run" / name).read_bytes()
            # The name goes in front, so that it is known whose content was changed.
            found.append(name.encode() + b"\n" + data)
        return found

    def feed(data: bytes, folder: Path) -> object:
        from nascli.pipeline.run.report import write_report

        name, _, content = data.partition(b"\n")
        known = name.decode(errors="replace")
        if known not in RUN_FILES:
            raise NascliError("no file of a run")
        copy = folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        for file in RUN_FILES:
            shutil.copy(folder / "run" / file, copy / file)
        (copy / known).write_bytes(content)
        page = write_report(copy).read_text()
        assert "<script" not in page, "a script reached the page"
        return page

    return Parser(seeds, feed)


def _small_model() -> onnx.ModelProto:
    model = onnx_text.parse_model(_MODEL)
    rng = np.random.default_rng(0)
    for name, dims in (("conv", (4, 3, 3, 3)), ("out", (4, 5))):
        array = rng.standard_normal(dims).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 4]), "flat"))
    return model


def _write_model(path: Path) -> None:
    path.write_bytes(_small_model().SerializeToString())


def _onnx_graphs() -> Parser:
    """Models with odd graphs, since few changes of a file's bytes leave a model. The input seeds the changes."""

    def feed(data: bytes, folder: Path) -> object:
        rng = random.Random(data)
        model = _small_model()
        for _ in range(rng.randint(0, 4)):
            _change_graph(model.graph, rng)
        (folder / "m.onnx").write_bytes(model.SerializeToString())
        return _read_model(folder / "m.onnx")

    # The first makes no change, so that something valid is among the seeds.
    unchanged = next(
        seed for seed in map(str, range(1000)) if random.Random(seed.encode()).randint(0, 4) == 0
    )
    return Parser(lambda folder: [unchanged.encode()], feed)


def _change_graph(graph: onnx.GraphProto, rng: random.Random) -> None:
    names = ["x", "", "flat", "conv", "nothing", *(name for node in graph.node for name in node.output)]
    odd = rng.choice([0, 1, 2, 3, -1, 7, 1 << 14, 1 << 40, -(1 << 62)])
    node = rng.choice(graph.node) if graph.node else None
    match rng.randint(0, 9):
        case 0 if node is not None:
            node.op_type = rng.choice(_OPS)
        case 1 if node is not None and node.input:
            node.input[rng.randrange(len(node.input))] = rng.choice(names)
        case 2 if node is not None and node.output:
            node.output[0] = rng.choice(names)
        case 3 if node is not None:
            graph.node.remove(node)
        case 4 if node is not None:
            kind = rng.choice(
                ["axis", "axes", "pads", "perm", "group", "to", "strides", "equation", "keepdims"]
            )
            value = rng.choice([odd, [odd], [0, 1], [1, 0, 2, 3], "ij,jk->ik", 0.5])
            node.attribute.append(onnx.helper.make_attribute(kind, value))
        case 5:
            tensor = rng.choice(graph.initializer) if graph.initializer else None
            if tensor is not None and tensor.dims:
                tensor.dims[rng.randrange(len(tensor.dims))] = odd
        case 6:
            tensor = rng.choice(graph.initializer) if graph.initializer else None
            if tensor is not None:
                tensor.data_type = rng.randint(0, 30)
        case 7:
            value = rng.choice([*graph.input, *graph.output])
            dim = (
                value.type.tensor_type.shape.dim.add()
                if rng.random() < 0.3
                else rng.choice(list(value.type.tensor_type.shape.dim) or [None])
            )
            if dim is not None:
                dim.dim_value = odd
        case 8:
            value = rng.choice([*graph.input, *graph.output])
            value.type.tensor_type.elem_type = rng.randint(0, 30)
        case _:
            graph.node.append(
                onnx.helper.make_node(
                    rng.choice(_OPS),
                    rng.choices(names, k=rng.randint(0, 3)),
                    [f"n{odd}"],
                    domain=rng.choice(["", "", "mine", "com.microsoft"]),
                )
            )


def _read_model(path: Path) -> object:
    model = load_model(path)
    folded = fold_constants(model)
    count_onnx(path)
    program = whole_program(model)
    assert Program.from_canonical(program.canonical) == program
    return network_of(model), folded.macs


def _foreign(form: str, text: bytes) -> Parser:
    return _file(
        f".{form}", lambda path: path.write_bytes(text) and None, lambda path: read_foreign(path, form)
    )


def _toml(path: Path) -> None:
    path.write_text((Path(ROOT).parent / "examples" / "my_space.toml").read_text())


_OPS = (
    "Relu", "Add", "MatMul", "Conv", "Reshape", "Transpose", "Concat", "Split", "Slice", "Gather", "Expand", "Shape", "Resize",
    "Einsum", "LSTM", "If", "Loop", "SequenceConstruct", "Constant", "ConstantOfShape", "QLinearMatMul", "Softmax", "Own", "",
)  # fmt: skip
_MODEL = """<ir_version: 10, opset_import: ["" : 20]> g (float[N,3,8,8] x) => (float[N,5] y) {
    a = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, conv)
    b = Gelu (a)
    c = GlobalAveragePool (b)
    d = Reshape (c, flat)
    y = MatMul (d, out)
}"""
_ROW = "expanded_conv-input:14x14x8-output:14x14x8-expand:{}-kernel:3-stride:1-idskip:1{}: {{count: 10, mean: 0.5, {}: 0.1}}\n"
_FBNET = [{"op_type": "Conv2d", "op_args": {"in_channels": 16, "out_channels": 24, "kernel_size": [3, 3], "stride": 2, "padding": 1},
           "input_shapes": [[1, 16, 14, 14]], "runtime_us_p50": 70}]  # fmt: skip

PARSERS: dict[str, Parser] = {
    "constraints": _text(
        lambda t: intersect([parse_constraint(t)]), "latency<=8ms", "300M<=macs<=350M", "latency@titanxp<=8ms", "params<=5M",
        "memory<=64MB", "bitops<=6.3G", "latency=8ms", "macs>=1M",
    ),
    "units": _text(lambda t: parse_quantity(t, "time"), "8ms", "1.5us", "30d", "2 h", "1e-3s"),
    "space names": _text(
        load_space_of_any_kind, "proxyless-mini:resolution=32,width=0.5", "nse-27-mini:branches=2", "nss-elite:ranges=1to2x1to8.1to2x1to8.1to2x1to8",
        "autospace-mini:cells=10200110.10300110", "nse-second-mini:inherited=3.17--0-5--1-9", "nss-expanded-mini:depths=3", "spos-mini",
    ),
    "programs": _text(Program.from_canonical, *(o.program.canonical for o in OPERATORS)),
    "space files": _file(".toml", _toml, lambda path: load_space_of_any_kind(str(path))),
    "architecture files": _file(".json", _write_architecture, Architecture.load),
    "onnx models": _file(".onnx", _write_model, _read_model),
    "onnx graphs": _onnx_graphs(),
    "plans": _file(".plan", _write_plan, read_plan),
    "packs": _file(".parquet", _write_pack, read_pack),
    "stores": _file(".sqlite", _write_store, _read_store),
    "checkpoints": _file(".safetensors", _write_checkpoint, _read_checkpoint),
    "journals": _file(".jsonl", _write_journal, _read_journal),
    "run folders": _run_folders(),
    "foreign ofa": _foreign("ofa", _ROW.format(48, "-se:0-hs:0", "std").encode()),
    "foreign proxylessnas": _foreign("proxylessnas", _ROW.format(6, "", "var").encode()),
    "foreign nse": _foreign("nse", pickle.dumps([("m0", [14, 16, 48, 1, 1, 0, 1, 1, 1, np.float64(1.0)])])),
    "foreign tinynas": _foreign("tinynas", b"{Regular,32,16,14,14,24,3,2,1} 0.5\n{Depthwise,32,16,14,14,16,5,1,1} 0.25\n"),
    "foreign hw-nas-bench": _foreign("hw-nas-bench", json.dumps({"ConvBlock_H14_W14_Cin16_Cout24_exp3_kernel5_stride2_group2": 3.0}).encode()),
    "foreign fbnet": _foreign("fbnet", json.dumps(_FBNET).encode()),
    "foreign trtexec": _foreign("trtexec", b'[{"count": 10}, {"name": "conv1 + relu", "timeMs": 5.0, "averageMs": 0.5, "percentage": 50.0}]'),
    "foreign csv": _foreign("csv", b"kind,height,width,cin,cout,kernel,stride,ms\nconv,14,14,16,24,3,2,0.5\n"),
}  # fmt: skip


def fuzz(name: str, count: int, folder: Path) -> Result:
    """Feed one parser with so many inputs; its seeds come first, and must be taken."""
    parser = PARSERS[name]
    # Not Python's own hash, which differs from run to run.
    rng, result, lines = random.Random(sum(map(ord, name))), Result(), Lines()
    place = folder / name.replace(" ", "-")
    place.mkdir()
    corpus = list(parser.seeds(place))
    waiting = list(corpus)
    while result.tried < count:
        data = waiting.pop(0) if waiting else changed(corpus, rng)
        is_seed = result.tried < len(corpus) and result.kept == 0
        begun = time.perf_counter()
        try:
            if result.tried < GUIDED:
                with lines.watching():
                    parser.feed(data, place)
            else:
                lines.new = 0
                parser.feed(data, place)
        except NascliError as error:
            result.refused += 1
            if is_seed:
                result.failures += 1
                result.first = result.first or f" (a valid input is refused: {str(error)[:80]})"
        except Exception as error:
            result.failures += 1
            result.first = result.first or f" (first: {type(error).__name__}: {str(error)[:80]})"
        spent = time.perf_counter() - begun
        result.slowest = max(result.slowest, spent)
        if spent > LIMIT_SECONDS:
            result.failures += 1
            result.first = result.first or f" (first: {spent:.0f} s)"
        if lines.new and not is_seed:
            corpus.append(data)
            result.kept += 1
        result.tried += 1
    result.lines = len(lines.seen)
    return result
