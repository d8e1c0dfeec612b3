import json
import os
import pickle
import time
from pathlib import Path

import numpy as np
import pytest

from nascli.errors import StoreError, UnknownNameError
from nascli.lut import LatencyTable, Setup, Store
from nascli.lut.exchange.foreign.registry import foreign_formats, import_foreign, read_foreign
from nascli.lut.in_context.carriers import in_context
from nascli.spaces.operators.basic import conv_block, head
from nascli.spaces.operators.inverted_residual import mbconv

DATA = Path(os.environ.get("NASCLI_DATA", Path(__file__).parents[4] / "shared" / "data")) / "foreign_luts"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the real tables are not here")
SETUP = Setup("pixel", "unknown", "imported from x", "fp32", 1, 1)

PROXYLESS = """
Conv-input:224x224x3-output:112x112x32: {count: 9, mean: 4.0, var: 0.1}
Conv_1-input:7x7x320-output:7x7x1280: {count: 9, mean: 6.0, var: 0.1}
Logits-input:7x7x1280-output:1000: {count: 9, mean: 1.0, var: 0.1}
expanded_conv-input:14x28x16-output:7x14x24-expand:3-kernel:5-stride:2-idskip:0: {count: 9, mean: 5.5, var: 0.1}
expanded_conv-input:14x28x16-output:14x28x16-expand:3-kernel:5-stride:1-idskip:1: {count: 9, mean: 3.5, var: 0.1}
expanded_conv-input:14x28x16-output:14x28x16-expand:3-kernel:5-stride:1-idskip:0: {count: 9, mean: 3.0, var: 0.1}
"""


def table_of(path, form, store_path, setup=SETUP):
    with Store(store_path) as store:
        documents = import_foreign([(path, read_foreign(path, form))], setup, form, store)
        return LatencyTable.read(store, setup), documents[0]


def write(path, content):
    path.write_text(content)
    return path


def test_proxylessnas_by_hand(tmp_path):
    table, document = table_of(write(tmp_path / "t", PROXYLESS), "proxylessnas", tmp_path / "s")
    assert (document["samples"], document["new"]) == (6, 6)
    # Height before width before channels.
    strided = mbconv((16, 14, 28), 24, kernel=5, expand=3, stride=2)
    figure = table.lookup(strided.program)
    assert figure.seconds == pytest.approx(5.5e-3) and figure.kind == "imported"
    residual = mbconv((16, 14, 28), 16, kernel=5, expand=3)
    assert table.lookup(residual.program).seconds == pytest.approx(3.5e-3)
    plain = residual.program.segment(0, len(residual.program.nodes) - 1)
    assert table.lookup(plain).seconds == pytest.approx(3.0e-3)
    # Our head is one operator, the table's are two rows: the sum of its parts, marked so.
    whole = head((320, 7, 7), 1000, features=1280)
    figure = table.lookup(whole.program)
    assert figure.seconds == pytest.approx(7e-3) and figure.kind == "sum of imported parts"
    assert in_context(table, whole, last=True).seconds == pytest.approx(7e-3)
    assert table.lookup(mbconv((16, 14, 28), 24, kernel=7, expand=3, stride=2).program) is None


def test_ofa_counts_middle_channels(tmp_path):
    key = "expanded_conv-input:28x28x24-output:28x28x24-expand:96-kernel:5-stride:1-idskip:1-se:1-hs:1"
    path = write(tmp_path / "t", f"{key}: {{count: 1, mean: 2.0, std: 0.1}}\n")
    table, _ = table_of(path, "ofa", tmp_path / "s")
    block = mbconv((24, 28, 28), 24, kernel=5, expand=4, se=True, act="hswish")
    assert table.lookup(block.program).seconds == pytest.approx(2e-3)


def nse_rows(*rows):
    return pickle.dumps([(f"m{i}", [*row[:-1], np.float64(row[-1])]) for i, row in enumerate(rows)])


