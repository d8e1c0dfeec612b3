import numpy as np
import pytest
from image_files import write_cells

from nascli.errors import DataError, RuntimeUnavailableError
from nascli.supernet.data.images import data_properties, load_images
from nascli.supernet.data.sources import elpv


@pytest.fixture
def cells(tmp_path, monkeypatch):
    monkeypatch.setenv("NASCLI_HOME", str(tmp_path / "home"))
    write_cells(tmp_path / "cells")
    return tmp_path / "cells"


def test_cells_are_read_in_four_classes_up_to_their_border(cells):
    images = load_images(f"elpv:{cells}", 24)
    assert data_properties(f"elpv:{cells}") == (4, 1) and images.shape == (1, 24, 24)
    shares = [np.bincount(part.labels, minlength=4).tolist() for part in (images.validation, images.test)]
    # A fifth of each class, and then a quarter of the 12, 13, 13, and 13 that are left, by the largest remainders.
    assert shares == [[3, 4, 3, 3], [4, 3, 3, 3]]
    # The stripe lies at the left border: the wider it is, the darker the image.
    smaller = load_images(f"elpv:{cells}", 12).test
    pixels, labels = smaller.take(np.arange(len(smaller)))
    dark = (pixels[:, 0] < pixels.median() - 1).float().mean((1, 2))
    for label in range(4):
        assert dark[labels == label].numpy() == pytest.approx(label / 12, abs=0.02)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("images/cell0000.png 0.5 mono", "line 65: the probability 0.5 is not 0, 1/3, 2/3, or 1"),
        ("images/cell0000.png nan mono", "line 65: "),
        ("images/cell0000.png 1.0", "line 65: not enough values"),
        ("images/nowhere.png 1.0 mono", "cannot read .*nowhere.png"),
    ],
)
def test_a_damaged_list_is_refused(cells, line, words):
    with (cells / "labels.csv").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match=words):
        elpv.open_elpv(str(cells))


def test_a_folder_without_a_list_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot read .*labels.csv"):
        elpv.open_elpv(str(tmp_path))


def test_without_the_package_the_error_names_it(monkeypatch):
    monkeypatch.setattr(elpv, "find_spec", lambda name: None)
    with pytest.raises(RuntimeUnavailableError, match="elpv"):
        elpv.open_elpv("")
