import io
import zipfile

import numpy as np
import pytest

from nascli.errors import DataError
from nascli.execution import Execution
from nascli.pipeline.measure.model_feeds import ModelFeed, read_values
from nascli.profiles.target import TargetSpec


def test_values_are_read_by_name(tmp_path):
    np.savez(tmp_path / "v.npz", x=np.ones((2, 3), np.float32), words=np.array([[1, 2]]))
    values = read_values(tmp_path / "v.npz")
    assert values["x"].shape == (2, 3) and values["words"].dtype == np.int64
    feed = ModelFeed({"x": (9,)}, None, values)
    assert feed.known_shapes == {"x": (9,), "words": (1, 2)}


def test_a_target_takes_the_values(tmp_path):
    target = ModelFeed({}, (0, 9), {"x": np.ones(1)}).on(
        TargetSpec().resolve(Execution(store=tmp_path / "s"))
    )
    assert target.options.integer_range == (0, 9) and set(target.options.inputs) == {"x"}
    plain = ModelFeed().on(target)
    assert plain.options.integer_range == (0, 1) and not plain.options.inputs and not plain.setup().mode


def test_files_that_hold_no_values(tmp_path, monkeypatch):
    path = tmp_path / "v.npz"
    np.savez(path, x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="Object arrays cannot be loaded"):
        read_values(path)
    np.savez(path)
    with pytest.raises(DataError, match="holds no values"):
        read_values(path)
    np.savez(path, x=np.ones(1000))
    whole = path.read_bytes()
    for data in (b"", b"nothing", whole[:100], whole[:-30]):
        path.write_bytes(data)
        with pytest.raises(DataError, match="cannot read .*v.npz"):
            read_values(path)
    with pytest.raises(DataError, match="cannot read .*none.npz"):
        read_values(tmp_path / "none.npz")
    array = io.BytesIO()
    np.save(array, np.ones(4))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", array.getvalue()[:-8])
    with pytest.raises(DataError, match="cannot read"):
        read_values(path)
    path.write_bytes(whole)
    monkeypatch.setattr("nascli.pipeline.measure.model_feeds.available_memory", lambda: 100)
    with pytest.raises(DataError, match="GB of memory are available"):
        read_values(path)