def test_primitives_add_up_to_blocks_and_what_is_missing_is_missing(tmp_path):
    rows = [
        (14, 16, 48, 1, 1, 0, 1, 1, 1, 1.0),
        (14, 48, 48, 3, 1, 1, 1, 48, 1, 2.0),
        (14, 48, 16, 1, 1, 0, 1, 1, 1, 4.0),
        (14, 16, 16, 0, 0, 0, 0, 0, 4, 0.5),
        ((28, 14), 8, 8, (5, 1), (2, 1), (2, 0), 1, 1, 1, 9.0),
    ]
    path = tmp_path / "t"
    path.write_bytes(nse_rows(*rows))
    table, _ = table_of(path, "nse", tmp_path / "s")
    figure = table.lookup(mbconv((16, 14, 14), 16, expand=3).program)
    assert figure.seconds == pytest.approx(7.5e-3) and figure.kind == "sum of imported parts"
    # No residual, no addition.
    assert table.lookup(mbconv((16, 14, 14), 16, expand=3).program.segment(0, 5)).seconds == (
        pytest.approx(7e-3)
    )
    # The same with squeeze-and-excitation has parts that nobody timed: never counted as zero.
    assert table.lookup(mbconv((16, 14, 14), 16, expand=3, se=True).program) is None
    assert table.lookup(mbconv((16, 14, 14), 16, expand=3, kernel=5).program) is None


def test_repeats_are_kept_as_samples_and_a_file_counts_once(tmp_path):
    paths = []
    for number, milliseconds in enumerate((1.0, 1.2, 1.1)):
        paths.append(tmp_path / f"r{number}")
        paths[-1].write_bytes(nse_rows((14, 16, 48, 1, 1, 0, 1, 1, 1, milliseconds)))
    with Store(tmp_path / "s") as store:
        for _ in range(2):
            documents = import_foreign([(p, read_foreign(p, "nse")) for p in paths], SETUP, "nse", store)
        assert [d["new"] for d in documents] == [0, 0, 0]
        figure = LatencyTable.read(store, SETUP).lookup(conv_block((16, 14, 14), 48, kernel=1).program)
    assert figure.rounds == 3 and figure.seconds == pytest.approx(1.1e-3)
    assert figure.low < 1.1e-3 < figure.high


class Attack:
    def __reduce__(self):
        return (os.system, ("touch /tmp/nascli-was-attacked",))


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(Attack()),
        pickle.dumps([("m", [Attack()])]),
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"\x80\x04\x95garbage",
        b"",
    ],
)
def test_a_pickle_never_runs_anything(tmp_path, data):
    Path("/tmp/nascli-was-attacked").unlink(missing_ok=True)
    path = tmp_path / "evil"
    path.write_bytes(data)
    with pytest.raises(StoreError):
        read_foreign(path, "nse")
    assert not Path("/tmp/nascli-was-attacked").exists()


def _nested(levels):
    row = ["x"]
    for _ in range(levels):
        row = [row, row]
    return row


@pytest.mark.parametrize(
    "data",
    [
        # A memo of 2^31 entries, a buffer of 2^40 bytes, and a row whose text would be 2^60 long.
        b"(lr\xff\xff\xff\x7f.",
        b"\x80\x05\x96" + (1 << 40).to_bytes(8, "little") + b"x.",
        pickle.dumps([(_nested(60), 1, 2)]),
        pickle.dumps([(_nested(60), [14, 16, 48, 1, 1, 7, 1, 1, 9, 1.0])]),
    ],
)
def test_a_pickle_takes_no_more_than_it_holds(tmp_path, data):
    path = tmp_path / "greedy"
    path.write_bytes(data)
    begun = time.process_time()
    try:
        read_foreign(path, "nse")
    except StoreError:
        pass
    assert time.process_time() - begun < 2


def test_tinynas_and_its_failures(tmp_path):
    text = "{Regular,32,16,14,14,24,3,2,1} 0.5\n{Depthwise,32,16,14,14,16,5,1,1} 0.25\n{Regular,32,16,14,14,8,3,1,1} -1\n"
    setup = Setup("v100", "tensorrt", "imported from x", "fp32", 32, 1)
    table, document = table_of(write(tmp_path / "t", text), "tinynas", tmp_path / "s", setup)
    assert document["left_out"] == "1 rows that the file marks as failed"
    assert table.lookup(conv_block((16, 14, 14), 24, stride=2).program).seconds == pytest.approx(0.5e-3)
    assert table.lookup(conv_block((16, 14, 14), 8).program) is None
    with pytest.raises(StoreError, match="measured at batch 32, not 1"):
        table_of(tmp_path / "t", "tinynas", tmp_path / "s")


