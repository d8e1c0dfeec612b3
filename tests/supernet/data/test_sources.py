"""Every format against damage, and the split that everybody gets."""

import gzip
import struct

import numpy as np
import pytest

from nascli.errors import DataError, NascliError, UnknownNameError
from nascli.supernet.data.images import data_properties, load_images
from nascli.supernet.data.sources.mnist import read_idx
from nascli.supernet.data.sources.registry import find_source


def idx(array, path):
    head = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(head + array.tobytes()))


@pytest.fixture
def fashion(tmp_path):
    rng = np.random.default_rng(0)
    for part, n in (("train", 100), ("t10k", 30)):
        idx(rng.integers(0, 256, (n, 28, 28)).astype(np.uint8), tmp_path / f"{part}-images-idx3-ubyte.gz")
        idx(rng.integers(0, 10, n).astype(np.uint8), tmp_path / f"{part}-labels-idx1-ubyte.gz")
    return tmp_path


def test_idx_files_are_read_and_split(fashion):
    data = load_images(f"fashion-mnist:{fashion}", 14)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [80, 20, 30]
    assert data.shape == (1, 14, 14) and data.classes == 10
    assert abs(float(data.train.images.mean())) < 0.2
    again = load_images(f"fashion-mnist:{fashion}", 14)
    assert again.digest == data.digest
    fewer = load_images(f"fashion-mnist:{fashion}", 28, max_images=50)
    assert len(fewer.train) == 40 and len(fewer.test) == 30


@pytest.mark.parametrize("cut", [0, 3, 7, 200])
def test_a_damaged_idx_file_is_named(fashion, cut):
    file = fashion / "train-images-idx3-ubyte.gz"
    raw = gzip.decompress(file.read_bytes())
    file.write_bytes(gzip.compress(raw[:cut]))
    with pytest.raises(DataError, match="train-images"):
        load_images(f"fashion-mnist:{fashion}", 14)
    file.write_bytes(b"not gzip at all")
    with pytest.raises(DataError, match="train-images"):
        read_idx(file)


def test_cifar_s_binary_version(tmp_path):
    rng = np.random.default_rng(0)
    names = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    for name in names:
        rows = rng.integers(0, 256, (20, 3073)).astype(np.uint8)
        rows[:, 0] = rng.integers(0, 10, 20)
        (tmp_path / name).write_bytes(rows.tobytes())
    data = load_images(f"cifar10:{tmp_path}", 32)
    assert len(data.train) == 80 and len(data.test) == 20 and data.shape == (3, 32, 32)
    (tmp_path / "data_batch_2.bin").write_bytes(b"x" * 100)
    with pytest.raises(DataError, match="data_batch_2"):
        load_images(f"cifar10:{tmp_path}", 32)
    with pytest.raises(DataError, match="needs its folder"):
        load_images("cifar100", 32)


def test_a_folder_of_images(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for part, n in (("train", 10), ("val", 3)):
        for name in ("cat", "dog"):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(n):
                image.new("RGB", (20, 16), (i * 20, 50, 0)).save(tmp_path / part / name / f"{i}.png")
    assert data_properties(f"folder:{tmp_path}") == (2, 3)
    data = load_images(f"folder:{tmp_path}", 8)
    assert len(data.train) == 16 and len(data.test) == 6 and data.shape == (3, 8, 8)
    (tmp_path / "train" / "cat" / "0.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="cannot read the image"):
        load_images(f"folder:{tmp_path}", 8)


@pytest.mark.parametrize(
    ("spec", "text"), [("folder:nowhere", "class folders"), ("mnist5", "unknown data set")]
)
def test_data_that_is_not_there_says_how_to_get_it(spec, text):
    with pytest.raises(NascliError, match=text):
        data_properties(spec)
    with pytest.raises(UnknownNameError):
        find_source("nothing")
