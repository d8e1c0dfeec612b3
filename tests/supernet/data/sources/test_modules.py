import pytest

from nascli.errors import DataError, UnknownNameError
from nascli.supernet.data.images import count_images, data_properties, load_images
from nascli.supernet.data.options import DataOptions

FILE = """
import numpy as np, torch

class Squares(torch.utils.data.Dataset):
    def __init__(self, n, seed=0, side=20):
        rng = np.random.default_rng(seed)
        self.pixels = rng.integers(0, 256, (n, side, side + 4, 3), dtype=np.uint8)
        self.targets = [i % 4 for i in range(n)]
    def __len__(self):
        return len(self.targets)
    def __getitem__(self, i):
        return self.pixels[i], self.targets[i]

alone = Squares(40)
def pair():
    return Squares(40), Squares(12, 1)
def triple():
    return Squares(40), Squares(8, 2), Squares(12, 1)
def broken():
    raise KeyError("no such table")
nothing = 3
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


@pytest.mark.parametrize(
    ("name", "sizes"), [("alone", [24, 8, 8]), ("pair", [32, 8, 12]), ("triple", [40, 8, 12])]
)
@pytest.mark.parametrize("workers", [0, 2])
def test_data_sets_of_a_file(file, name, sizes, workers):
    spec = f"{file}:{name}"
    assert data_properties(spec) == (4, 3)
    images = load_images(spec, 16, options=DataOptions(workers=workers))
    assert [len(part) for part in (images.train, images.validation, images.test)] == sizes
    assert images.shape == (3, 16, 16) and count_images(spec) == tuple(sizes[:2])
    assert images.digest == load_images(spec, 16, options=DataOptions(cache=False)).digest


def test_the_size_of_the_validation_part_is_chosen(file):
    half = load_images(f"{file}:pair", 16, options=DataOptions(validation=0.5))
    assert len(half.train) == len(half.validation) == 20
    number = load_images(f"{file}:pair", 16, options=DataOptions(validation=12))
    assert number.validation.labels.bincount().tolist() == [3] * 4
    with pytest.raises(DataError, match="has a validation part of its own, of 8 images"):
        load_images(f"{file}:triple", 16, options=DataOptions(validation=12))
    with pytest.raises(DataError, match="class 0 has 10 images, which is too few to hold 10"):
        load_images(f"{file}:pair", 16, options=DataOptions(validation=40))


@pytest.mark.parametrize(
    ("name", "error", "text"),
    [
        ("nobody", UnknownNameError, "unknown object of .*mine.py 'nobody'"),
        ("", DataError, "name a data set of the file: .*; it has .*alone"),
        ("broken", DataError, "broken failed: KeyError: 'no such table'"),
        ("nothing", DataError, "is a int without __getitem__"),
    ],
)
def test_what_is_no_data_set_is_refused(file, name, error, text):
    with pytest.raises(error, match=text):
        load_images(f"{file}:{name}", 16)


def test_a_file_that_is_not_there_or_does_not_run(tmp_path):
    with pytest.raises(DataError, match=r"there is no file .*none\.py"):
        load_images(f"{tmp_path}/none.py:x", 16)
    (tmp_path / "wrong.py").write_text("import nothing_of_that_name")
    with pytest.raises(DataError, match=r"wrong\.py: ModuleNotFoundError"):
        data_properties(f"{tmp_path}/wrong.py:x")
