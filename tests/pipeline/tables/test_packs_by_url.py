import http.server
import threading
from functools import partial

import numpy as np
import pytest

from nascli.errors import StoreError
from nascli.execution import Execution
from nascli.lut import Sample, Setup, Store, program_key
from nascli.pipeline.tables.exchange import pull, push
from nascli.profiles.devices.device import this_cpu
from nascli.profiles.target import TargetSpec
from nascli.spaces.operators.definition import Operator
from nascli.spaces.operators.inverted_residual import mbconv

SETUP = Setup(this_cpu().key, "ort-cpu", "1.0", "fp32", 16, 1)


@pytest.fixture
def where(tmp_path):
    path = tmp_path / "store.sqlite"
    operator = mbconv((8, 4, 4), 8)
    with Store(path) as store:
        store.add_setup(SETUP, {"model": "m"})
        store.add_operators([Operator("op", (), operator.program)])
        key = program_key(operator.program)
        store.add_samples(SETUP, {key: [Sample(r, np.full(3, 1e-3), 1e-3, 1.0) for r in range(5)]})
    return TargetSpec(device=this_cpu().key, runtime="ort-cpu"), Execution(store=path)


@pytest.fixture
def server(tmp_path):
    """A web server on loopback, below whose folder a pack may lie."""
    folder = tmp_path / "web"
    folder.mkdir()
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{running.server_address[1]}"
    running.shutdown()


def history(path):
    with Store(path) as store:
        return {k: [s.seconds.tolist() for s in rows] for k, rows in store.history(SETUP).items()}


def test_a_pack_goes_to_a_folder_and_comes_back(where, tmp_path):
    url = f"file://{tmp_path}/shared/deep/cpu.parquet"
    assert push(*where, url).pack.samples == 5
    other = tmp_path / "other.sqlite"
    assert pull(url, other).new == 5 and pull(url, other).new == 0
    assert history(other) == history(where[1].store)


def test_a_pack_is_pulled_from_a_web_server(where, server, tmp_path):
    folder, address = server
    push(*where, f"file://{folder}/cpu.parquet")
    other = tmp_path / "other.sqlite"
    assert pull(f"{address}/cpu.parquet", other).new == 5
    assert history(other) == history(where[1].store)
    data = bytearray((folder / "cpu.parquet").read_bytes())
    data[len(data) // 3] ^= 255
    (folder / "broken.parquet").write_bytes(bytes(data))
    with pytest.raises(StoreError, match=r"http://127.*broken.parquet"):
        pull(f"{address}/broken.parquet", tmp_path / "third.sqlite")
    with pytest.raises(StoreError, match="cannot read http"):
        pull(f"{address}/none.parquet", other)
    with pytest.raises(StoreError, match="Web servers are read-only"):
        push(*where, f"{address}/cpu.parquet")


def test_a_bucket(where, tmp_path, monkeypatch):
    moto = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    try:
        host, port = running.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name, value in (
            ("AWS_ACCESS_KEY_ID", "a"),
            ("AWS_SECRET_ACCESS_KEY", "b"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
        ):
            monkeypatch.setenv(name, value)
        import s3fs

        s3fs.S3FileSystem().mkdir("tables")
        assert push(*where, "s3://tables/cpu.parquet").pack.samples == 5
        assert pull("s3://tables/cpu.parquet", tmp_path / "other.sqlite").new == 5
    finally:
        running.stop()


@pytest.mark.parametrize(
    "url",
    [
        "cpu.parquet",
        "ftp://x/y",
        "github://a:b@/c",
        "zip://a::http://b/c",
        "memory://x",
        "file://a::b",
        "javascript:1",
        "",
    ],
)
def test_other_places_are_refused(where, tmp_path, url):
    for work in (lambda: push(*where, url), lambda: pull(url, tmp_path / "o")):
        with pytest.raises(StoreError, match="is no place for packs"):
            work()