def test_fbnet_hw_nas_bench_csv_and_trtexec(tmp_path):
    args = {"in_channels": 16, "out_channels": 24, "kernel_size": [3, 3], "stride": 2, "padding": 1}
    entry = {"op_type": "Conv2d", "op_args": args, "input_shapes": [[1, 16, 14, 14]], "runtime_us_p50": 70}
    conv = conv_block((16, 14, 14), 24, stride=2).program
    table, _ = table_of(write(tmp_path / "f", json.dumps([entry])), "fbnet", tmp_path / "s1")
    assert table.lookup(conv).seconds == pytest.approx(70e-6)
    key = "ConvBlock_H14_W14_Cin16_Cout24_exp3_kernel5_stride2_group2"
    table, _ = table_of(write(tmp_path / "h", json.dumps({key: 3.0})), "hw-nas-bench", tmp_path / "s2")
    block = mbconv((16, 14, 14), 24, kernel=5, expand=3, stride=2, groups=2, act="relu")
    assert table.lookup(block.program).seconds == pytest.approx(3e-3)
    text = "kind,height,width,cin,cout,kernel,stride,us\nconv,14,14,16,24,3,2,80\n"
    table, _ = table_of(write(tmp_path / "c", text), "csv", tmp_path / "s3")
    assert table.lookup(conv).seconds == pytest.approx(80e-6)
    profile = [{"count": 5}, {"name": "n1 + n2", "averageMs": 0.5}, {"name": "free", "averageMs": 0}]
    table, document = table_of(write(tmp_path / "p", json.dumps(profile)), "trtexec", tmp_path / "s4")
    assert [label for label, _, _ in table.labels.values()] == ["n1 + n2"]
    assert "reports as free" in document["left_out"] and table.lookup(conv) is None


@pytest.mark.parametrize("value", ["nan", "-1", "0", "inf"])
def test_impossible_latencies_stop_an_import(tmp_path, value):
    text = f"kind,height,width,cin,cout,kernel,stride,ms\nconv,14,14,16,24,3,2,{value}\n"
    with pytest.raises(StoreError, match="finite and above 0"):
        read_foreign(write(tmp_path / "c", text), "csv")


@pytest.mark.parametrize("form", sorted(foreign_formats()))
def test_damage_is_told(tmp_path, form):
    for content in ("", "[", "nothing: [", "{}", "[]", "a,b\n1,2\n", "\x00\x01"):
        with pytest.raises(StoreError):
            read_foreign(write(tmp_path / "x", content), form)
    with pytest.raises(StoreError, match="cannot read"):
        read_foreign(tmp_path / "none", form)


def test_unknown_formats_and_mixed_origins_are_refused(tmp_path):
    with pytest.raises(UnknownNameError):
        read_foreign(tmp_path, "magic")
    path = write(tmp_path / "t", PROXYLESS)
    with Store(tmp_path / "s") as store:
        store.add_setup(SETUP, {"model": "m"})
        with pytest.raises(StoreError, match="figures of its own"):
            import_foreign([(path, read_foreign(path, "proxylessnas"))], SETUP, "proxylessnas", store)


@needs_data
def test_real_tables(tmp_path):
    paths = sorted(DATA.glob("nse_*.dump"))
    setup = Setup("titanxp", "tensorrt", "imported from nse", "fp32", 128, 1)
    with Store(tmp_path / "s") as store:
        documents = import_foreign([(p, read_foreign(p, "nse")) for p in paths], setup, "nse", store)
        table = LatencyTable.read(store, setup)
    assert [d["samples"] for d in documents] == [370] * 3
    assert all("below the resolution" in d["left_out"] for d in documents)
    assert len(table.estimates) == 370 and {f.rounds for f in table.estimates.values()} == {3}
    first = conv_block((64, 112, 112), 64).program.nodes[0].primitive
    assert first.kernel == (3, 3)
    proxyless = read_foreign(DATA / "proxylessnas_pixel_trim.yaml", "proxylessnas")
    assert len(proxyless.rows) == 72 and not proxyless.left_out
    tinynas = read_foreign(DATA / "tinynas_conv_data.out", "tinynas")
    assert tinynas.batch == 128 and len(tinynas.rows) + sum(tinynas.left_out.values()) == 3000


@needs_data
def test_the_real_proxylessnas_table_predicts_its_space(tmp_path):
    from nascli.spaces import load_space

    table, _ = table_of(DATA / "proxylessnas_pixel_trim.yaml", "proxylessnas", tmp_path / "s")
    space = load_space("proxyless")
    found = [o for o in space.operators() if table.lookup(o.program) is not None]
    assert len(found) > 0.5 * len(space.operators())
    assert all(table.lookup(o.program).seconds > 0 for o in found if o.program.output != 0)
