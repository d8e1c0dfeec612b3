import numpy as np
import pytest

from nascli.errors import DataError, RuntimeUnavailableError
from nascli.supernet.data.images import data_properties, load_images
from nascli.supernet.data.options import DataOptions
from nascli.supernet.data.sources import elpv

VALUES = ("0.0", "0.3333333333333333", "0.6666666666666666", "1.0")


@pytest.fixture
def folder(tmp_path):
    """What the package holds, with 24 images."""
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    lines = []
    for i in range(24):
        pixels = rng.integers(0, 256, (30, 30), dtype=np.uint8)
        image.fromarray(pixels).save(tmp_path / "images" / f"cell{i:04}.png")
        lines.append(f"images/cell{i:04}.png  {VALUES[i % 4]}  mono")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_probabilities_are_classes(folder):
    assert data_properties("elpv") == (4, 1)
    parts = elpv.open_elpv(str(folder))
    assert parts.train.labels.tolist() == [0, 1, 2, 3] * 6 and parts.class_names[3] == "defective"
    images = load_images(f"elpv:{folder}", 16, options=DataOptions(workers=0))
    assert images.shape == (1, 16, 16) and images.classes == 4
    assert sum(len(part) for part in (images.train, images.validation, images.test)) == 24


def test_the_package_is_needed(folder, monkeypatch):
    monkeypatch.setattr(elpv, "find_spec", lambda name: None)
    with pytest.raises(RuntimeUnavailableError, match="needs the package elpv-dataset") as caught:
        elpv.open_elpv("")
    assert "nascli[elpv]" in caught.value.hint


@pytest.mark.parametrize(
    "line",
    [
        "images/cell0001.png 0.5 mono",
        "images/cell0001.png 1.0",
        "images/cell0001.png x mono",
        "images/cell0001.png nan mono",
    ],
)
def test_a_damaged_list_is_named(folder, line):
    with (folder / "labels.csv").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match=r"labels\.csv, line 25"):
        elpv.open_elpv(str(folder))


def test_missing_files(folder):
    (folder / "images" / "cell0003.png").unlink()
    with pytest.raises(DataError, match=r"cannot read .*cell0003\.png"):
        elpv.open_elpv(str(folder))
    (folder / "labels.csv").unlink()
    with pytest.raises(DataError, match=r"cannot read .*labels\.csv"):
        elpv.open_elpv(str(folder))
